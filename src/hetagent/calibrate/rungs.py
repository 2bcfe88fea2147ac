"""What a certificate knows of the LLMs: how likely each is right, at what price, and when to ask.

A rung is an LLM that answers are escalated to. All of it is plain numbers and calibrators; nothing
here fits or tests anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from hetagent.calibrate.calibrator import Calibrator
from hetagent.errors import CertificateError
from hetagent.evidence import Evidence
from hetagent.fingerprint import digest

__all__ = ["Counts", "Escalation", "Ladder", "Rung", "Sample", "Weighed"]

Sample = tuple[tuple[float, ...], ...]
"""For some of the certifying examples: the score of the SLM's answer, then of each LLM the
probability that it is right."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts that an error rate was certified with.

    Attributes:
        n: Labelled examples that certify.
        accepted: How many of them are accepted.
        errors: How many of these are wrong.
        upper_bound: Of the error rate, at the certificate's confidence.
        p_value: Of the last test.
    """

    n: int
    accepted: int
    errors: int
    upper_bound: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Rung:
    """One LLM, as the labelled examples showed it.

    Attributes:
        model: Its name.
        n: Examples that it was asked about.
        accuracy: Share of them that it answered rightly; no valid answer is not right.
        cost_usd: Mean cost of an answer, in US dollars; ``None`` where a price is not known.
        seconds: Mean time that it took.
        calibrator: Gives the probability that it is right, from the evidence of the SLM's answer.
    """

    model: str
    n: int
    accuracy: float
    cost_usd: float | None
    seconds: float
    calibrator: Calibrator

    def price(self, usd_per_second: float = 0.0) -> float:
        """What an answer costs on average, in US dollars, with its time at this rate.

        Raises:
            CertificateError: What the LLM costs is not known.
        """
        if self.cost_usd is None:
            raise CertificateError(
                f"What an answer of {self.model} costs is not known, so it cannot be weighed.",
                hint="Use a model whose completions report cost_usd.",
            )
        return self.cost_usd + usd_per_second * self.seconds


@dataclass(frozen=True, slots=True)
class Weighed:
    """A threshold for answers that no LLM would improve enough for its price.

    Attributes:
        value_of_correct_usd: What a right answer is worth, in US dollars.
        usd_per_second: What a second of waiting costs.
        threshold: Least score of the SLM's calibrator that is accepted where no LLM is worth
            asking; ``None`` where nothing can be.
        counts: What it was certified with; ``None`` where there is no threshold.
    """

    value_of_correct_usd: float
    usd_per_second: float
    threshold: float | None
    counts: Counts | None


@dataclass(frozen=True, slots=True)
class Ladder:
    """Thresholds of the SLM and of every LLM but the last, certified together.

    Attributes:
        thresholds: The least score that is accepted: of the SLM, then of each LLM but the last;
            ``None`` where nothing is.
        floors: For each LLM but the last: the SLM's score below which it is passed over, since
            it would not be accepted often enough to be worth its price; ``None`` for never.
        judges: For each LLM but the last: gives the probability that its answer is right, from
            its own evidence, whether it agrees with the SLM, and how sure the SLM was.
        counts: What all of them were certified with, together.
        cost: Expected price of the LLMs for one call, in US dollars, or in seconds where prices
            are not known or are all 0.
        unit: ``"usd"`` or ``"seconds"``.
    """

    thresholds: tuple[float | None, ...]
    floors: tuple[float | None, ...]
    judges: tuple[Calibrator, ...]
    counts: Counts
    cost: float
    unit: str

    def skipped(self, score: float) -> tuple[int, ...]:
        """The LLMs that are passed over; the score is as in `next_rung`."""
        return tuple(rung for rung in range(len(self.floors)) if not self._is_asked(rung, score))

    def next_rung(self, score: float, *, after: int = -1) -> int:
        """The LLM to ask next.

        Args:
            score: Of the SLM's answer; minus infinity where it gave no valid one.
            after: Index of the LLM asked last, -1 where that was the SLM.
        """
        for rung in range(after + 1, len(self.floors)):
            if self._is_asked(rung, score):
                return rung
        return max(after + 1, len(self.floors))

    def accepts(self, evidence: Evidence, *, rung: int, score: float) -> bool:
        """Whether the answer of an LLM is accepted; that of the last always is.

        Args:
            evidence: As `hetagent.evidence.second_opinion` puts it together.
            rung: Index of that LLM.
            score: Of the SLM's answer, as in `next_rung`.
        """
        if rung >= len(self.floors):
            return True
        least = self.thresholds[rung + 1]
        sure = least is not None and self.judges[rung].score(evidence) >= least
        # Another may have been asked because the one meant to be did not answer; what was
        # certified does not hold for that.
        return sure and self._is_asked(rung, score)

    def _is_asked(self, rung: int, score: float) -> bool:
        floor = self.floors[rung]
        return self.thresholds[rung + 1] is not None and (floor is None or score >= floor)


@dataclass(frozen=True)
class Escalation:
    """All that a certificate knows of escalating.

    Attributes:
        rungs: The LLMs, in the order in which they are asked.
        slm_cost_usd: Mean cost of the SLM's answer; ``None`` where its price is not known.
        slm_seconds: Mean time it took.
        unusable: Share of the examples to which the SLM gave no valid answer.
        sample: See `Sample`.
        weighed: For a policy that escalates on benefit; ``None`` where no value was given.
        ladder: ``None`` where there is one LLM alone, or nothing could be certified.
    """

    rungs: tuple[Rung, ...]
    slm_cost_usd: float | None
    slm_seconds: float
    unusable: float
    sample: Sample
    weighed: Weighed | None = None
    ladder: Ladder | None = None

    def gains(
        self, evidence: Evidence, *, confidence: float, value: float, usd_per_second: float = 0.0
    ) -> tuple[float, ...]:
        """What asking each LLM is expected to bring, in US dollars.

        It is the value of a right answer, times how much likelier the LLM is to be right than the
        SLM, less its price.

        Args:
            evidence: Of the SLM's answer.
            confidence: The SLM's, calibrated.
            value: Of a right answer, in US dollars.
            usd_per_second: What a second of waiting costs.

        Raises:
            CertificateError: What an LLM costs is not known.
        """
        return tuple(
            value * (one.calibrator.probability(evidence) - confidence) - one.price(usd_per_second)
            for one in self.rungs
        )

    def gains_alone(self, *, value: float, usd_per_second: float = 0.0) -> tuple[float, ...]:
        """What asking each LLM is expected to bring where the SLM gave no valid answer, in USD.

        Raises:
            CertificateError: What an LLM costs is not known.
        """
        return tuple(value * one.accuracy - one.price(usd_per_second) for one in self.rungs)

    def worth_of_asking_slm(
        self,
        calibrator: Calibrator,
        *,
        least: float | None,
        value: float,
        usd_per_second: float = 0.0,
    ) -> float:
        """What a call gains, in US dollars, by asking the SLM before an LLM, or none, is asked.

        Args:
            calibrator: Of the SLM's confidence.
            least: The least score that is accepted; ``None`` where nothing is.
            value: Of a right answer.
            usd_per_second: What a second of waiting costs.
        """
        prices = [one.price(usd_per_second) for one in self.rungs]
        alone = max(0.0, *self.gains_alone(value=value, usd_per_second=usd_per_second))
        drafted = []
        for score, *chances in self.sample:
            sure = calibrator.of_score(score)
            gains = [
                value * (chance - sure) - price
                for chance, price in zip(chances, prices, strict=True)
            ]
            accepted = least is not None and score >= least
            best = max(gains, default=0.0)
            drafted.append(value * sure + best if best > 0 else value * sure * accepted)
        mean = math.fsum(drafted) / len(drafted) if drafted else alone
        first = (1 - self.unusable) * mean + self.unusable * alone
        return first - (self.slm_cost_usd or 0.0) - usd_per_second * self.slm_seconds - alone

    @property
    def fingerprint(self) -> str:
        """Hash of all that decisions are made with."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "rungs": [asdict(one) | {"calibrator": one.calibrator.to_dict()} for one in self.rungs],
            "slm_cost_usd": self.slm_cost_usd,
            "slm_seconds": self.slm_seconds,
            "unusable": self.unusable,
            "sample": [list(row) for row in self.sample],
            "weighed": None if self.weighed is None else _weighed_to_dict(self.weighed),
            "ladder": None if self.ladder is None else _ladder_to_dict(self.ladder),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON data; what it lacks raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        weighed, ladder = data["weighed"], data["ladder"]
        return cls(
            tuple(
                Rung(**{**one, "calibrator": Calibrator.from_dict(one["calibrator"])})
                for one in data["rungs"]
            ),
            data["slm_cost_usd"],
            float(data["slm_seconds"]),
            float(data["unusable"]),
            tuple(tuple(float(number) for number in row) for row in data["sample"]),
            None if weighed is None else _weighed_from_dict(weighed),
            None if ladder is None else _ladder_from_dict(ladder),
        )

    def explain(self) -> str:
        """The LLMs and what was certified with them, in plain words."""
        lines = [
            f"LLM {rung} {one.model}: right on {one.accuracy:.0%} of {one.n} examples"
            + ("." if one.cost_usd is None else f", at {one.cost_usd:.2g} USD each.")
            for rung, one in enumerate(self.rungs)
        ]
        if self.weighed is not None:
            lines.append(_weighed_in_words(self.weighed))
        if self.ladder is not None:
            lines.append(_ladder_in_words(self.ladder))
        return "\n".join(lines)


def _weighed_in_words(one: Weighed) -> str:
    worth = f"With a right answer worth {one.value_of_correct_usd:.4g} USD"
    if one.counts is None:
        return f"{worth}, nothing can be accepted without an LLM."
    return (
        f"{worth}: {one.counts.accepted} of {one.counts.n} answers are sure enough and would not "
        f"be improved enough by an LLM; {one.counts.errors} of these were wrong (at most "
        f"{one.counts.upper_bound:.1%} of all such)."
    )


def _ladder_in_words(one: Ladder) -> str:
    price = f"{one.cost:.2g} USD" if one.unit == "usd" else f"{one.cost:.2g} s"
    return (
        f"Ladder: {one.counts.accepted} of {one.counts.n} answers are accepted before the last "
        f"LLM; {one.counts.errors} of these were wrong (at most {one.counts.upper_bound:.1%} of "
        f"all such). LLMs take {price} for a call on average."
    )


def _ladder_to_dict(one: Ladder) -> dict[str, Any]:
    return asdict(one) | {"judges": [judge.to_dict() for judge in one.judges]}


def _ladder_from_dict(data: Mapping[str, Any]) -> Ladder:
    found = Ladder(
        tuple(data["thresholds"]),
        tuple(data["floors"]),
        tuple(Calibrator.from_dict(judge) for judge in data["judges"]),
        Counts(**data["counts"]),
        float(data["cost"]),
        str(data["unit"]),
    )
    if not len(found.thresholds) == len(found.floors) + 1 == len(found.judges) + 1:
        raise ValueError("its thresholds are not those of its LLMs")
    return found


def _weighed_to_dict(one: Weighed) -> dict[str, Any]:
    # JSON has no minus infinity, which stands for "accept all".
    return asdict(one) | {"threshold": "all" if one.threshold == -math.inf else one.threshold}


def _weighed_from_dict(data: Mapping[str, Any]) -> Weighed:
    threshold, counts = data["threshold"], data["counts"]
    return Weighed(
        float(data["value_of_correct_usd"]),
        float(data["usd_per_second"]),
        -math.inf if threshold == "all" else threshold,
        None if counts is None else Counts(**counts),
    )
