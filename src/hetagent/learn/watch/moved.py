"""Whether inputs have moved away from those that a skill was made with.

Two questions are asked. Do recent inputs come from elsewhere than the skill's? The maximum mean
discrepancy of Gretton et al. (A kernel two-sample test, JMLR 13, 2012), with a Gaussian kernel of
the median distance, is compared with what it is when the same inputs are dealt anew to both sides:
the share of deals with as much of it is a p-value that holds whatever the inputs are like. And how
many of them lie farther from all of the skill's inputs than these do from one another?

Kernel tests on a representation of the inputs were among the most sensitive and reliable of those
that Rabanser, Günnemann and Lipton compared (Failing Loudly, NeurIPS 2019). On texts of calls, as
WordLlama has them, this one found small shares of a new kind of input more often than a classifier
that is trained to tell both sides apart (Lopez-Paz and Oquab, ICLR 2017), which must spend half of
the inputs on its training; see docs/watching.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.cluster.embed import Vectors

__all__ = ["Moved", "moved", "nearness"]

Array = NDArray[np.float64]

_DEALS = 499
_PART = 512


class Moved(NamedTuple):
    """How far some inputs are from others.

    Attributes:
        distance: The squared maximum mean discrepancy, without bias; about 0 where they are alike.
        p_value: Share of random deals with as much of it.
        strangeness: For each input how much more of its kind there are among the recent ones than
            among the others, in units of the kernel.
    """

    distance: float
    p_value: float
    strangeness: Array


def moved(before: Vectors, now: Vectors, *, seed: int = 0, deals: int = _DEALS) -> Moved:
    """Compare recent inputs with earlier ones.

    Args:
        before: Unit vectors of earlier inputs, shape ``(inputs, dimensions)``.
        now: Of recent ones; as many at least two.
        seed: Of the deals.
        deals: How many; no p-value is below ``1 / (deals + 1)``.
    """
    every = np.concatenate([before, now]).astype(np.float32)
    squared = np.maximum(0.0, 2.0 - 2.0 * (every @ every.T))
    between = squared[np.triu_indices(len(every), 1)]
    width = float(np.median(between[between > 0])) if (between > 0).any() else 1.0
    kernel = np.exp(-squared / width)
    np.fill_diagonal(kernel, 0.0)  # without which the estimate has no bias
    m, n = len(before), len(now)
    is_now = np.zeros((len(every), deals + 1), np.float32)
    is_now[m:, 0] = 1.0
    draw = np.random.default_rng(seed)
    for deal in range(1, deals + 1):
        is_now[draw.choice(len(every), n, replace=False), deal] = 1.0
    found = _discrepancies(kernel, is_now, m, n)
    p_value = float(np.mean(found >= found[0] - 1e-12))
    near_now = kernel[m:, m:].sum(axis=1) / max(1, n - 1)
    near_before = kernel[m:, :m].mean(axis=1)
    return Moved(float(found[0]), p_value, np.asarray(near_now - near_before, np.float64))


def nearness(vectors: Vectors, among: Vectors, *, groups: NDArray[np.str_]) -> tuple[Array, Array]:
    """Cosines of vectors, and of a skill's inputs, to the nearest of the skill's other inputs.

    Args:
        vectors: Unit vectors, shape ``(inputs, dimensions)``.
        among: The skill's.
        groups: Of the skill's; an input that comes again is no neighbour of itself.

    Returns:
        Those of the vectors, and those of the skill's own that have another.
    """
    own = _nearest(among, among, groups)
    return _nearest(vectors, among, None), own[np.isfinite(own)]


def _discrepancies(
    kernel: NDArray[np.float32], is_now: NDArray[np.float32], m: int, n: int
) -> Array:
    """The squared discrepancy of each deal, from sums of the kernel over both sides."""
    total = float(kernel.sum(dtype=np.float64))
    to_now = kernel @ is_now
    within_now = np.einsum("ij,ij->j", to_now, is_now, dtype=np.float64)
    of_now = to_now.sum(axis=0, dtype=np.float64)
    across = of_now - within_now
    within_before = total - of_now - across
    return np.asarray(
        within_now / max(1, n * (n - 1))
        + within_before / max(1, m * (m - 1))
        - 2 * across / max(1, m * n)
    )


def _nearest(vectors: Vectors, among: Vectors, groups: NDArray[np.str_] | None) -> Array:
    """The greatest cosine of each to another; of nothing minus infinity."""
    found = np.full(len(vectors), -np.inf)
    for start in range(0, len(vectors), _PART):
        near = vectors[start : start + _PART] @ among.T
        if groups is not None:
            same = groups[start : start + _PART, None] == groups[None, :]
            near = np.where(same, -np.inf, near)
        if near.shape[1]:
            found[start : start + _PART] = near.max(axis=1)
    return found
