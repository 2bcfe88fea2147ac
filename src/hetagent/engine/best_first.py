"""The best label of a choice without all the others: the trie is looked at best first.

A node's probability of being reached bounds that of every label below it. So a node need not be
evaluated once some label is at least as probable as it is to be reached at all. The best label and
its probability are exact; the probability of a node that was not looked at is shared out evenly
among the labels below it, so that all sum to 1.

This is best-first search with an admissible bound; see Dechter and Pearl 1985, "Generalized
best-first search strategies and the optimality of A*".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.engine.steps import END, Answer, Logits, Step
from hetagent.engine.tries import Path, Tree, Trie, log_sum_exp

__all__ = ["choose_best"]

# Nodes looked at together. More of them cost little beside the pass through the weights.
_WIDTH = 8
# Places this much less probable than the best one (as a logarithm) wait: they seldom matter.
_SLACK = 3.0


def choose_best(labels: Sequence[str], trie: Trie, *, rest: Sequence[int]) -> Answer:
    """Find the most probable label.

    Args:
        labels: As they are to be reported.
        trie: Their token paths, in the same order, end of turn included.
        rest: The tokens of the prompt that are not in the cache.
    """
    search = _Search(trie)

    def read_start(nodes: Sequence[int], logits: Logits) -> None:
        search.expand(_Node((), 0.0, 0.0, tuple(range(len(labels)))), logits[0])

    yield Step(append=rest, read=read_start)
    while open_nodes := search.promising():
        tree = Tree([node.path for node in open_nodes])
        by_place = {tree.deepest_on(node.path): node for node in open_nodes}

        def read(
            places: Sequence[int], logits: Logits, by_place: dict[int, _Node] = by_place
        ) -> None:
            for place, row in zip(places, logits, strict=True):
                # The end of the text is there again where it had to be evaluated anew.
                if place != END and by_place[place] in search.open:
                    search.expand(by_place[place], row)

        yield Step(append=(), trie=tree, read=read)
    return search.answer(labels)


@dataclass(frozen=True, slots=True)
class _Node:
    """A place with several children.

    Attributes:
        path: Tokens that lead there.
        logprob: Natural logarithm of the probability of being there.
        allowed: Natural logarithm of the mass that stayed within the labels on the way.
        below: The labels that go through it.
    """

    path: Path
    logprob: float
    allowed: float
    below: tuple[int, ...]


class _Search:
    """What is known of a trie so far."""

    def __init__(self, trie: Trie) -> None:
        self._paths = trie.paths
        self.open: set[_Node] = set()
        self._done: dict[int, tuple[float, float]] = {}

    def expand(self, node: _Node, logits: Logits) -> None:
        """Share a node's probability out among its children."""
        self.open.discard(node)
        depth = len(node.path)
        by_token: dict[int, list[int]] = {}
        for label in node.below:
            by_token.setdefault(self._paths[label][depth], []).append(label)
        values = logits[list(by_token)].astype(np.float64)
        mass = log_sum_exp(values)
        allowed = node.allowed + min(0.0, mass - log_sum_exp(logits))
        for (_, below), value in zip(by_token.items(), values, strict=True):
            logprob = node.logprob + float(value) - mass
            if len(below) == 1:
                self._done[below[0]] = logprob, allowed
            else:
                self.open.add(_Node(self._fork(below), logprob, allowed, tuple(below)))

    def promising(self) -> list[_Node]:
        """The places that may lead to a better label than any that is known, the best first."""
        bar = max((logprob for logprob, _ in self._done.values()), default=-math.inf)
        found = [node for node in self.open if node.logprob > bar]
        found.sort(key=lambda node: (-node.logprob, node.path))
        return [node for node in found[:_WIDTH] if node.logprob > found[0].logprob - _SLACK]

    def answer(self, labels: Sequence[str]) -> dict[str, Any]:
        best = max(self._done, key=lambda label: (self._done[label][0], -label))
        share = {label: math.exp(logprob) for label, (logprob, _) in self._done.items()}
        for node in self.open:
            share |= dict.fromkeys(node.below, math.exp(node.logprob) / len(node.below))
        return {
            "text": labels[best],
            "tokens": None,
            "choices": {name: share[label] for label, name in enumerate(labels)},
            "outside": -math.expm1(self._done[best][1]),
        }

    def _fork(self, below: Sequence[int]) -> Path:
        """The tokens that some labels share."""
        low = min(self._paths[label] for label in below)
        high = max(self._paths[label] for label in below)
        depth = next(i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b)
        return low[:depth]
