"""How good confidences are: calibration error, ranking, and risk against coverage.

All functions take ``confidence``, floats in [0, 1] of shape (n,), and ``correct``, booleans of
shape (n,): whether each answer was right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import InputError

__all__ = [
    "Bin",
    "Floats",
    "aurc",
    "auroc",
    "calibration_error",
    "log_loss",
    "reliability",
    "risk_coverage",
]

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram.

    Attributes:
        confidence: Mean confidence of its answers.
        accuracy: Share of them that is right.
        n: How many they are.
    """

    confidence: float
    accuracy: float
    n: int


def reliability(confidence: Any, correct: Any, *, bins: int = 15) -> list[Bin]:
    """Bins of equal mass, from the least to the most confident answers.

    Equal confidences stay in one bin, so that there may be fewer bins than asked for.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    p, y = _checked(confidence, correct)
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    edges = np.linspace(0, len(p), min(bins, len(p)) + 1).astype(int)
    # An edge within equal confidences moves behind the last of them.
    edges = np.unique(np.concatenate([[0], np.searchsorted(p, p[edges[1:] - 1], side="right")]))
    return [Bin(float(p[a:b].mean()), float(y[a:b].mean()), int(b - a)) for a, b in pairwise(edges)]


def calibration_error(
    confidence: Any, correct: Any, *, bins: int = 15, debiased: bool = True
) -> float:
    """Expected calibration error, over bins of equal mass.

    The plain estimate, the mean over answers of ``|accuracy - confidence|`` of their bin, is
    positive even for perfect confidences, since each bin's accuracy is noisy. The debiased one
    takes off what that noise adds: with the accuracy of a bin of n answers taken as normal with
    variance ``accuracy (1 - accuracy) / n``, the expected absolute difference is that of a folded
    normal distribution (Kumar, Liang and Ma, "Verified Uncertainty Calibration", NeurIPS 2019,
    sample from the same distribution instead). It may be slightly negative for a calibrated
    confidence, and is then reported as 0.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    table = reliability(confidence, correct, bins=bins)
    total = sum(one.n for one in table)
    plain = sum(one.n * abs(one.accuracy - one.confidence) for one in table) / total
    if not debiased:
        return plain
    noisy = sum(one.n * _folded_mean(one) for one in table) / total
    return max(0.0, plain - (noisy - plain))


def log_loss(confidence: Any, correct: Any) -> float:
    """Mean negative log likelihood, in nats.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    p, y = _checked(confidence, correct)
    p = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    return float(-np.mean(np.where(y, np.log(p), np.log1p(-p))))


def auroc(confidence: Any, correct: Any) -> float:
    """P(a right answer's confidence > a wrong one's), ties counting one half.

    Returns:
        The Mann-Whitney statistic; NaN where all answers are right, or all wrong.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    p, y = _checked(confidence, correct)
    right, wrong = p[y], np.sort(p[~y])
    if not len(right) or not len(wrong):
        return math.nan
    below = np.searchsorted(wrong, right, side="left")
    upto = np.searchsorted(wrong, right, side="right")
    return float((below + upto).sum() / 2 / (len(right) * len(wrong)))


def risk_coverage(confidence: Any, correct: Any) -> tuple[Floats, Floats, Floats]:
    """Error rate among the answers at or above each threshold.

    Equal confidences are accepted together: no threshold parts them.

    Returns:
        Thresholds, falling; the share of answers accepted at each (coverage); and the share of
        those that is wrong (risk). Each of shape (number of distinct confidences,).

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    p, y = _checked(confidence, correct)
    order = np.argsort(-p, kind="stable")
    p, wrong = p[order], np.cumsum(~y[order])
    last = np.append(p[1:] != p[:-1], True)
    accepted = np.arange(1, len(p) + 1)[last]
    return p[last], accepted / len(p), wrong[last] / accepted


def aurc(confidence: Any, correct: Any) -> float:
    """Area under the risk-coverage curve: mean risk over all coverages (Geifman and El-Yaniv 2017).

    Among equal confidences the risk between two thresholds is that of accepting them in random
    order, so that ties neither help nor harm.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    p, y = _checked(confidence, correct)
    order = np.argsort(-p, kind="stable")
    p, wrong = p[order], (~y[order]).astype(float)
    _, first, count = np.unique(-p, return_index=True, return_counts=True)
    even = np.repeat(np.add.reduceat(wrong, first) / count, count)
    return float(np.mean(np.cumsum(even) / np.arange(1, len(p) + 1)))


def _folded_mean(one: Bin) -> float:
    """Mean of ``|x|`` for a normal x around the bin's gap with the bin's sampling deviation."""
    gap = one.accuracy - one.confidence
    deviation = math.sqrt(one.accuracy * (1 - one.accuracy) / one.n)
    if deviation == 0:
        return abs(gap)
    z = gap / deviation
    density = math.sqrt(2 / math.pi) * math.exp(-z * z / 2)
    return deviation * density + gap * math.erf(z / math.sqrt(2))


def _checked(confidence: Any, correct: Any) -> tuple[Floats, Bools]:
    p, y = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    if p.ndim != 1 or p.shape != y.shape or not len(p):
        raise InputError(
            f"There are confidences of shape {p.shape} and labels of shape {y.shape}.",
            hint="Give one of each for every answer, and at least one answer.",
        )
    if not np.all((p >= 0) & (p <= 1)):
        raise InputError("A confidence is not in [0, 1].", hint="Give probabilities.")
    return p, y
