"""Tries of token paths: what is evaluated, and that the probabilities are those of a plain sum."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.engine.tries import ROOT, Path, Trie, TrieScores, log_sum_exp

VOCABULARY = 6


@st.composite
def path_sets(draw: st.DrawFn) -> list[Path]:
    """Distinct paths, none the beginning of another, as with an end token of their own."""
    inner = st.lists(st.integers(0, VOCABULARY - 2), max_size=6).map(tuple)
    found = draw(st.lists(inner, min_size=1, max_size=12, unique=True))
    return [(*path, VOCABULARY - 1) for path in found]


def logits_of(trie: Trie, seed: int) -> dict[int, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        node: random.normal(0, 5, VOCABULARY).astype(np.float32)
        for node in range(-1, len(trie.tokens))
    }


def plain(paths: list[Path], trie: Trie, logits: dict[int, np.ndarray]) -> list[float]:
    """Each path's probability: the product of the softmaxes over the children on its way."""
    result = []
    for path in paths:
        total = 1.0
        for depth, token in enumerate(path):
            children = {other[depth] for other in paths if other[:depth] == path[:depth]}
            if len(children) > 1:
                node = next(
                    n for n in range(-1, len(trie.tokens)) if trie.tokens_to(n) == path[:depth]
                )
                row = np.exp(logits[node].astype(np.float64))
                total *= row[token] / sum(row[child] for child in children)
        result.append(total)
    return result


@settings(max_examples=150)
@given(path_sets(), st.integers(0, 99))
def test_probabilities_are_those_of_a_plain_computation(paths: list[Path], seed: int):
    trie = Trie(paths)
    logits = logits_of(trie, seed)
    scores = TrieScores(trie)
    scores.read(trie.wanted, np.stack([logits[node] for node in trie.wanted]))
    expected = plain(paths, trie, logits)
    assert np.exp(scores.path_logprobs) == pytest.approx(np.array(expected), abs=1e-6)
    assert sum(expected) == pytest.approx(1)
    assert scores.best == int(np.argmax(expected))
    steps = trie.branching_steps(scores.best)
    total = math.exp(sum(scores.logprobs[pair] for _, pair in steps))
    assert total == pytest.approx(expected[scores.best], abs=1e-6)
    for depth, pair in steps:
        path = paths[scores.best]
        children = {other[depth] for other in paths if other[:depth] == path[:depth]}
        node = next(n for n in range(-1, len(trie.tokens)) if trie.tokens_to(n) == path[:depth])
        row = np.exp(logits[node].astype(np.float64))
        outside = 1 - sum(row[child] for child in children) / row.sum()
        assert scores.mass_outside(pair) == pytest.approx(outside, abs=1e-5)


@settings(max_examples=150)
@given(path_sets(), st.integers(1, 5), st.integers(1, 8), st.data())
def test_groups_cover_the_trie_and_give_the_same_result(
    paths: list[Path], leaves: int, nodes: int, data: st.DataObject
):
    trie = Trie(paths)
    logits = logits_of(trie, 1)
    whole = TrieScores(trie)
    whole.read(trie.wanted, np.stack([logits[node] for node in trie.wanted]))
    groups = trie.groups(leaves=leaves, nodes=nodes)
    assert {node for group in groups for node in group.nodes} == set(range(len(trie.tokens)))
    read = [node for group in groups for node in group.wanted]
    assert sorted([ROOT, *read]) == list(trie.wanted), "each is read once"
    for group in groups:
        assert group.leaves <= leaves
        single = group.leaves == 1
        assert len(group.nodes) <= nodes or single
        ends = {node for node in group.nodes if node not in {trie.parents[n] for n in group.nodes}}
        assert len(ends) == group.leaves
        for node, members in zip(group.nodes, group.members, strict=True):
            parent = trie.parents[node]
            assert members
            assert max(members) < group.leaves
            if parent != ROOT:
                assert group.nodes.index(parent) < group.nodes.index(node), "parents first"
                assert set(members) <= set(group.members[group.nodes.index(parent)])
    parts = TrieScores(trie)
    order = data.draw(st.permutations([[ROOT], *[group.wanted for group in groups]]))
    for places in [*order, order[0]]:  # one is read again, as after a preemption
        if places:
            parts.read(places, np.stack([logits[node] for node in places]))
    assert parts.path_logprobs == pytest.approx(whole.path_logprobs, abs=1e-6)
    for _, pair in trie.branching_steps(whole.best):
        assert parts.mass_outside(pair) == pytest.approx(whole.mass_outside(pair), abs=1e-6)


@given(path_sets())
def test_what_is_evaluated_leads_to_where_paths_part(paths: list[Path]):
    trie = Trie(paths)
    parting = {
        path[:depth]
        for path in paths
        for depth in range(len(path))
        if len({other[depth] for other in paths if other[:depth] == path[:depth]}) > 1
    } | {()}
    assert {trie.tokens_to(node) for node in trie.wanted} == parting
    needed = {node[:depth] for node in parting for depth in range(1, len(node) + 1)}
    assert {trie.tokens_to(node) for node in range(len(trie.tokens))} == needed
    assert trie.depth == max((len(node) for node in needed), default=0)
    for leaf in trie.leaves:
        assert trie.path_to(leaf)[-1] == leaf
    for path in paths:
        deepest = trie.deepest_on(path)
        assert trie.tokens_to(deepest) == max(
            (node for node in needed | {()} if path[: len(node)] == node), key=len
        )


def test_every_trie_remembers_how_it_is_split():
    tries = [Trie([(n, 1), (n, 2, 3), (n, 2, 4)]) for n in range(20)]
    first = [trie.groups(leaves=9, nodes=9) for trie in tries]
    again = [trie.groups(leaves=8, nodes=100) for trie in tries]
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert len(tries[0].groups(leaves=9, nodes=1)) == len(tries[0].leaves)


def test_one_path_is_certain():
    trie = Trie([(1, 2, 3)])
    assert (trie.tokens, trie.wanted, trie.leaves, trie.depth) == ((), (ROOT,), (), 0)
    assert trie.groups(leaves=4, nodes=4) == ()
    scores = TrieScores(trie)
    scores.read([ROOT], np.zeros((1, 10), np.float32))
    assert (scores.best, scores.path_logprobs.tolist()) == (0, [0.0])
    assert scores.mass_outside(trie.branching_steps(0)[0][1]) == pytest.approx(0.9)


def test_logits_too_far_apart_for_32_bits():
    trie = Trie([(0,), (1,)])
    scores = TrieScores(trie)
    scores.read([ROOT], np.array([[-200, -203, 50, -np.inf]], np.float32))
    assert np.exp(scores.path_logprobs) == pytest.approx([1 / (1 + math.exp(-3)), 0.0474259], 1e-4)
    assert scores.mass_outside(0) == pytest.approx(1)
    assert log_sum_exp(np.array([1000, 1000], np.float32)) == pytest.approx(1000 + math.log(2))
