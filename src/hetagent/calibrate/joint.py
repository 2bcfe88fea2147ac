"""Thresholds of all skills of a workflow, chosen together and certified on its final values.

Let R(t) be the true share of wrong final values among the runs in which, under the thresholds t,
at least one answer of the SLM's is accepted; all other steps have the LLM's answers. Given how many
of the n labelled runs are such runs, the number of wrong ones among them is binomial with the rate
R(t), whatever the steps have to do with each other. So the exact binomial test holds for a workflow
as it does for one skill, and vectors of thresholds that are tested in a fixed order, each at the
level δ, until one is not rejected, keep R(t) ≤ α with a probability of at least 1 - δ (Angelopoulos
et al., "Learn then Test", arXiv 2110.01052, Section 3).

A sequence through k thresholds has to be chosen, and it must not depend on the labels it is tested
with. On other runs a calibrator is fitted for each skill. What it predicts is the end: whether the
final value is right where the SLM's answer is taken at this one step and the LLM's at all others. A
wrong answer that changes nothing is harmless, and one that spoils all is not. To first order the
errors of a run are then the sum of the accepted steps' probabilities of harm 1 - q, and the
thresholds that minimise price of escalations + errors / μ have a closed form: accept a step where
(1 - q) / price ≤ μ (Lagrange; the rule of Neyman and Pearson's lemma, and of Chow, "On optimum
recognition error and reject tradeoff", 1970). Rising μ gives one sequence, from strict to lax, that
makes all thresholds comparable. Nothing that is promised hangs on the first order being exact: only
how few steps escalate does. Free offsets between the skills, found by a coordinate search on the
fitting runs, were tried and gained nothing.

Where the sequence starts is chosen by simulating the procedure, as in `thresholds.plan`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.calibrate.bounds import p_value, upper_bound
from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certifying import Split, fit_any
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.replays import Forest, Results, ScoredForest, sums
from hetagent.calibrate.thresholds import labels_needed
from hetagent.calibrate.workflow_certificate import ACCEPT_ALL, Measured

__all__ = ["Fits", "Joint", "Levels", "certify_jointly", "fit_steps", "measured"]

_LEAST = 10
_POINTS = 250
_DRAWS = 150
_ABOUT = 0.95
# Errors to expect where none was seen.
_UNSEEN = 0.25
# Orders the scores within what a calibrator holds equally probable, by much less than it tells.
_TIE = 0.01
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Levels:
    """What is to be promised.

    Attributes:
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
    """

    max_error: float
    confidence: float

    @property
    def doubt(self) -> float:
        """δ."""
        return 1 - self.confidence


@dataclass(frozen=True, slots=True)
class Joint:
    """Thresholds of all skills, and what they were certified with.

    Attributes:
        calibrators: By skill; one that occurs too rarely has none, and always escalates.
        thresholds: By skill, infinite where nothing is accepted; ``None`` where no vector passed.
        n: Runs that certify.
        measured: On them.
        p_value: Of the last test that passed; 1 where none did.
        upper_bound: Of the error rate at these thresholds alone; 1 where none passed.
        labels_needed: Where none passed: about how many labelled runs would do in all; ``None``
            where no number would.
    """

    calibrators: Mapping[str, Calibrator]
    thresholds: Mapping[str, float] | None
    n: int
    measured: Measured
    p_value: float
    upper_bound: float
    labels_needed: int | None


@dataclass(frozen=True, slots=True)
class Fits:
    """Calibrators of all skills, fitted on some runs.

    Attributes:
        calibrators: By skill; one that occurs too rarely has none, and always escalates.
        wrong: Of each step: probability that its label is wrong, by a calibrator that has not seen
            it; 0 where nothing is known; of shape (S,).
    """

    calibrators: Mapping[str, Calibrator]
    wrong: Floats


def fit_steps(forest: Forest, labels: Any, *, seed: int = 0) -> Fits:
    """Fit a calibrator for each skill.

    Steps that only come after an answer of the SLM's teach nothing: what becomes of them depends on
    that answer too.

    Args:
        forest: The replays of the runs to fit with.
        labels: What is to be predicted of each step: `Forest.harmless` or `Forest.agrees`.
        seed: Of the folds.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    calibrators: dict[str, Calibrator] = {}
    wrong = np.zeros(len(forest.skill))
    for number, name in enumerate(forest.skills):
        rows = np.nonzero(forest.of_skill(number))[0]
        if len(rows) >= _LEAST:
            found = fit_any(forest.table.take(rows), labels[rows], seed=seed)
            calibrators[name] = found.calibrator
            wrong[rows] = 1 - found.held_out
    return Fits(calibrators, wrong)


def certify_jointly(
    forest: Forest,
    fits: Fits,
    *,
    rows: Split,
    levels: Levels,
    prices: Any = None,
    seed: int = 0,
) -> Joint:
    """Choose a sequence of threshold vectors, and certify one of them.

    Args:
        forest: The replays of n labelled runs.
        fits: Of `Forest.harmless` of the runs that fit.
        rows: Which fit, and which certify.
        levels: What to keep among runs with an accepted answer.
        prices: Of one escalated step of each skill, above 0, of shape (k,); 1 by default.
        seed: Of the simulations.
    """
    price = np.ones(len(forest.skills)) if prices is None else np.asarray(prices, dtype=float)
    fitting, testing = forest.take(rows[0]), forest.take(rows[1])
    calibrators = fits.calibrators
    known, fresh = fitting.scored(calibrators), testing.scored(calibrators)
    path = _path(known, calibrators, price)
    expected = known.results(path, prices=price)
    start = _start(
        known,
        path,
        expected,
        harm=fits.wrong,
        n=len(testing),
        price_of_all=float(_price_of_all(fitting, price)),
        levels=levels,
        seed=seed,
    )
    results = fresh.results(path[start:], prices=price)
    accepted, errors = results.accepted.sum(1), results.wrong.sum(1)
    p = p_value(errors, accepted, levels.max_error)
    failed = np.nonzero(p > levels.doubt)[0]
    last = (int(failed[0]) if len(failed) else len(p)) - 1
    none = last < 0
    vector = np.full(len(forest.skills), np.inf) if none else path[start + last]
    return Joint(
        calibrators,
        None if none else dict(zip(forest.skills, vector.tolist(), strict=True)),
        len(testing),
        measured(fresh, vector, price),
        1.0 if none else float(p[last]),
        1.0
        if none
        else upper_bound(int(errors[last]), int(accepted[last]), confidence=levels.confidence),
        _shortfall(forest.scored(calibrators), path, len(testing), levels) if none else None,
    )


def measured(forest: ScoredForest, thresholds: Any, prices: Any) -> Measured:
    """What one vector of thresholds does on some runs."""
    vector = np.asarray(thresholds, dtype=float)[None]
    found = forest.results(vector)
    priced = forest.results(vector, prices=prices)
    return Measured(
        int(found.accepted.sum()),
        int(found.wrong.sum()),
        float(found.escalated.mean()),
        float(priced.escalated.mean()),
    )


def _path(known: ScoredForest, calibrators: Mapping[str, Calibrator], prices: Floats) -> Floats:
    """Vectors of thresholds from strict to lax, of shape (J, k)."""
    forest = known.forest
    grids: dict[int, tuple[Floats, Floats]] = {}
    for number, name in enumerate(forest.skills):
        if name in calibrators:
            scores = np.unique(np.round(known.scores[forest.of_skill(number)], _DIGITS))
            levels = _levels(calibrators[name], scores) + math.log(prices[number])
            grids[number] = levels, _between(scores)
    if not grids:
        return np.full((1, len(forest.skills)), np.inf)
    pooled = np.concatenate([levels for levels, _ in grids.values()])
    falling = np.unique(np.quantile(pooled, np.linspace(0, 1, _POINTS)))[::-1]
    path = np.full((len(falling), len(forest.skills)), np.inf)
    for number, (levels, cuts) in grids.items():
        path[:, number] = np.interp(falling, levels, cuts, left=ACCEPT_ALL, right=np.inf)
    return path


def _between(scores: Floats) -> Floats:
    """Halfway down from each score to the next lower one.

    Scores are summed in another order where answers are decided one by one, so that many equal ones
    must not lie on a threshold.
    """
    below = np.concatenate([scores[:1] - 2 * 10.0**-_DIGITS, scores[:-1]])
    cuts: Floats = (scores + below) / 2
    return cuts


def _levels(calibrator: Calibrator, scores: Floats) -> Floats:
    """-ln of the probability of harm at rising scores, strictly rising."""
    p = np.interp(scores, calibrator.scores, calibrator.probabilities)
    spread = float(scores.std()) or 1.0
    levels: Floats = -np.log(np.maximum(1 - p, 1e-6)) + _TIE * (scores - scores.mean()) / spread
    return levels


def _start(
    known: ScoredForest,
    path: Floats,
    expected: Results,
    *,
    harm: Floats,
    n: int,
    price_of_all: float,
    levels: Levels,
    seed: int,
) -> int:
    """The first vector to test: the middle of those from which the simulated tests gain most.

    Each simulation draws runs twice with replacement, since the fitting runs are a sample as well
    as those to come, and errors from the predicted harms, scaled to as many as the mean of those
    predicted and those seen, and at random by as much as that number leaves open.
    """
    random = np.random.default_rng(seed)
    m = len(known.forest)
    predicted = _predicted(known, path, harm)
    seen, told = expected.wrong.sum(1), predicted.sum(1)
    # Calibrators know little of errors that are rare; the few that were seen are a guess as good.
    total = (told + seen) / 2 + _UNSEEN
    odds = np.clip(predicted, 1e-6, 1 - 1e-6)
    odds = (total / np.maximum(told, 1e-6 * m))[:, None] * odds / (1 - odds)
    spread = 1 / math.sqrt(1 + float(seen.max(initial=0)))
    gain = np.maximum(price_of_all - expected.escalated.mean(1), 0.0)
    gained = np.zeros(len(path))
    for _ in range(_DRAWS):
        rows = random.integers(0, m, m)[random.integers(0, m, n)]
        drawn = odds[:, rows] * math.exp(random.normal(0, spread))
        wrong = expected.accepted[:, rows] & (random.random(n) * (1 + drawn) < drawn)
        accepted = expected.accepted[:, rows].sum(1)
        passed = p_value(wrong.sum(1), accepted, levels.max_error) <= levels.doubt
        ends = np.where(passed, len(path), np.arange(len(path)))
        reached = np.minimum.accumulate(ends[::-1])[::-1] - 1
        gained += np.where(passed, gain[np.maximum(reached, 0)], 0.0)
    good = np.nonzero(gained >= _ABOUT * gained.max())[0]
    return int(good[len(good) // 2])


def _predicted(known: ScoredForest, path: Floats, harm: Floats) -> Floats:
    """Probability that each run ends wrong under each vector, if harms were independent."""
    forest = known.forest
    fine = np.log1p(-np.clip(harm, 0.0, 1 - 1e-6))
    # One replay of each run has all steps whose harm is known.
    taken = (known.scores >= path[:, forest.skill]) * np.where(forest.on_trunk, fine, 0.0)
    predicted: Floats = -np.expm1(sums(sums(taken, forest.first_steps), forest.starts))
    return predicted


def _price_of_all(forest: Forest, prices: Floats) -> float:
    """Mean price of a run in which every step escalates."""
    total: float = prices[forest.skill[forest.on_trunk]].sum() / len(forest)
    return total


def _shortfall(every: ScoredForest, path: Floats, tested: int, levels: Levels) -> int | None:
    results = every.results(path)
    accepted, wrong = results.accepted.sum(1), results.wrong.sum(1)
    # A little more errors than were seen, as in `thresholds.shortfall`.
    rate = wrong / np.maximum(accepted, 1)
    cautious = np.minimum((wrong + 0.5) / (accepted + 1), (rate + levels.max_error) / 2)
    n = len(every.forest)
    needs = [
        labels_needed(
            float(cautious[j]), accepted[j] / n * tested / n, levels.max_error, levels.confidence
        )
        for j in np.nonzero((accepted > 0) & (rate < levels.max_error))[0][::10]
    ]
    return min((one for one in needs if one is not None), default=None)
