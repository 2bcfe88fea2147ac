"""Template mining: groups of prompts that share fixed text, by runs of words that recur.

Prompts are split again and again by the run of words that most of them share and the others lack,
together with all runs that come and go with it, until none is left that recurs often enough. What
a group of prompts has in common then is its fixed text; what varies within it are its slots. Text
within a slot that has a label, such as a page that several prompts quote, is no reason to split: it
is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.cluster.read import SHINGLE, Hashes

__all__ = ["Leaf", "Matcher", "mine"]

Rows = NDArray[np.int64]

# A run is fixed where this share of a group's prompts has it; models of agents are rewritten now
# and then, and a call may be cut short.
_ALL = 0.95
# Words that prompts must share beyond what all of them do before they are split by it. Fewer may
# be a common value of a slot.
_MORE = 10
# Fixed words that say what is to be done, so that what recurs beside them may be a value.
_TOLD = 12
# Runs that are tried before a group is left as it is.
_TRIES = 200
# Share of a template's fixed runs that a new prompt must have.
_MATCH = 0.75


@dataclass(frozen=True, slots=True)
class Leaf:
    """Prompts that share fixed text.

    Attributes:
        rows: Which prompts, shape ``(prompts,)``.
        fixed: Hashes of the runs of words that they share, sorted; empty where they share none.
    """

    rows: Rows
    fixed: Hashes


OneTask = Callable[[Rows, Rows], bool]
"""Whether some prompts and others, which have a text in common, are one task in spite of it."""


def mine(
    prompts: Sequence[Hashes],
    *,
    least: int,
    heads: Sequence[int] | None = None,
    one_task: OneTask | None = None,
) -> list[Leaf]:
    """Group prompts by the fixed text that they share.

    Args:
        prompts: For each the hashes of its runs of words, in order.
        least: Prompts that must share a text for it to be fixed.
        heads: For each how many of the words that it begins with are instructions. Prompts are
            split by these first: what many quote is common, too, and cuts across tasks where one
            hands its answer on to the next.
        one_task: Whether prompts with a further text in common are one task with the rest of
            their group. Unless it is given, none are.

    Returns:
        Groups that together hold each prompt once; such as share nothing are one group, too.
    """
    matrix, names = _recurring(prompts, least)
    instructed = _instructed(prompts, heads or (), names)
    leaves: list[Leaf] = []
    open_: list[tuple[Rows, NDArray[np.bool_]]] = [
        (np.arange(len(prompts)), np.zeros(len(names), bool))
    ]
    while open_:
        rows, fixed = open_.pop()
        fixed = fixed | _shared(matrix[rows])
        group = _Group(matrix[rows], fixed, _Words(prompts, rows, names, fixed))
        split = group.split(instructed, least, one_task)
        if split is None:
            split = group.split(~instructed, least, one_task)
        if split is None:
            leaves.append(Leaf(rows, names[fixed]))
            continue
        open_.append((rows[~split], fixed))
        open_.append((rows[split], fixed))
    return leaves


def _instructed(
    prompts: Sequence[Hashes], heads: Sequence[int], names: Hashes
) -> NDArray[np.bool_]:
    """Which of the runs that recur are instructions."""
    parts = [
        prompt[: max(0, head - SHINGLE + 1)] for prompt, head in zip(prompts, heads, strict=False)
    ]
    found: NDArray[np.bool_] = np.isin(names, np.concatenate(parts) if parts else ())
    return found


def _recurring(prompts: Sequence[Hashes], least: int) -> tuple[Any, Hashes]:
    """Which prompt has which run, as a sparse matrix of the runs that recur, and their hashes."""
    from scipy.sparse import csr_matrix

    unique = [np.unique(one) for one in prompts]
    row = np.repeat(np.arange(len(unique)), [len(one) for one in unique])
    joined = np.concatenate(unique) if unique else np.empty(0, np.uint64)
    names, column, counts = np.unique(joined, return_inverse=True, return_counts=True)
    often = counts >= least
    kept = often[column]
    place = np.cumsum(often) - 1
    data = np.ones(int(kept.sum()), np.float32)
    shape = (len(prompts), int(often.sum()))
    return csr_matrix((data, (row[kept], place[column[kept]])), shape=shape), names[often]


def _shared(matrix: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _counts(matrix) >= max(1.0, _ALL * matrix.shape[0])
    return found


def _counts(matrix: Any) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=0)).ravel()


class _Words:
    """Looks at the words that runs cover in a prompt, beyond those that fixed runs cover.

    Args:
        prompts: Of all rows.
        rows: The group's.
        names: Hashes of the runs that recur, sorted.
        fixed: Which of them all of the group have.
    """

    def __init__(
        self, prompts: Sequence[Hashes], rows: Rows, names: Hashes, fixed: NDArray[np.bool_]
    ) -> None:
        self._prompts, self.rows, self._names = prompts, rows, names
        self._fixed = names[fixed]

    def of(self, bundle: NDArray[np.bool_], inside: NDArray[np.bool_]) -> int:
        """The most that a bundle of runs covers in one of a few prompts that have it."""
        some = self.rows[inside][:3]
        return max(self._new(self._prompts[row], self._names[bundle]) for row in some)

    @property
    def told(self) -> int:
        """Words that are fixed already."""
        return int(_covered(self._prompts[self.rows[0]], self._fixed).sum())

    def _new(self, prompt: Hashes, bundle: Hashes) -> int:
        return int((_covered(prompt, bundle) & ~_covered(prompt, self._fixed)).sum())


def _covered(prompt: Hashes, runs: Hashes) -> NDArray[np.bool_]:
    """Which words of a prompt are within one of the runs."""
    found = np.zeros(len(prompt) + SHINGLE - 1, bool)
    for place in np.flatnonzero(np.isin(prompt, runs)):
        found[place : place + SHINGLE] = True
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    """Prompts that may be split.

    Attributes:
        matrix: Which of them has which run.
        fixed: Runs that all of them have.
        new: Looks at words.
    """

    matrix: Any
    fixed: NDArray[np.bool_]
    new: _Words

    def split(
        self, runs: NDArray[np.bool_], least: int, one_task: OneTask | None
    ) -> NDArray[np.bool_] | None:
        """The prompts that have the most common bundle of further runs; ``None`` for none left.

        Args:
            runs: Of which one has to be in the bundle.
            least: Prompts that must have it.
            one_task: As for `mine`.
        """
        counts = _counts(self.matrix)
        counts[self.fixed | ~runs] = 0
        columns = self.matrix.tocsc()
        for _ in range(_TRIES):
            best = int(np.argmax(counts)) if len(counts) else -1
            if best < 0 or counts[best] < least:
                return None
            inside = np.zeros(self.matrix.shape[0], bool)
            inside[columns.indices[columns.indptr[best] : columns.indptr[best + 1]]] = True
            bundle = _shared(self.matrix[inside]) & ~self.fixed
            if not inside.all() and self.new.of(bundle, inside) >= _MORE:
                told = one_task is not None and self.new.told >= _TOLD
                rows = self.new.rows
                if not (told and one_task and one_task(rows[inside], rows[~inside])):
                    return inside
            counts[best] = 0
            # What always comes with it fares no better.
            counts[bundle & (counts <= inside.sum())] = 0
        return None


class Matcher:
    """Finds the template of a prompt by its fixed runs.

    Args:
        fixed: For each template the hashes of its fixed runs, sorted.
    """

    def __init__(self, fixed: Sequence[Hashes]) -> None:
        self._sizes = np.array([len(one) for one in fixed], np.int64)
        joined = np.concatenate(fixed) if fixed else np.empty(0, np.uint64)
        owner = np.repeat(np.arange(len(fixed)), self._sizes)
        order = np.argsort(joined, kind="stable")
        self._runs, self._owners = joined[order], owner[order]

    def match(self, prompt: Hashes) -> list[int]:
        """The templates that a prompt has the fixed runs of, the most specific first.

        Args:
            prompt: Hashes of the prompt's runs.
        """
        if not len(self._runs) or not len(prompt):
            return []
        runs = np.unique(prompt)
        low = np.searchsorted(self._runs, runs, side="left")
        high = np.searchsorted(self._runs, runs, side="right")
        hit = high > low
        if not hit.any():
            return []
        places = np.concatenate([np.arange(a, b) for a, b in zip(low[hit], high[hit], strict=True)])
        found = np.bincount(self._owners[places], minlength=len(self._sizes))
        good = np.flatnonzero((found > 0) & (found >= _MATCH * self._sizes))
        # Where as much is found of two, that of which less is missing.
        order = np.lexsort((self._sizes[good], -found[good]))
        return [int(one) for one in good[order]]
