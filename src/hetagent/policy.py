"""Policies: given how sure the SLM is, accept its answer, escalate, or abstain. Pure, no I/O."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from hetagent.errors import SkillError
from hetagent.evidence import Evidence
from hetagent.outcome import Basis, Reason

__all__ = [
    "CertifyingPolicy",
    "Decision",
    "EarlyPolicy",
    "Policy",
    "Promise",
    "RungPolicy",
    "Scored",
    "StartingPolicy",
    "Threshold",
    "as_certifying_policy",
    "as_rung_policy",
    "without_draft",
]

_INDEX = re.compile(r"\[\d+\]")
_LAST_STEP = re.compile(r"(?:^|\.)[^.\[\]]*$|\[\]$")


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer, as a policy sees it: the SLM's, or that of a rung.

    Attributes:
        skill: Name of the skill.
        confidence: Of the whole value, in [0, 1].
        fields: By path, in [0, 1]; empty for a bare value.
        agrees: Of a rung's answer: whether it is the SLM's draft again, compared as JSON data;
            ``None`` where there is no valid draft, and of the SLM's own answer.
        evidence: What calibration sees of it, by path, with ``""`` for the whole; empty where the
            model reports no probabilities.
        draft: Of a rung's answer: the evidence of the SLM's draft; otherwise empty.
    """

    skill: str
    confidence: float
    fields: Mapping[str, float] = field(default_factory=dict)
    agrees: bool | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    draft: Mapping[str, Evidence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with an answer.

    Attributes:
        action: ``"accept"`` it, ``"escalate"`` to the LLM, or ``"abstain"`` from any answer.
        reason: Why it is not accepted; ``None`` where it is.
        fields: Paths of the fields that are not sure enough.
        rung: Index of the LLM to escalate to, where there are several. Beyond the last there is
            nobody to ask; about a rung's answer it means at least the next rung.
        basis: The calibrated confidences and thresholds that it rests on, if it does.
        skip: Indices of LLMs that are not asked, also not where one before them fails.
        least: The least confidence that is accepted, by path, of all that was compared, with
            ``""`` for the whole value; ``None`` where nothing is. It only explains the decision.
    """

    action: Literal["accept", "escalate", "abstain"]
    reason: Reason | None = None
    fields: tuple[str, ...] = ()
    rung: int = 0
    basis: Basis | None = None
    skip: tuple[int, ...] = ()
    least: Mapping[str, float | None] = field(default_factory=dict, compare=False)


@runtime_checkable
class Policy(Protocol):
    """Decides what happens to the SLM's answers."""

    def asks_slm(self, skill: str) -> bool:
        """Whether the SLM is worth asking at all for this skill."""

    def decide(self, scored: Scored) -> Decision:
        """Decide about one valid answer."""


@runtime_checkable
class EarlyPolicy(Policy, Protocol):
    """A policy that can decide while the SLM is still writing, for `Orchestrator.stream`."""

    def decide_early(self, scored: Scored) -> Decision | None:
        """Decide about an answer of which only the first fields are there.

        Args:
            scored: Those fields, and as ``confidence`` the most that the whole value can still
                reach.

        Returns:
            ``None`` where the answer may yet be accepted. Otherwise what is certain whatever
            follows: `decide` will not accept, and will name these fields, maybe with others.
        """


@runtime_checkable
class RungPolicy(Policy, Protocol):
    """A policy that also decides about the answers of the LLMs.

    Without it a rung's valid answer is accepted.
    """

    def decide_rung(self, scored: Scored, *, rung: int) -> Decision:
        """Decide about one valid answer of an LLM, that of the last rung included.

        Args:
            scored: The answer; its confidence is 0 where the LLM reports no probabilities.
            rung: Index of that LLM.

        Returns:
            What to do. To escalate beyond the last rung is to abstain.
        """


@runtime_checkable
class StartingPolicy(Policy, Protocol):
    """A policy that also decides where there is no answer of the SLM to decide about.

    Without it the first LLM is asked.
    """

    def without_draft(self, skill: str) -> Decision:
        """Whom to ask, if anybody, where the SLM was not asked or gave no valid answer."""


class Promise(Protocol):
    """What a policy relies on, such as a certificate: it holds for one skill on one model."""

    def check(self, current: Mapping[str, str]) -> None:
        """Refuse to be used for anything else.

        Args:
            current: What runs, by part; see `hetagent.fingerprint.fingerprint`.

        Raises:
            StaleCertificate: It is not what the promise was made for.
        """


@runtime_checkable
class CertifyingPolicy(Policy, Protocol):
    """A policy whose decisions hold only for the models and prompts they were certified for."""

    def certificate(self, skill: str) -> Promise | None:
        """What it relies on for a skill; it is checked before the skill runs."""


@functools.cache
def _has(kind: type, method: str) -> bool:
    return callable(getattr(kind, method, None))


def as_rung_policy(policy: Policy) -> RungPolicy | None:
    """The policy where it also decides about LLMs' answers.

    It is asked for every call, and ``isinstance`` with a protocol takes longer than all the rest
    of one. A policy that has the method, but says ``judges_rungs = False``, does not decide about
    them.
    """
    if not _has(type(policy), "decide_rung") or not getattr(policy, "judges_rungs", True):
        return None
    return cast(RungPolicy, policy)


def as_certifying_policy(policy: Policy) -> CertifyingPolicy | None:
    """The policy where it relies on certificates; see `as_rung_policy`."""
    return cast(CertifyingPolicy, policy) if _has(type(policy), "certificate") else None


def without_draft(policy: Policy, skill: str) -> Decision:
    """The decision where there is no answer of the SLM; see `StartingPolicy`."""
    if _has(type(policy), "without_draft"):
        return cast(StartingPolicy, policy).without_draft(skill)
    return Decision("escalate")


@dataclass(frozen=True)
class Threshold:
    """Accept answers whose confidence reaches a threshold; escalate the others.

    A number for a skill is compared with the confidence of the whole value. A mapping for a skill
    compares each field with its own number; a field that has none takes that of the record or
    list that holds it, and else ``default``. ``"tags[]"`` stands for every item of a list, and
    ``""`` for the whole value. A threshold above 1 always escalates, and the SLM is then not asked.

    Args:
        default: The threshold of skills that have none of their own.
        skills: Thresholds by skill name, or by skill name and field path.

    Raises:
        SkillError: A threshold is negative or not a number.
    """

    default: float = 0.9
    skills: Mapping[str, float | Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [("the default", self.default)]
        for skill, own in self.skills.items():
            rows = own.items() if isinstance(own, Mapping) else [("", own)]
            given += [(f"{skill}.{path}".rstrip("."), value) for path, value in rows]
        for place, value in given:
            # Also refuses NaN, which is not at or above anything.
            if not isinstance(value, int | float) or not value >= 0:
                raise SkillError(
                    f"The threshold of {place} is {value}.",
                    hint="Give a number from 0 (accept all) to 1; above 1 always escalates.",
                )

    def asks_slm(self, skill: str) -> bool:
        """Whether any confidence could reach the threshold."""
        own = self.skills.get(skill, self.default)
        if isinstance(own, Mapping):
            return own.get("", 0.0) <= 1
        return own <= 1

    def decide(self, scored: Scored) -> Decision:
        """Compare confidences with thresholds."""
        own = self.skills.get(scored.skill, self.default)
        least: dict[str, float | None]
        if isinstance(own, Mapping):
            fields = {path: self._of_field(path, own) for path in scored.fields}
            least = {**fields}
            weak = tuple(path for path, value in scored.fields.items() if value < fields[path])
            whole = own.get("", 0.0 if scored.fields else self.default)
            sure = not weak and scored.confidence >= whole
            if whole > 0:
                least[""] = whole
        else:
            least = {"": own}
            sure = scored.confidence >= own
            weak = () if sure else _weakest(scored, own)
        if sure:
            return Decision("accept", least=least)
        return Decision("escalate", "low_confidence", weak, least=least)

    def decide_early(self, scored: Scored) -> Decision | None:
        """Escalate as soon as a threshold cannot be reached any more.

        What follows only multiplies probabilities down: the whole cannot rise again, and neither
        can any choice of sure fields that the fields so far are among.
        """
        decision = self.decide(scored)
        return None if decision.action == "accept" else decision

    def _of_field(self, path: str, own: Mapping[str, float]) -> float:
        """The threshold of a field: its own, of any item of its list, or of what holds it."""
        general = _INDEX.sub("[]", path)
        while general:
            for name in (path, general):
                if name in own:
                    return own[name]
            outer = _LAST_STEP.sub("", general)
            if outer == general:
                break  # a key with brackets of its own
            path = general = outer
        return self.default


def _weakest(scored: Scored, threshold: float) -> tuple[str, ...]:
    """The least sure fields, as few as leave the others together at or above the threshold."""
    ascending = sorted(scored.fields, key=lambda path: scored.fields[path])
    count = 0
    while (rest := ascending[count:]) and math.prod(scored.fields[p] for p in rest) < threshold:
        count += 1
    weak = set(ascending[:count])
    return tuple(path for path in scored.fields if path in weak)
