"""Rows that belong together, and what else is together through them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "grouped_runs"]

Rows = NDArray[np.int64]


class Groups:
    """Disjoint sets of rows 0 to n-1: who is joined with whom, directly or through others.

    The root of a group is its first row, in whatever order pairs are joined.
    """

    def __init__(self, rows: int) -> None:
        self._parent = np.arange(rows, dtype=np.int32)

    def roots(self) -> NDArray[np.int32]:
        """Of each row, the first row of its group."""
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return self._parent
            self._parent = above

    def join(self, some: Rows, others: Rows) -> None:
        """Join row ``some[i]`` with row ``others[i]``, for each i."""
        while len(some):
            roots = self.roots()
            one, two = roots[some], roots[others]
            apart = one != two
            some, others, one, two = some[apart], others[apart], one[apart], two[apart]
            # A root that several pairs would hang elsewhere is hung on the least of them; the
            # others of its pairs are still apart then, and come again.
            np.minimum.at(self._parent, np.maximum(one, two), np.minimum(one, two))

    def join_equal(self, keys: NDArray[np.uint64], rows: Rows | None = None) -> None:
        """Join rows of the same key; 0 is no key.

        Args:
            keys: One for each of the rows.
            rows: Which; ``None`` for all.
        """
        numbers = np.arange(len(keys), dtype=np.int64) if rows is None else rows
        named = np.flatnonzero(keys)
        order = named[np.argsort(keys[named], kind="stable")]
        same = keys[order[1:]] == keys[order[:-1]]
        self.join(numbers[order[:-1][same]], numbers[order[1:][same]])


def grouped_runs(values: NDArray[np.generic]) -> list[tuple[int, int]]:
    """Where runs of two or more equal values begin and end, in a sorted array."""
    if not len(values):
        return []
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    ends = np.r_[starts[1:], len(values)]
    several = ends - starts > 1
    return list(zip(starts[several].tolist(), ends[several].tolist(), strict=True))
