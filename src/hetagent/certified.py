"""A policy that keeps what certificates promise. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.rungs import Escalation, Ladder
from hetagent.errors import CertificateError, SkillError
from hetagent.evidence import Evidence, second_opinion, top_field
from hetagent.outcome import Basis
from hetagent.policy import Decision, Policy, Scored, Threshold, without_draft

__all__ = ["Certified", "by_skill", "to_best"]

_NEVER = Threshold(math.inf)


class Certified:
    """Accept what a certificate vouches for; escalate the rest.

    A certificate made with ``ask_llm`` on several LLMs has thresholds for a whole ladder. An answer
    of an LLM then is accepted where it is sure enough too, and one that is hardly ever
    accepted after such a draft is passed over; the error rate is kept among all answers accepted
    before the last LLM. Where an LLM did not answer, the next is asked.

    With ``value_of_correct_usd`` every call is weighed. Of each LLM the expected gain is the value
    times how much likelier it is to be right than the SLM, less its price. Where a gain is
    positive, the LLM of the largest is asked, and its answer taken. Where none is, the SLM's answer
    is accepted if it is certified, and otherwise nothing is answered: the promise cannot be
    kept with the SLM's answer, and the LLM's is not worth its price. (`Benefit` accepts such an
    answer, and promises nothing.) So nothing escalates to an LLM that is worse than the SLM. The
    error rate is kept among the answers accepted so, which is another set than without weighing:
    the certificate must have been made with the same value.

    Args:
        certificates: One for each skill: certificates, files, or folders of ``.json`` files.
        accept: ``"whole"`` accepts an answer where its whole value is sure enough, and names its
            weak fields otherwise; ``"fields"`` judges every field by its own threshold, so that
            each kind of field keeps the promised error rate by itself. A field that was labelled
            too seldom to have one is never sure enough.
        otherwise: The policy of skills without a certificate; by default these always escalate.
        least_share: A skill of which the SLM would serve less than this share of the calls skips
            the SLM; with a value, so does one of which asking the SLM first costs more than it
            is expected to save.
        value_of_correct_usd: What a right answer is worth, in US dollars; ``None`` not to weigh.
        usd_per_second: What a second of waiting costs, when answers are weighed.

    Raises:
        CertificateError: A file is no certificate, two are of one skill, or there is none; or one
            was not made with the value that is given here.
        SkillError: An option is out of range.
    """

    def __init__(
        self,
        certificates: Certificate | str | Path | Iterable[Certificate | str | Path],
        *,
        accept: Literal["whole", "fields"] = "whole",
        otherwise: Policy | None = None,
        least_share: float = 0.02,
        value_of_correct_usd: float | None = None,
        usd_per_second: float = 0.0,
    ) -> None:
        if accept not in ("whole", "fields"):
            raise SkillError(f"accept is {accept!r}.", hint="It must be 'whole' or 'fields'.")
        if not 0 <= least_share <= 1:
            raise SkillError(f"least_share is {least_share}.", hint="Give a share from 0 to 1.")
        self.certificates: Mapping[str, Certificate] = by_skill(certificates)
        self._accept = accept
        self._otherwise = otherwise if otherwise is not None else _NEVER
        self._least_share = least_share
        self._value = value_of_correct_usd
        self._per_second = usd_per_second
        if value_of_correct_usd is not None:
            self._check_value(value_of_correct_usd)

    def __repr__(self) -> str:
        return f"Certified({', '.join(f'{s} {c.id}' for s, c in self.certificates.items())})"

    def certificate(self, skill: str) -> Certificate | None:
        """The certificate of a skill, which has to be checked before its answers are decided."""
        return self.certificates.get(skill)

    @property
    def judges_rungs(self) -> bool:
        """Whether LLMs' answers are decided about: there is a ladder, and it is climbed."""
        return any(self._ladder(one) is not None for one in self.certificates.values())

    def asks_slm(self, skill: str) -> bool:
        """Whether the SLM would serve enough of the calls to be worth asking."""
        found = self.certificates.get(skill)
        if found is None:
            return self._otherwise.asks_slm(skill)
        if self._value is not None:
            return self._is_worth_asking(found, self._value)
        if self._ladder(found) is not None:
            return True  # LLMs' answers are judged beside the SLM's
        if self._accept == "whole":
            return found.coverage > 0 and found.coverage >= self._least_share
        return any(part.threshold is not None for path, part in found.parts.items() if path)

    def without_draft(self, skill: str) -> Decision:
        """Whom to ask where there is no answer of the SLM."""
        found = self.certificates.get(skill)
        if found is None:
            return without_draft(self._otherwise, skill)
        if self._value is not None:
            gains = _escalation(found).gains_alone(
                value=self._value, usd_per_second=self._per_second
            )
            return to_best(gains) or Decision("abstain")
        ladder = self._ladder(found)
        return _onwards(ladder, -math.inf) if ladder is not None else Decision("escalate")

    def decide(self, scored: Scored) -> Decision:
        """Compare the calibrator's scores with the certified thresholds."""
        found = self.certificates.get(scored.skill)
        if found is None:
            return self._otherwise.decide(scored)
        if not scored.evidence:
            return replace(self.without_draft(scored.skill), reason="no_confidence")
        if self._value is not None:
            return self._weighed(found, found.whole(scored.evidence), self._value)
        ladder = self._ladder(found)
        if ladder is not None:
            return _climbed(found, ladder, found.whole(scored.evidence))
        return self._plain(found, scored)

    def decide_rung(self, scored: Scored, *, rung: int) -> Decision:
        """Compare the score of an LLM's answer with its threshold; accept where it has none."""
        found = self.certificates.get(scored.skill)
        ladder = self._ladder(found) if found is not None else None
        if found is None or ladder is None:
            return Decision("accept")
        calibrator = found.parts[""].calibrator
        draft = found.whole(scored.draft) if scored.draft else None
        score = calibrator.score(draft) if draft is not None else -math.inf
        answer = second_opinion(
            scored.evidence.get(""),
            agrees=scored.agrees,
            before=calibrator.of_score(score) if draft is not None else None,
            draft=draft,
        )
        if ladder.accepts(answer, rung=rung, score=score):
            return Decision("accept")
        return _onwards(ladder, score, after=rung)

    def _ladder(self, found: Certificate) -> Ladder | None:
        if self._value is not None or self._accept != "whole" or found.escalation is None:
            return None
        return found.escalation.ladder

    def _weighed(self, found: Certificate, evidence: Evidence, value: float) -> Decision:
        part, known = found.parts[""], _escalation(found)
        weighed = known.weighed
        assert weighed is not None  # checked at the start
        score = part.calibrator.score(evidence)
        sure = part.calibrator.of_score(score)
        gains = known.gains(evidence, confidence=sure, value=value, usd_per_second=self._per_second)
        least = weighed.threshold
        basis = Basis(
            found.id,
            found.max_error,
            {"": sure},
            {"": None if least is None else part.calibrator.of_score(least)},
            gains,
        )
        if (best := to_best(gains)) is not None:
            return replace(best, basis=basis, least=basis.least)
        if least is not None and score >= least:
            basis = replace(basis, promised=("",))
            return Decision("accept", basis=basis, least=basis.least)
        return Decision("abstain", "low_confidence", basis=basis, least=basis.least)

    def _is_worth_asking(self, found: Certificate, value: float) -> bool:
        known = _escalation(found)
        weighed = known.weighed
        worth = known.worth_of_asking_slm(
            found.parts[""].calibrator,
            least=weighed.threshold if weighed is not None else None,
            value=value,
            usd_per_second=self._per_second,
        )
        # Where no LLM is worth asking either, there is nobody else.
        return worth >= 0 or self.without_draft(found.skill).action == "abstain"

    def _check_value(self, value: float) -> None:
        if self._accept != "whole":
            raise SkillError(
                "value_of_correct_usd weighs whole values, and accept is 'fields'.",
                hint="Leave one of them out.",
            )
        for found in self.certificates.values():
            weighed = found.escalation.weighed if found.escalation is not None else None
            made_with = (weighed.value_of_correct_usd, weighed.usd_per_second) if weighed else None
            if made_with != (value, self._per_second):
                raise CertificateError(
                    f"The certificate {found.id} of {found.skill} promises nothing for "
                    f"value_of_correct_usd={value}, usd_per_second={self._per_second}.",
                    hint="Give both to agent.calibrate(..., ask_llm=True) too; Benefit(...) takes "
                    "any value, and promises nothing.",
                )

    def _plain(self, found: Certificate, scored: Scored) -> Decision:
        verdicts = found.judged(scored.evidence)
        passed = {path: path in verdicts and verdicts[path].passed for path in found.parts}
        basis = Basis(
            found.id,
            found.max_error,
            {path: verdict.confidence for path, verdict in verdicts.items()},
            {path: part.least_confidence for path, part in found.parts.items()},
            promised=self._promised(passed),
        )
        judged = self._judged(found, scored)
        least = {path: basis.least.get(path) for path in judged}
        if all(passed.get(path, False) for path in judged):
            return Decision("accept", basis=basis, least=least)
        weak = [path for path in scored.fields if not passed.get(top_field(path), False)]
        return Decision("escalate", "low_confidence", tuple(weak), basis=basis, least=least)

    def _promised(self, passed: Mapping[str, bool]) -> tuple[str, ...]:
        """What the certificate vouches for: the whole value, or each field by itself."""
        fields = [path for path in passed if path]
        by_whole = self._accept == "whole" or not fields
        if by_whole and passed.get("", False):
            return ("",)
        return tuple(path for path in fields if passed[path])

    def _judged(self, found: Certificate, scored: Scored) -> tuple[str, ...]:
        """Paths that must all pass: fields of the answer that nothing is known of among them."""
        fields = dict.fromkeys((*found.parts, *map(top_field, scored.fields)))
        fields.pop("", None)
        return tuple(fields) if self._accept == "fields" and fields else ("",)


def to_best(gains: Sequence[float]) -> Decision | None:
    """Ask the LLM of the largest gain; ``None`` where none is positive."""
    best = max(gains, default=0.0)
    if best <= 0:
        return None
    skip = tuple(rung for rung, gain in enumerate(gains) if gain <= 0)
    return Decision("escalate", "low_confidence", rung=gains.index(best), skip=skip)


def by_skill(
    given: Certificate | str | Path | Iterable[Certificate | str | Path],
) -> dict[str, Certificate]:
    """Certificates by the name of their skill.

    Raises:
        CertificateError: A file is no certificate, two are of one skill, or there is none.
    """
    several = [given] if isinstance(given, Certificate | str | Path) else list(given)
    found: dict[str, Certificate] = {}
    for one in [loaded for each in several for loaded in _loaded(each)]:
        if one.skill in found:
            raise CertificateError(
                f"There are two certificates of {one.skill}: {found[one.skill].id} and {one.id}.",
                hint="Keep one.",
            )
        found[one.skill] = one
    if not found:
        raise CertificateError(
            "There are no certificates.", hint="Make one with agent.calibrate(skill, examples)."
        )
    return found


def _climbed(found: Certificate, ladder: Ladder, evidence: Evidence) -> Decision:
    """The basis vouches for nothing by itself: the promise is one for all rungs together."""
    calibrator = found.parts[""].calibrator
    score = calibrator.score(evidence)
    least = ladder.thresholds[0]
    basis = Basis(
        found.id,
        found.max_error,
        {"": calibrator.of_score(score)},
        {"": None if least is None else calibrator.of_score(least)},
    )
    if least is not None and score >= least:
        return Decision("accept", basis=basis, least=basis.least)
    return replace(_onwards(ladder, score), basis=basis, least=basis.least)


def _onwards(ladder: Ladder, score: float, *, after: int = -1) -> Decision:
    rung = ladder.next_rung(score, after=after)
    return Decision("escalate", "low_confidence", rung=rung, skip=ladder.skipped(score))


def _escalation(found: Certificate) -> Escalation:
    known = found.escalation
    assert known is not None  # checked at the start
    return known


def _loaded(given: Certificate | str | Path) -> list[Certificate]:
    if isinstance(given, Certificate):
        return [given]
    path = Path(given)
    if path.is_dir():
        return [Certificate.load(file) for file in sorted(path.glob("*.json"))]
    return [Certificate.load(path)]
