"""Thresholds of a whole ladder: what becomes of calls under them, and a path from safe to cheap.

See `hetagent.calibrate.ladder` for what the path minimises, and why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetagent.calibrate.measures import Floats

__all__ = ["Routed", "Vector", "path", "route"]

_GRID = 32
_STEPS = 40
_SWEEPS = 4
_LEAP = 0.01


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
