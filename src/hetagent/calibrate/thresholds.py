"""Thresholds that provably keep an error rate: Learn-then-Test with fixed-sequence testing.

For a threshold t let R(t) be the true error rate among the answers whose score is at least t, and
call t *bad* where R(t) > α. Given how many of the n labelled answers reach t, the number of errors
among them is binomial with the rate R(t), whatever the distribution of scores is. So the exact
binomial test rejects "t is bad", where t is bad, with a probability of at most δ.

All thresholds are tested in a fixed order: from a first one downwards, each at the level δ, until
one is not rejected (Angelopoulos et al., "Learn then Test", arXiv 2110.01052, Section 3). Whatever
is accepted then is bad with a probability of at most δ: that needs the first bad threshold on the
way to be rejected. The sequence has all real numbers in it, so that equal scores are accepted
together, and the threshold may lie anywhere above the next lower score.

The sequence must not depend on the labels it is tested with. `plan` therefore chooses where it
starts from other answers, by simulating the whole procedure: too high, and there are too few
answers for one error to be forgiven; too low, and the first test fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.calibrate.bounds import allowed_errors, p_value, upper_bound
from hetagent.calibrate.measures import Floats
from hetagent.errors import InputError

__all__ = [
    "Found",
    "Plan",
    "Shortfall",
    "find_threshold",
    "labels_needed",
    "plan",
    "shortfall",
]

_RUNS = 200
_ENOUGH = 0.8
_ABOUT = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the sequence of tests starts.

    Attributes:
        start: The first threshold.
        coverage: Share of all answers that is expected to be accepted in the end.
    """

    start: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Found:
    """A threshold that passed, and the counts that it passed with.

    Attributes:
        threshold: The least score that is accepted.
        n: Labelled answers that were tested with.
        accepted: How many of them are accepted.
        errors: How many of those are wrong.
        p_value: Of the last test.
        upper_bound: Of the error rate at this threshold alone, at the same confidence.
    """

    threshold: float
    n: int
    accepted: int
    errors: int
    p_value: float
    upper_bound: float

    @property
    def coverage(self) -> float:
        """Share of the answers that is accepted."""
        return self.accepted / self.n


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why there is no threshold, in numbers; estimates from all labelled answers.

    Attributes:
        labels: About how many labelled answers would be needed in all; ``None`` where no number
            would do, since not even the surest answers are right often enough.
        escalated: The least share of answers that must escalate to keep the error rate, if the
            true rates were as measured; 1 where all must.
        surest_error: Error rate among the surest tenth of the answers.
    """

    labels: int | None
    escalated: float
    surest_error: float


def plan(
    scores: Any, probabilities: Any, *, n: int, max_error: float, confidence: float, seed: int = 0
) -> Plan:
    """Choose where to start, from answers that are not tested with.

    Labels are drawn many times from the probabilities, and the start is among those whose sequence
    ends lowest on average. Each draw scales the odds of an error at random, by as much as the
    number of errors to be expected leaves open.

    Args:
        scores: Of answers that do not take part in the tests; of shape (m,).
        probabilities: Of each being right, not fitted to its own label; of shape (m,).
        n: Answers that there will be to test with.
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
        seed: Of the draws.
    """
    scores = np.asarray(scores, dtype=float)
    order = np.argsort(-scores, kind="stable")
    falling, wrong = scores[order], 1 - np.asarray(probabilities, dtype=float)[order]
    # The m answers stand for n: the k-th most confident of n is at this place among m.
    places = ((np.arange(n) + 0.5) * len(falling) / n).astype(int)
    rate = np.clip(wrong[places], 1e-6, 1 - 1e-6)
    random = np.random.default_rng(seed)
    spread = 1 / math.sqrt(1 + min(wrong.sum(), (1 - wrong).sum()))
    odds = rate / (1 - rate) * np.exp(random.normal(0, spread, (_RUNS, 1)))
    errors = np.cumsum(random.random((_RUNS, n)) < odds / (1 + odds), axis=1)
    counts = np.arange(1, n + 1)
    passed = errors <= allowed_errors(counts, rate=max_error, level=1 - confidence)
    gained = np.where(passed, _last_passed(passed) + 1, 0)
    # A threshold that m answers place has another place among n.
    share = counts / n
    deviation = np.sqrt(n * share * (1 - share) * (1 + n / len(falling)))
    landed = np.arange(n) + random.normal(0, 1, (_RUNS, 1)) * deviation
    places_landed = np.clip(np.rint(landed), 0, n - 1).astype(int)
    reached = np.take_along_axis(gained, places_landed, axis=1).mean(axis=0) / n
    # Of all that is about as good the middle: the best by a hair may be the highest, where one
    # error that the probabilities did not tell of ends the sequence at once.
    good = np.nonzero(reached >= _ABOUT * reached.max())[0]
    middle = int(good[len(good) // 2])
    return Plan(float(falling[places[middle]]), float(reached[middle]))


def find_threshold(
    scores: Any, correct: Any, *, start: float, max_error: float, confidence: float
) -> Found | None:
    """Test thresholds from a start downwards, and return the last that passed.

    Args:
        scores: Of labelled answers, of shape (n,).
        correct: Whether each is right; booleans of shape (n,).
        start: The first threshold, chosen without these labels.
        max_error: The error rate to keep among accepted answers, α.
        confidence: With which to keep it, 1 - δ.

    Returns:
        What passed, or ``None`` where the first test failed.

    Raises:
        InputError: There are no answers, or the shapes differ.
    """
    s, y = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    if s.ndim != 1 or s.shape != y.shape or not len(s):
        raise InputError(
            f"There are scores of shape {s.shape} and labels of shape {y.shape}.",
            hint="Give one of each for every answer, and at least one answer.",
        )
    order = np.argsort(-s, kind="stable")
    s, errors = s[order], np.cumsum(~y[order])
    # Only where the next score is lower may a threshold part them.
    ends = np.nonzero(np.append(s[1:] != s[:-1], True))[0]
    # The tests from the start on: at the start itself, then after each further distinct score.
    above = int(np.searchsorted(-s, -start, side="right"))
    ends = ends[ends >= above - 1]
    if above == 0 or not len(ends):
        return None
    p = p_value(errors[ends], ends + 1, max_error)
    failed = np.nonzero(p > 1 - confidence)[0]
    passed = int(failed[0]) if len(failed) else len(ends)
    if passed == 0:
        return None
    last = int(ends[passed - 1])
    # Halfway to the next score: every threshold between the two has passed with the same counts,
    # and the last digits of a score must not decide.
    below = float(s[last] + s[last + 1]) / 2 if last + 1 < len(s) else -math.inf
    accepted, wrong = last + 1, int(errors[last])
    return Found(
        threshold=below,
        n=len(s),
        accepted=accepted,
        errors=wrong,
        p_value=float(p[passed - 1]),
        upper_bound=upper_bound(wrong, accepted, confidence=confidence),
    )


def shortfall(
    scores: Any, correct: Any, *, tested_share: float, max_error: float, confidence: float
) -> Shortfall:
    """Estimate how many labels would do, and how much must escalate at least.

    Args:
        scores: Of all labelled answers, of shape (n,).
        correct: Whether each is right; booleans of shape (n,).
        tested_share: Share of the labels that certifies, in (0, 1].
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
    """
    s, y = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    order = np.argsort(-s, kind="stable")
    s, wrong = s[order], np.cumsum(~y[order])
    last = np.append(s[1:] != s[:-1], True)
    accepted = np.arange(1, len(s) + 1)[last]
    risk = wrong[last] / accepted
    kept = accepted[risk <= max_error]
    surest = max(1, len(s) // 10)
    # Half an error more than was seen, so that a few lucky answers do not promise too much; but
    # where the rate as measured would do, it is not said that none would.
    cautious = np.minimum((wrong[last] + 0.5) / (accepted + 1), (risk + max_error) / 2)
    needs = [
        labels_needed(rate, count / len(s) * tested_share, max_error, confidence)
        for rate, count in zip(cautious[risk < max_error], accepted[risk < max_error], strict=True)
    ]
    return Shortfall(
        labels=min(needs, default=None),
        escalated=1 - (int(kept.max()) / len(s) if len(kept) else 0.0),
        surest_error=float(wrong[surest - 1] / surest),
    )


def labels_needed(rate: float, share: float, max_error: float, confidence: float) -> int:
    """Labels for which a test at a threshold passes with a probability of 0.8.

    Args:
        rate: Error rate at the threshold.
        share: Share of all labels that is tested and accepted there.
        max_error: The rate to show.
        confidence: With which to show it.
    """
    low, high = 1, 2
    while not _passes(high, rate, max_error, confidence):
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        if _passes(middle, rate, max_error, confidence):
            high = middle
        else:
            low = middle
    return math.ceil(high / share)


def _passes(n: int, rate: float, max_error: float, confidence: float) -> bool:
    allowed = int(allowed_errors(n, rate=max_error, level=1 - confidence))
    return allowed >= 0 and float(p_value(allowed, n, rate)) >= _ENOUGH


def _last_passed(passed: Any) -> Floats:
    """For each place of each row, the last place of the unbroken run of passes from there on."""
    width = passed.shape[1]
    failures = np.where(passed, width, np.arange(width))
    ahead: Floats = np.minimum.accumulate(failures[:, ::-1], axis=1)[:, ::-1] - 1
    return ahead
