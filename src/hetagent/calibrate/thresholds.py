"""Thresholds that provably keep an error rate: Learn-then-Test with fixed-sequence testing.

For a threshold t let R(t) be the true error rate among the answers whose score is at least t, and
call t *bad* where R(t) > α. The n labelled answers are put in the order of their scores, the surest
first, and tested in steps: the surest c₁ of them, then the surest c₂ > c₁, and so on, each with the
exact binomial test at the level δ, until one does not reject R > α (Angelopoulos et al., "Learn
then Test", arXiv 2110.01052, Section 3). The threshold then lies right below the last step that
passed, and it is bad with a probability of at most δ. Equal scores are accepted together: a step
that would part them takes all of them.

The steps are counts, chosen without the labels. Why counts do as well as fixed thresholds, for
scores that are all different: call a step dangerous where any threshold between its last score and
the next is bad. At an end of a run of bad thresholds R is α, and so is the error rate between any
two such ends. Given how many answers lie between them, which alone decides which step is the first
dangerous one, the c answers of that step have at least as many errors as c tosses with the rate α:
those above the run of bad thresholds have this rate, and those within it, given the next score, a
higher one. So this step passes with a probability of at most δ; and before it no threshold is bad,
wherever between two scores it lies.

Where scores tie, how many answers a step takes depends on how many tie, and this argument does not
cover a step that leaps over a bad threshold to another that is bad by less. That is not proved. A
search for the largest probability, computed exactly for up to 12 answers with two to five different
scores, over their shares and error rates, the steps, α and δ, came to δ and never above it.

Between two counts at which one more error is allowed, a test asks for more than the one before it.
So `plan` takes only these counts where errors are few, and every count from where it expects the
end. It simulates the procedure on other answers: the first step must have answers enough for some
errors to be forgiven, and few enough to pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.calibrate.bounds import allowed_errors, p_value, upper_bound
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

Ints = NDArray[np.int64]

_RUNS = 200
_ENOUGH = 0.8
# How many beginnings are tried, and how much more a later one must accept.
_FIRSTS = 24
_WORTH = 1.01
# At how many thresholds it is worked out how many labels would do.
_TRIED = 50
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The sequence of tests.

    Attributes:
        counts: How many of the surest answers each test takes, rising; of shape (k,). Empty where
            there are too few answers for any test to pass.
        coverage: Share of all answers that is expected to be accepted in the end.
    """

    counts: Ints
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
    """Choose the steps, from answers that are not tested with.

    Labels are drawn many times from the probabilities; of the sequences that begin at one count
    that allows a further error, go on through these counts, and take every count from one of them
    on, that one is taken which accepts most on average. Each draw scales the odds of an error at
    random, by as much as the number of errors to be expected leaves open.

    Args:
        scores: Of answers that do not take part in the tests; of shape (m,).
        probabilities: Of each being right, not fitted to its own label; of shape (m,).
        n: Answers that there will be to test with.
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
        seed: Of the draws.
    """
    allowed = allowed_errors(np.arange(1, n + 1), rate=max_error, level=1 - confidence)
    # Indices of the counts from which on one more error is allowed; the count is one more.
    rises = np.nonzero(np.diff(allowed, prepend=-1) > 0)[0]
    if not len(rises):
        return Plan(np.empty(0, dtype=int), 0.0)
    errors = _simulated(scores, probabilities, n=n, seed=seed)
    passed = errors <= allowed
    # With every count tested from the one after a rise on, how many are accepted in the end.
    onwards = _last_passed(passed)[:, np.minimum(rises + 1, n - 1)] + 1
    onwards = np.where(rises + 1 < n, onwards, 0)
    firsts = np.unique(np.linspace(0, len(rises) - 1, min(len(rises), _FIRSTS)).astype(int))
    best = (0.0, 0, 0)
    for first in firsts:
        alive = np.logical_and.accumulate(passed[:, rises[first:]], axis=1)
        reached = np.maximum.accumulate(np.where(alive, rises[first:] + 1, 0), axis=1)
        ends = np.where(alive, np.maximum(onwards[:, first:], reached), reached).mean(axis=0)
        last = int(ends.argmax())
        # A later beginning must be worth it: with one error more than was foreseen, all ends there.
        if ends[last] > best[0] * _WORTH:
            best = (float(ends[last]), int(first), int(first) + last)
    accepted, first, last = best
    steps = rises[first : last + 1] + 1
    return Plan(np.concatenate([steps, np.arange(steps[-1] + 1, n + 1)]), accepted / n)


def find_threshold(
    scores: Any, correct: Any, *, counts: Any, max_error: float, confidence: float
) -> Found | None:
    """Test the surest answers, more and more of them, and return the last threshold that passed.

    Args:
        scores: Of labelled answers, of shape (n,).
        correct: Whether each is right; booleans of shape (n,).
        counts: How many each test takes, rising; chosen without these labels.
        max_error: The error rate to keep among accepted answers, α.
        confidence: With which to keep it, 1 - δ.

    Returns:
        What passed, or ``None`` where the first test failed.

    Raises:
        InputError: There are no answers, the shapes differ, or a score is NaN.
    """
    s, y = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    if s.ndim != 1 or s.shape != y.shape or not len(s):
        raise InputError(
            f"There are scores of shape {s.shape} and labels of shape {y.shape}.",
            hint="Give one of each for every answer, and at least one answer.",
        )
    if np.isnan(s).any():
        raise InputError(
            f"{int(np.isnan(s).sum())} of {len(s)} scores are no number (NaN).",
            hint="Leave out answers without a score; they cannot be accepted.",
        )
    order = np.argsort(-s, kind="stable")
    s, errors = s[order], np.cumsum(~y[order])
    # Only where the next score is lower may a threshold part them.
    ends = np.nonzero(np.append(s[1:] != s[:-1], True))[0] + 1
    steps = np.asarray(counts, dtype=int)
    steps = np.unique(ends[np.searchsorted(ends, steps[steps <= len(s)])])
    if not len(steps):
        return None
    p = p_value(errors[steps - 1], steps, max_error)
    failed = np.nonzero(p > 1 - confidence)[0]
    passed = int(failed[0]) if len(failed) else len(steps)
    if passed == 0:
        return None
    accepted = int(steps[passed - 1])
    # Halfway to the next score: the last digits of a score must not decide.
    below = float(s[accepted - 1] + s[accepted]) / 2 if accepted < len(s) else -math.inf
    wrong = int(errors[accepted - 1])
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
    low = np.nonzero(risk < max_error)[0]
    needs = [
        labels_needed(cautious[i], accepted[i] / len(s) * tested_share, max_error, confidence)
        for i in low[np.unique(np.linspace(0, len(low) - 1, min(len(low), _TRIED)).astype(int))]
    ]
    return Shortfall(
        labels=min((one for one in needs if one is not None), default=None),
        escalated=1 - (int(kept.max()) / len(s) if len(kept) else 0.0),
        surest_error=float(wrong[surest - 1] / surest),
    )


def labels_needed(rate: float, share: float, max_error: float, confidence: float) -> int | None:
    """Labels for which a test at a threshold passes with a probability of 0.8.

    Args:
        rate: Error rate at the threshold.
        share: Share of all labels that is tested and accepted there.
        max_error: The rate to show.
        confidence: With which to show it.

    Returns:
        About how many in all; ``None`` where millions would not do, as the rate is all but the one
        to show.
    """
    low, high = 1, 2
    while not _passes(high, rate, max_error, confidence):
        low, high = high, high * 2
        if high > _MOST:
            return None
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


def _simulated(scores: Any, probabilities: Any, *, n: int, seed: int) -> Any:
    """Errors among the surest 1, 2, …, n answers; of shape (runs, n)."""
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    wrong = 1 - np.asarray(probabilities, dtype=float)[order]
    # The m answers stand for n: the k-th most confident of n is at this place among m.
    places = ((np.arange(n) + 0.5) * len(wrong) / n).astype(int)
    rate = np.clip(wrong[places], 1e-6, 1 - 1e-6)
    random = np.random.default_rng(seed)
    spread = 1 / math.sqrt(1 + min(wrong.sum(), (1 - wrong).sum()))
    odds = rate / (1 - rate) * np.exp(random.normal(0, spread, (_RUNS, 1)))
    return np.cumsum(random.random((_RUNS, n)) < odds / (1 + odds), axis=1)


def _last_passed(passed: Any) -> Ints:
    """For each place of each row, the last place of the unbroken run of passes from there on."""
    width = passed.shape[1]
    failures = np.where(passed, width, np.arange(width))
    ahead: Ints = np.minimum.accumulate(failures[:, ::-1], axis=1)[:, ::-1] - 1
    return ahead
