"""Thresholds of a whole ladder, chosen together at least cost, and certified under one error rate.

A vector of thresholds says from which score the SLM's answer, and that of each LLM but the last, is
accepted, and below which score of the SLM an LLM is passed over. What is promised is one thing:
that of all answers accepted before the last LLM at most α are wrong, with a probability of 1 - δ.

On the fitting part a path of vectors is chosen. Each minimises

    cost + μ (errors - α · accepted)

per call, for a μ that falls from one vector to the next: the Lagrangian of "least cost at an error
rate of α". The first leaves as much room for errors as there can be; the later, the more they save
and the less room they leave. Where one leaps over what is not the least for any μ, steps in between
fill the gap. On the certifying part the path is tested as a fixed sequence: from
a start that was planned on the fitting part too, one vector after the other with the exact binomial
test at the level δ, until one fails (Angelopoulos et al., "Learn then Test", arXiv 2110.01052). A
bad vector is chosen only where the first bad one on the way is rejected, which happens with a
probability of at most δ. One error rate for the ladder is cheaper than the same for each of its
rungs, since a rung that is more often right leaves room for one that is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetagent.calibrate.bounds import p_value, upper_bound
from hetagent.calibrate.certifying import Split, fit_any
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.rungs import Counts, Ladder

__all__ = [
    "Answers",
    "Routed",
    "Vector",
    "find_ladder",
    "find_vector",
    "path",
    "plan_start",
    "route",
]

_LEAST = 20
_GRID = 32
_STEPS = 40
_SWEEPS = 4
_LEAP = 0.01
_RUNS = 200
_ABOUT = 0.95


@dataclass(frozen=True, slots=True)
class Answers:
    """What the SLM and all LLMs but the last answered to m examples.

    Attributes:
        scores: The SLM's, of shape (m,); minus infinity where it gave no valid answer.
        confidence: The SLM's, calibrated, of shape (m,); of rows that calibrators are fitted
            with, by one that was not.
        opinions: Evidence of each LLM's answers.
        valid: Which there are, of shape (m, LLMs); the SLM counts as the last LLM's place, and
            comes first.
        right: Which are right, likewise.
    """

    scores: Floats
    confidence: Floats
    opinions: Sequence[EvidenceTable]
    valid: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Vector:
    """Thresholds of a ladder of k LLMs.

    Attributes:
        thresholds: The least score that is accepted, of the SLM and of each LLM but the last; k
            numbers, infinite where nothing is.
        floors: For each LLM but the last the SLM's score below which it is passed over; k - 1
            numbers, minus infinity for never.
    """

    thresholds: tuple[float, ...]
    floors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    """What becomes of m calls under a vector.

    Attributes:
        stage: Who is accepted: 0 for the SLM, j + 1 for LLM j, k for the last; of shape (m,).
        cost: Prices of the LLMs that are asked; of shape (m,).
    """

    stage: Any
    cost: Floats


def find_ladder(
    answers: Answers,
    *,
    prices: tuple[Sequence[float], str],
    rows: Split,
    max_error: float,
    confidence: float,
    seed: int = 0,
) -> Ladder | None:
    """Choose the thresholds of a ladder, and certify them.

    Args:
        answers: To all labelled examples.
        prices: What each of the k LLMs costs on average, and the unit.
        rows: Which examples fit, and which certify.
        max_error: The error rate to keep among answers accepted before the last LLM, α.
        confidence: With which to keep it, 1 - δ.
        seed: Of folds and simulations.

    Returns:
        ``None`` where nothing could be certified.
    """
    fitting, testing = rows
    if len(fitting) < _LEAST or not len(testing):
        return None
    judges, scores = [], [answers.scores]
    risk = np.ones((len(fitting), len(answers.opinions) + 1))
    risk[:, 0] = 1 - answers.confidence[fitting]
    for stage, table in enumerate(answers.opinions, 1):
        seen = answers.valid[fitting, stage]
        if seen.sum() < _LEAST:
            return None
        judge = fit_any(table.take(fitting[seen]), answers.right[fitting[seen], stage], seed=seed)
        risk[seen, stage] = 1 - judge.held_out
        judges.append(judge.calibrator)
        given = np.where(answers.valid[:, stage], table.scores(judge.calibrator), -math.inf)
        scores.append(given)
    every = np.column_stack(scores)
    each, unit = prices
    vectors = path(every[fitting], risk, prices=each, max_error=max_error)
    start = plan_start(
        every[fitting],
        risk,
        vectors,
        prices=each,
        n=len(testing),
        max_error=max_error,
        confidence=confidence,
        seed=seed,
    )
    found = find_vector(
        every[testing],
        ~answers.right[testing],
        vectors[start:],
        prices=each,
        max_error=max_error,
        confidence=confidence,
    )
    if found is None:
        return None
    vector, tested = found
    cost = float(route(every[testing], vector, each).cost.mean())
    return Ladder(
        tuple(None if math.isinf(one) else one for one in vector.thresholds),
        tuple(None if math.isinf(one) else one for one in vector.floors),
        tuple(judges),
        tested,
        cost,
        unit,
    )


def route(scores: Floats, vector: Vector, prices: Sequence[float]) -> Routed:
    """Who is accepted, and what is asked for it.

    Args:
        scores: Of the SLM and of all LLMs but the last, of shape (m, k).
        vector: The thresholds.
        prices: Of the k LLMs.
    """
    last = scores.shape[1]
    done = scores[:, 0] >= vector.thresholds[0]
    stage, cost = np.where(done, 0, last), np.zeros(len(scores))
    for rung, floor in enumerate(vector.floors):
        least = vector.thresholds[rung + 1]
        if least == math.inf:
            continue
        asked = ~done & (scores[:, 0] >= floor)
        cost[asked] += prices[rung]
        sure = asked & (scores[:, rung + 1] >= least)
        stage[sure] = rung + 1
        done |= sure
    cost[~done] += prices[last - 1]
    return Routed(stage, cost)


def path(
    scores: Floats, risk: Floats, *, prices: Sequence[float], max_error: float
) -> list[Vector]:
    """Vectors from much room for errors to least cost.

    Args:
        scores: Of the SLM and of all LLMs but the last, of shape (m, k).
        risk: How likely each answer is wrong, likewise; by calibrators that have not seen it.
        prices: Of the k LLMs.
        max_error: α.
    """
    unit = max(prices) or 1.0
    k = scores.shape[1]
    grids = [_grid(scores[:, stage]) for stage in range(k)]
    vector = Vector((math.inf,) * k, (-math.inf,) * (k - 1))
    found: list[Vector] = []
    # From where errors are all that counts to where they cost less than the last LLM.
    for weight in unit * np.geomspace(1e4, 0.5, _STEPS):

        def loss(one: Vector, weight: float = weight) -> float:
            routed = route(scores, one, prices)
            accepted = routed.stage < k
            wrong = risk[accepted, routed.stage[accepted]]
            slack = (wrong - max_error).sum() / len(scores)
            return float(routed.cost.mean() + weight * slack)

        vector = _descend(vector, loss, grids)
        if not found or vector != found[-1]:
            found.append(vector)
    return _filled(found, scores, prices)


def plan_start(
    scores: Floats,
    risk: Floats,
    vectors: Sequence[Vector],
    *,
    prices: Sequence[float],
    n: int,
    max_error: float,
    confidence: float,
    seed: int = 0,
) -> int:
    """Where on the path to begin, so that what is found in the end saves most on average.

    The whole procedure is simulated on examples and labels drawn anew, with the odds of an error
    scaled at random by as much as the number of errors to be expected leaves open.

    Args:
        scores: As in `path`.
        risk: As in `path`.
        vectors: The path.
        prices: Of the k LLMs.
        n: Examples that there will be to test with.
        max_error: α.
        confidence: 1 - δ.
        seed: Of the simulation.

    Returns:
        A place on the path.
    """
    random = np.random.default_rng(seed)
    m, k = scores.shape
    stages = [route(scores, vector, prices) for vector in vectors]
    drawn = random.multinomial(n, np.full(m, 1 / m), _RUNS)
    rate = np.clip(risk, 1e-6, 1 - 1e-6)
    spread = 1 / math.sqrt(1 + min(rate[:, 0].sum(), (1 - rate[:, 0]).sum()))
    odds = rate / (1 - rate) * np.exp(random.normal(0, spread, (_RUNS, 1, 1)))
    wrong = random.binomial(drawn[:, :, None], odds / (1 + odds))
    passed = np.empty((_RUNS, len(vectors)), dtype=bool)
    for place, routed in enumerate(stages):
        taken = np.nonzero(routed.stage < k)[0]
        errors = wrong[:, taken, routed.stage[taken]].sum(axis=1)
        accepted = drawn[:, taken].sum(axis=1)
        passed[:, place] = p_value(errors, accepted, max_error) <= 1 - confidence
    saved = max(prices[-1], 1e-12) - np.array([routed.cost.mean() for routed in stages])
    gained = np.zeros((_RUNS, len(vectors)))
    ahead = np.zeros(_RUNS)
    for place in reversed(range(len(vectors))):
        # What the next one comes to, where it passes too.
        on = passed[:, place + 1] if place + 1 < len(vectors) else np.zeros(_RUNS, dtype=bool)
        ahead = np.where(on, ahead, saved[place])
        gained[:, place] = np.where(passed[:, place], ahead, 0.0)
    mean = gained.mean(axis=0)
    good = np.nonzero(mean >= _ABOUT * mean.max())[0]
    return int(good[len(good) // 2])


def find_vector(
    scores: Floats,
    wrong: Any,
    vectors: Sequence[Vector],
    *,
    prices: Sequence[float],
    max_error: float,
    confidence: float,
) -> tuple[Vector, Counts] | None:
    """Test vectors one after the other, and return the last that passed.

    Args:
        scores: As in `path`, of n examples that the path was not chosen with.
        wrong: Which answers are wrong; booleans of shape (n, k).
        vectors: The sequence.
        prices: Of the k LLMs.
        max_error: α.
        confidence: 1 - δ.

    Returns:
        What passed and with which counts, or ``None`` where the first test failed.
    """
    k = scores.shape[1]
    found = None
    for vector in vectors:
        stage = route(scores, vector, prices).stage
        taken = np.nonzero(stage < k)[0]
        errors = int(wrong[taken, stage[taken]].sum())
        p = float(p_value(errors, len(taken), max_error))
        if p > 1 - confidence:
            break
        bound = upper_bound(errors, len(taken), confidence=confidence)
        found = vector, Counts(len(scores), len(taken), errors, bound, p)
    return found


def _filled(vectors: Sequence[Vector], scores: Floats, prices: Sequence[float]) -> list[Vector]:
    """The path with steps put in where the share that is accepted leaps."""
    columns = [np.unique(column[np.isfinite(column)]) for column in scores.T]
    shares = [np.mean(route(scores, one, prices).stage < scores.shape[1]) for one in vectors]
    found = list(vectors[:1])
    for old, new, leap in zip(vectors, vectors[1:], np.abs(np.diff(shares)), strict=False):
        count = math.ceil(leap / _LEAP)
        steps = [_between(old, new, step / count, columns) for step in range(1, count)]
        found += [one for one in [*steps, new] if one != found[-1]]
    return found


def _between(old: Vector, new: Vector, share: float, columns: Sequence[Floats]) -> Vector:
    """A vector that is so far on the way, counted in places among the scores that there are."""

    def place(column: Floats, value: float) -> int:
        return int(np.searchsorted(column, value))

    def number(column: Floats, a: float, b: float, below: float) -> float:
        if a == b:
            return a
        at = round(place(column, a) * (1 - share) + place(column, b) * share)
        if at == 0 and below == -math.inf:
            return below
        return float(column[at]) if at < len(column) else math.inf

    return Vector(
        tuple(map(number, columns, old.thresholds, new.thresholds, [0.0] * len(columns))),
        tuple(
            number(columns[0], a, b, -math.inf) for a, b in zip(old.floors, new.floors, strict=True)
        ),
    )


def _descend(vector: Vector, loss: Any, grids: Sequence[Floats]) -> Vector:
    """Change one threshold at a time for the better, until none can be."""
    best = loss(vector)
    for _ in range(_SWEEPS):
        before = best
        for one in _neighbours(vector, grids):
            for other in one(vector):
                if (value := loss(other)) < best - 1e-15:
                    vector, best = other, value
        if best >= before:
            break
    return vector


def _neighbours(vector: Vector, grids: Sequence[Floats]) -> list[Any]:
    """For each number of a vector, a function that gives vectors with others in its place."""

    def thresholds(stage: int) -> Any:
        return lambda now: [
            replace(now, thresholds=_with(now.thresholds, stage, float(value)))
            for value in (*grids[stage], math.inf)
        ]

    def floors(rung: int) -> Any:
        return lambda now: [
            replace(now, floors=_with(now.floors, rung, float(value)))
            for value in (-math.inf, *grids[0])
        ]

    found = [thresholds(stage) for stage in range(len(vector.thresholds))]
    return found + [floors(rung) for rung in range(len(vector.floors))]


def _with(numbers: tuple[float, ...], place: int, value: float) -> tuple[float, ...]:
    return (*numbers[:place], value, *numbers[place + 1 :])


def _grid(scores: Floats) -> Floats:
    """Some of the scores that there are, from the least to the highest."""
    known = np.unique(scores[np.isfinite(scores)])
    if not len(known):
        return known
    places = np.unique(np.linspace(0, len(known) - 1, _GRID).astype(int))
    grid: Floats = known[places]
    return grid
