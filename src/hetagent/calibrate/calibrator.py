"""From evidence to the probability of being right: a weighted sum, then a plain table.

Nothing here fits anything; `hetagent.calibrate.fitting` does. What runs at inference is a handful
of multiplications and one look into a table, readable in the certificate's JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

from hetagent.errors import CertificateError
from hetagent.evidence import Evidence

__all__ = ["DIGITS", "EDGE", "FEATURES", "OF_INPUT", "Calibrator", "features"]

EDGE = 1e-7
"""How close to 0 and 1 features come, where log-odds end."""

DIGITS = 9
"""Decimals of a score. Sums in another order differ in their last digits, and equal answers must
have equal scores wherever they are computed."""

FEATURES = (
    "log_odds", "right", "wrong", "inside", "lead", "entropy", "least", "tokens", "digits",
    "agrees", "before", "seconded",
)  # fmt: skip
"""What a calibrator may weigh, in order; see `features`."""

OF_INPUT = ("digits",)
"""Those of them that are known before there is an answer."""


def features(evidence: Evidence) -> dict[str, float]:
    """Numbers that a weighted sum can use, by the names of `FEATURES`.

    - ``log_odds``: log-odds of the raw confidence p; ``right``: ln p; ``wrong``: -ln(1 - p).
    - ``inside``: natural logarithm of the probability to stay within the constraint.
    - ``lead``: of a choice, log-odds of the best label against the second; otherwise 0.
    - ``entropy``: of a choice, in nats; otherwise 0.
    - ``least``: ln of the smallest probability of a token; 0 where there is none.
    - ``tokens``: ln(1 + number of free tokens).
    - ``digits``: share of digits in the input.
    - ``agrees``: of an LLM's answer, 1 where it is the SLM's, -1 where it is another; otherwise 0.
    - ``before``: log-odds of the SLM's calibrated confidence; 0 where there is none.
    - ``seconded``: the product of these two, since it speaks for an answer that the surer the SLM
      was of the same, and against one that the surer it was of another.
    """
    p = _inner(evidence.raw)
    second = evidence.raw - evidence.margin if evidence.margin is not None else None
    agrees = {True: 1.0, False: -1.0, None: 0.0}[evidence.agrees]
    before = _inner(evidence.before) if evidence.before is not None else 0.5
    prior = math.log(before / (1 - before))
    return {
        "log_odds": math.log(p / (1 - p)),
        "right": math.log(p),
        "wrong": -math.log1p(-p),
        "inside": math.log(_inner(1 - evidence.outside)),
        "lead": math.log(p / _inner(second)) if second is not None else 0.0,
        "entropy": evidence.entropy or 0.0,
        "least": math.log(_inner(evidence.least)) if evidence.least is not None else 0.0,
        "tokens": math.log1p(evidence.tokens),
        "digits": evidence.digits,
        "agrees": agrees,
        "before": prior,
        "seconded": agrees * prior,
    }


@dataclass(frozen=True, slots=True)
class Calibrator:
    """The probability of being right, as a function of the evidence.

    A score is the sum of ``weights`` times features, and of what belongs to the answer given. The
    probability is read from the table of knots, linear between them and constant outside.

    Attributes:
        kind: How it was fitted: a name of `hetagent.calibrate.fitting.KINDS`.
        weights: By name of the feature.
        answers: Offset by answer; 0 for others.
        slopes: Weights by answer, which are added to ``weights``; none for others.
        scores: The knots' scores, rising.
        probabilities: The knots' probabilities, in [0, 1].

    Raises:
        CertificateError: The table is not one.
    """

    kind: str
    weights: Mapping[str, float]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    answers: Mapping[str, float] = field(default_factory=dict)
    slopes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        knots = self.scores
        fine = (
            len(knots) == len(self.probabilities) > 0
            and all(a < b for a, b in pairwise(knots))
            and all(0 <= p <= 1 for p in self.probabilities)
            and all(set(one) <= set(FEATURES) for one in (self.weights, *self.slopes.values()))
            and all(map(math.isfinite, (*knots, *self.answers.values())))
            and all(
                math.isfinite(weight)
                for one in (self.weights, *self.slopes.values())
                for weight in one.values()
            )
        )
        if not fine:
            raise CertificateError(
                f"The table of a {self.kind!r} calibrator is broken.",
                hint="Calibrate again; tables are not meant to be edited by hand.",
            )

    def probability(self, evidence: Evidence) -> float:
        """Calibrated confidence, in [0, 1]."""
        return self.of_score(self.score(evidence))

    def score(self, evidence: Evidence) -> float:
        """The weighted sum that the table is entered with."""
        known = features(evidence)
        total = self.answers.get(evidence.answer, 0.0)
        for weights in (self.weights, self.slopes.get(evidence.answer, {})):
            total += sum(weight * known[name] for name, weight in weights.items())
        return round(total, DIGITS)

    def of_score(self, score: float) -> float:
        """The table's probability at a score."""
        place = bisect_right(self.scores, score)
        if place == 0:
            return self.probabilities[0]
        if place == len(self.scores):
            return self.probabilities[-1]
        low, high = self.scores[place - 1], self.scores[place]
        share = (score - low) / (high - low)
        return self.probabilities[place - 1] * (1 - share) + self.probabilities[place] * share

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all it is made of, in hexadecimal."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "kind": self.kind,
            "weights": dict(self.weights),
            "answers": dict(self.answers),
            "slopes": {answer: dict(weights) for answer, weights in self.slopes.items()},
            "scores": list(self.scores),
            "probabilities": list(self.probabilities),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON data.

        Raises:
            CertificateError: It is not a calibrator's.
        """
        try:
            return cls(
                str(data["kind"]),
                _weights(data["weights"]),
                _floats(data["scores"]),
                _floats(data["probabilities"]),
                _weights(data["answers"]),
                {str(answer): _weights(weights) for answer, weights in data["slopes"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CertificateError(
                f"This is no calibrator: {type(error).__name__}: {error}.",
                hint="Calibrate again.",
            ) from error


def _weights(data: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in data.items()}


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _inner(probability: float) -> float:
    return min(max(probability, EDGE), 1 - EDGE)
