"""Tries of token paths: which of their nodes must be evaluated, and the probability of each path.

The labels of a choice, in their canonical tokens, form a trie. At each node with several children
the softmax over the children gives the probability of each; the product along a path is the
label's probability, and all labels sum to 1. A node with one child contributes 1, and is evaluated
only where it leads to one with several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ROOT", "Logits", "Path", "Tree", "Trie", "TrieScores", "log_sum_exp"]

Logits = npt.NDArray[np.float32]
Path = tuple[int, ...]
ROOT = -1


class Tree:
    """Continuations of a text, as the nodes to evaluate; never changes.

    Args:
        ends: Token paths from the text to the places whose logits are needed.

    Attributes:
        tokens: Of each node, ordered so that parents come first.
        parents: Index of each node's parent; `ROOT` for the root, which is no node.
        depths: Of each node; those below the root have 1.
        depth: The greatest of them; 0 where there is no node.
        wanted: Nodes whose logits are needed, `ROOT` first where it is one.
    """

    def __init__(self, ends: Sequence[Path]) -> None:
        nodes = {end[:depth] for end in ends for depth in range(1, len(end) + 1)}
        evaluated = sorted(nodes, key=lambda path: (len(path), path))
        self._index: dict[Path, int] = {path: index for index, path in enumerate(evaluated)}
        self._index[()] = ROOT
        self.tokens = tuple(path[-1] for path in evaluated)
        self.parents = tuple(self._index[path[:-1]] for path in evaluated)
        self.depths = tuple(len(path) for path in evaluated)
        self.depth = max(self.depths, default=0)
        self.wanted = tuple(sorted(self._index[end] for end in ends))
        # How it was split last, and by which limits: mostly the same, request after request.
        self._split: tuple[tuple[int, int], tuple[Group, ...]] | None = None

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """The evaluated nodes that no other evaluated node follows."""
        inner = set(self.parents)
        return tuple(node for node in range(len(self.tokens)) if node not in inner)

    def path_to(self, node: int) -> list[int]:
        """The nodes from the root to a node, this included."""
        path = []
        while node != ROOT:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def tokens_to(self, node: int) -> Path:
        """The tokens from the root to a node, its own included."""
        return tuple(self.tokens[step] for step in self.path_to(node))

    def deepest_on(self, path: Path) -> int:
        """The last evaluated node on a path; `ROOT` where none is."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self._index:
                return self._index[path[:depth]]
        return ROOT

    def groups(self, *, leaves: int, nodes: int) -> tuple[Group, ...]:
        """Split the tree so that each part fits an evaluation of its own.

        Args:
            leaves: Leaves a group may have.
            nodes: Nodes a group may have, unless a single path is longer.
        """
        limits = min(leaves, len(self.leaves)), min(nodes, len(self.tokens))
        split = self._split
        if split is None or split[0] != limits:
            self._split = split = limits, self._divide(*limits)
        return split[1]

    def _divide(self, leaves: int, nodes: int) -> tuple[Group, ...]:
        groups: list[Group] = []
        chosen: list[int] = []
        members: set[int] = set()
        # Depth first, so that neighbours share their beginnings.
        for leaf in sorted(self.leaves, key=self.path_to):
            path = set(self.path_to(leaf))
            if chosen and (len(chosen) >= leaves or len(members | path) > nodes):
                groups.append(Group.of(self, chosen, members))
                chosen, members = [], set()
            chosen.append(leaf)
            members |= path
        if chosen:
            groups.append(Group.of(self, chosen, members))
        # A node on the way of several groups is read in the first.
        seen: set[int] = set()
        for group in groups:
            group.wanted[:] = [node for node in group.wanted if node not in seen]
            seen.update(group.wanted)
        return tuple(groups)


class Trie(Tree):
    """A set of token paths, with what is needed to score them; never changes.

    Args:
        paths: Token paths, none the beginning of another, at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        children: dict[Path, dict[int, None]] = {(): {}}
        for path in paths:
            for depth, token in enumerate(path):
                children.setdefault(path[:depth], {})[token] = None
        # The root is always looked at: how much mass leaves the labels is of interest too.
        branching = [node for node, below in children.items() if len(below) > 1 or not node]
        super().__init__(branching)
        self._prepare_scores(branching, children)

    def _prepare_scores(self, branching: Sequence[Path], children: dict[Path, Any]) -> None:
        """Lay out all (node, child) pairs, one node after another, in the order of `wanted`."""
        order = sorted(branching, key=lambda path: self._index[path])
        pair_of: dict[Path, int] = {}
        rows: list[int] = []
        tokens: list[int] = []
        starts: list[int] = []
        for row, node in enumerate(order):
            starts.append(len(rows))
            for token in children[node]:
                pair_of[*node, token] = len(rows)
                rows.append(row)
                tokens.append(token)
        self.pair_rows = np.asarray(rows, dtype=np.intp)
        self.pair_tokens = np.asarray(tokens, dtype=np.intp)
        self.starts = np.asarray(starts, dtype=np.intp)
        # For each path its pairs, filled up with one that is certain.
        steps = [
            [pair_of[path[: d + 1]] for d in range(len(path)) if path[: d + 1] in pair_of]
            for path in self.paths
        ]
        longest = max(map(len, steps), default=0)
        self.path_pairs = np.full((len(steps), longest), len(rows), dtype=np.intp)
        for index, pairs in enumerate(steps):
            self.path_pairs[index, : len(pairs)] = pairs

    def branching_steps(self, path: int) -> list[tuple[int, int]]:
        """Where a path chooses among several: its depths, each with the pair it takes."""
        tokens = self.paths[path]
        found = []
        for pair in self.path_pairs[path]:
            if pair < len(self.pair_rows):
                node = self.wanted[self.pair_rows[pair]]
                depth = 0 if node == ROOT else self.depths[node]
                assert tokens[depth] == self.pair_tokens[pair]
                found.append((depth, int(pair)))
        return found


@dataclass(frozen=True, slots=True)
class Group:
    """A part of a trie that is evaluated at once.

    Attributes:
        nodes: Its nodes, parents first.
        members: For each of its nodes, which of its leaves are at or below, counted from 0.
        wanted: Those of its nodes whose logits are read here.
        leaves: How many leaves it has.
    """

    nodes: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    wanted: list[int]
    leaves: int

    @classmethod
    def of(cls, trie: Tree, leaves: Sequence[int], nodes: set[int]) -> Group:
        below: dict[int, list[int]] = {node: [] for node in sorted(nodes)}
        for position, leaf in enumerate(leaves):
            for node in trie.path_to(leaf):
                below[node].append(position)
        wanted = set(trie.wanted)
        return cls(
            nodes=tuple(below),
            members=tuple(tuple(positions) for positions in below.values()),
            wanted=[node for node in below if node in wanted],
            leaves=len(leaves),
        )


class TrieScores:
    """The probabilities of a trie's paths, gathered from one or several evaluations."""

    def __init__(self, trie: Trie) -> None:
        self._trie = trie
        self._values = np.zeros(len(trie.pair_rows), dtype=np.float64)
        self._totals = np.full(len(trie.wanted), np.nan)
        self._row_of = {node: row for row, node in enumerate(trie.wanted)}
        self.logprobs = np.zeros(len(trie.pair_rows) + 1, dtype=np.float64)
        self._kept = np.zeros(len(trie.wanted), dtype=np.float64)
        self._missing = set(trie.wanted)

    def read(self, nodes: Sequence[int], logits: Logits) -> None:
        """Take what can be learnt from some nodes' logits, shape ``[nodes, vocabulary]``.

        Nodes may be read again, as they are where an evaluation had to be repeated.
        """
        trie = self._trie
        self._missing.difference_update(nodes)
        if len(nodes) == len(trie.wanted) and tuple(nodes) == trie.wanted:
            self._values[:] = logits[trie.pair_rows, trie.pair_tokens]
            self._finish()
            # Only the best path's mass is asked for, and it is known now.
            best = trie.path_pairs[self.best]
            rows = {int(trie.pair_rows[pair]) for pair in best if pair < len(trie.pair_rows)}
            for row in rows:
                self._totals[row] = log_sum_exp(logits[row])
            return
        for index, node in enumerate(nodes):
            row = self._row_of[node]
            pairs = np.flatnonzero(trie.pair_rows == row)
            self._values[pairs] = logits[index, trie.pair_tokens[pairs]]
            self._totals[row] = log_sum_exp(logits[index])
        if not self._missing:
            self._finish()

    @property
    def best(self) -> int:
        """The most probable path."""
        return int(np.argmax(self.path_logprobs))

    def mass_outside(self, pair: int) -> float:
        """Unconstrained probability of all tokens but the children, at a pair of the best path."""
        row = int(self._trie.pair_rows[pair])
        kept = self._kept[row] - self._totals[row]
        return float(min(1.0, max(0.0, -np.expm1(min(0.0, kept)))))

    def _finish(self) -> None:
        trie = self._trie
        tops = np.maximum.reduceat(self._values, trie.starts)
        masses = np.add.reduceat(np.exp(self._values - tops[trie.pair_rows]), trie.starts)
        self._kept = tops + np.log(masses)
        self.logprobs[:-1] = self._values - self._kept[trie.pair_rows]
        self.path_logprobs = self.logprobs[trie.path_pairs].sum(axis=1)


def log_sum_exp(values: npt.NDArray[np.floating[Any]]) -> float:
    """Natural logarithm of the sum of exponentials, shape ``[n]``."""
    top = values.max()
    return float(top) + float(np.log(np.exp(values - top).sum(dtype=np.float64)))
