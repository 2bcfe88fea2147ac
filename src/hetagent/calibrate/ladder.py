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
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.calibrate.bounds import p_value, upper_bound
from hetagent.calibrate.certifying import Split, fit_any
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.ladder_path import Vector, path, route
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.rungs import Counts, Ladder

__all__ = ["Answers", "find_ladder", "find_vector", "plan_start"]

_LEAST = 20
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
        scores: As in `hetagent.calibrate.ladder_path.path`.
        risk: As in `hetagent.calibrate.ladder_path.path`.
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
        scores: As in `plan_start`, of n examples that the path was not chosen with.
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
