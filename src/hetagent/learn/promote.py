"""Promotion: whether a skill may take over from the LLM that it learned from.

It is decided by counts: a certificate that accepts something, and calls later than all that was
learned from, on which the skill with the LLM behind it is not worse than the LLM alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, Self

from hetagent.calibrate.bounds import interval
from hetagent.calibrate.certificate import Certificate
from hetagent.errors import InputError, StaleCertificate
from hetagent.learn.evaluate import Trial
from hetagent.learn.record import Trainable
from hetagent.models.paired import PairedRows

__all__ = ["Decision", "Learned", "Objection", "Tested", "decide"]

Why = Literal[
    "no-train", "leaked", "not-later", "stale", "uncertified", "errors", "worse", "too-few",
    "too-seldom",
]  # fmt: skip
"""Why a skill stays in shadow: its teacher forbids it; calls to test with were learned from, or
are not later; the certificate is of something else, or accepts nothing; later calls break what it
promises; the skill is worse than the LLM, or too few calls were tried to say; or it serves too few.
"""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a skill was made from, as far as it decides about promotion.

    Attributes:
        teachers: How many answers it was trained and certified with, by what may be done with them.
        inputs: Hashes of all inputs that it was trained or chosen with.
        until: Time of the latest of them; ``None`` where none is known.
        permitted: What the user takes for a permission.
    """

    teachers: Mapping[Trainable, int]
    inputs: Set[str]
    until: datetime | None
    permitted: Set[Trainable] = frozenset({"trainable"})


@dataclass(frozen=True, slots=True)
class Tested:
    """Calls that the decision is made on.

    Attributes:
        trials: What came of each.
        inputs: Hash of each one's input.
        since: Time of the earliest; ``None`` where none is known.
        certified: Hashes of the inputs that the certificate was made with.
    """

    trials: Sequence[Trial]
    inputs: Sequence[str]
    since: datetime | None
    certified: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing that speaks against promotion.

    Attributes:
        why: In one word.
        said: In a sentence.
    """

    why: Why
    said: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a skill is promoted, and on what grounds.

    Attributes:
        objections: What speaks against it; it is promoted where nothing does.
        calls: Later calls that it was tried on.
        accepted: How many of these it served.
        lost: Calls that the LLM has right and the skill with the LLM behind it has wrong.
        won: Calls where it is the other way round.
        margin: Share of calls that may be lost.
        confidence: How surely they must not be more.
        upper_loss: Upper bound of that share, lost less won, at this confidence; 1 without calls.
        coverage: Share served, with its 95% interval.
        calls_needed: About how many later calls would decide, where too few were tried.
    """

    objections: tuple[Objection, ...]
    calls: int
    accepted: int
    lost: int
    won: int
    margin: float
    confidence: float
    upper_loss: float
    coverage: tuple[float, float, float]
    calls_needed: int | None

    @property
    def promoted(self) -> bool:
        """Whether it may serve."""
        return not self.objections

    @property
    def loss(self) -> float:
        """Share of calls lost, less those won, as measured."""
        return (self.lost - self.won) / max(1, self.calls)

    def explain(self) -> str:
        """The decision in plain words."""
        head = "Promoted." if self.promoted else "Not promoted: it stays in shadow."
        share, low, high = self.coverage
        lines = [
            head,
            f"On {self.calls:,} later calls it served {share:.1%} ({low:.1%} to {high:.1%}); of "
            f"all calls {max(0, self.lost):,} were wrong that the LLM has right, and {self.won:,} "
            f"right that it has wrong: a loss of {self.loss:.2%}, at most {self.upper_loss:.2%} "
            f"with {self.confidence:.0%} confidence (allowed {self.margin:.2%}).",
        ]
        return "\n".join([*lines, *(one.said for one in self.objections)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"promoted": self.promoted, "loss": self.loss, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        known = {name: value for name, value in data.items() if name not in ("promoted", "loss")}
        objections = tuple(Objection(one["why"], one["said"]) for one in data["objections"])
        return cls(**{**known, "objections": objections, "coverage": tuple(data["coverage"])})


def decide(
    certificate: Certificate,
    tested: Tested,
    *,
    learned: Learned,
    runs: Mapping[str, str],
    margin: float = 0.02,
    confidence: float = 0.95,
    least_coverage: float = 0.05,
) -> Decision:
    """Decide whether a skill is promoted.

    It is where all of this holds. The certificate is of what runs, and accepts something. What was
    learned from may be. The calls that decide are later than these, and none of their inputs was
    trained with. On them the skill, with the LLM behind it, loses at most ``margin`` of the calls
    against the LLM alone, with ``confidence`` (one-sided score interval of Tango 1998; see
    `hetagent.models.paired.PairedRows`). Their errors do not show that the certified rate is
    broken. And it serves enough calls to be worth it.

    Args:
        certificate: Of the skill on its model.
        tested: Later calls, and what came of them.
        learned: What the skill was made from.
        runs: What runs, as `hetagent.fingerprint.fingerprint` tells it.
        margin: Share of all calls that may be lost, above 0.
        confidence: How surely, in [0.5, 1).
        least_coverage: Share of the calls that it has to serve.

    Raises:
        InputError: A number is out of its range.
        MissingExtraError: SciPy is not installed.
    """
    _check(margin=0 < margin < 1, confidence=0.5 <= confidence < 1,
           least_coverage=0 <= least_coverage <= 1)  # fmt: skip
    trials = tested.trials
    accepted = sum(one.accepted for one in trials)
    wrong = sum(one.accepted and not one.right for one in trials)
    paired = PairedRows(
        len(trials),
        sum(one.incumbent and not one.served_right for one in trials),
        sum(one.served_right and not one.incumbent for one in trials),
    )
    upper = paired.upper_loss(confidence) if trials else 1.0
    needed = paired.rows_needed(margin, confidence) if trials and upper > margin else None
    objections = [
        *_of_data(tested, learned),
        *_of_certificate(certificate, runs, accepted=accepted, wrong=wrong),
        *_of_loss(paired, upper, needed, margin=margin, confidence=confidence),
    ]
    if trials and accepted < least_coverage * len(trials):
        objections.append(
            Objection(
                "too-seldom",
                f"It would serve {accepted / len(trials):.1%} of the calls, and at least "
                f"{least_coverage:.0%} are wanted.",
            )
        )
    share = accepted / max(1, len(trials))
    return Decision(
        tuple(objections), len(trials), accepted, paired.lost, paired.won, margin, confidence,
        upper, (share, *interval(accepted, len(trials), confidence=0.95)), needed,
    )  # fmt: skip


def _of_data(tested: Tested, learned: Learned) -> list[Objection]:
    found = []
    forbidden = {
        said: n for said, n in learned.teachers.items() if n and said not in learned.permitted
    }
    if forbidden:
        counted = " and ".join(f"{n:,} are {said}" for said, n in sorted(forbidden.items()))
        found.append(
            Objection(
                "no-train",
                f"Of the answers that it learned from {counted}: nobody has said that they may "
                "train a model.",
            )
        )
    leaked = sum(one in learned.inputs for one in tested.inputs)
    again = sum(one in learned.inputs for one in tested.certified)
    if leaked or again:
        found.append(
            Objection(
                "leaked",
                f"Inputs of {leaked:,} calls that decide and of {again:,} that certify were "
                "trained with, so that nothing follows from them.",
            )
        )
    if learned.until is None or tested.since is None or tested.since < learned.until:
        found.append(
            Objection("not-later", "The calls that decide are not later than those learned from.")
        )
    return found


def _of_certificate(
    certificate: Certificate, runs: Mapping[str, str], *, accepted: int, wrong: int
) -> list[Objection]:
    found = []
    try:
        certificate.check(runs)
    except StaleCertificate as error:
        found.append(Objection("stale", error.message))
    if not any(part.threshold is not None for part in certificate.parts.values()):
        why = certificate.in_words("") if "" in certificate.parts else "It has no whole value."
        found.append(Objection("uncertified", f"The certificate accepts nothing. {why}"))
    low, _ = interval(wrong, accepted, confidence=0.95)
    if accepted and low > certificate.max_error:
        found.append(
            Objection(
                "errors",
                f"Of {accepted:,} answers that it served on later calls {wrong:,} were wrong, "
                f"which is more than the {certificate.max_error:.1%} that its certificate "
                "promises: what is asked has changed.",
            )
        )
    return found


def _of_loss(
    paired: PairedRows, upper: float, needed: int | None, *, margin: float, confidence: float
) -> list[Objection]:
    if not paired.rows:
        return [Objection("too-few", "There are no later calls to decide on.")]
    if upper <= margin:
        return []
    if needed is None:
        return [
            Objection(
                "worse",
                f"It loses {paired.loss:.2%} of the calls against the LLM, and {margin:.2%} are "
                "allowed: more calls would not change that.",
            )
        ]
    return [
        Objection(
            "too-few",
            f"{paired.rows:,} later calls are too few to show with {confidence:.0%} confidence "
            f"that it loses at most {margin:.2%}: about {needed:,} would decide, if it goes on "
            "like this.",
        )
    ]


def _check(**holds: bool) -> None:
    if wrong := [name for name, fine in holds.items() if not fine]:
        raise InputError(
            f"{', '.join(wrong)} cannot be so.",
            hint="margin is above 0 and below 1, confidence from 0.5 to below 1, and "
            "least_coverage from 0 to 1.",
        )
