"""Which prefixes stay in the cache."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaWeights
from hetagent.engine.prefixes import Prefix, PrefixCache, Shelf
from hetagent.engine.space import Space


@pytest.fixture(scope="module")
def context(smol_path: Path) -> Iterator[LlamaContext]:
    weights = LlamaWeights(smol_path, gpu_layers=0, extra_buffers=False)
    made = LlamaContext(weights, ContextOptions(cells=256, batch=256, threads=1))
    yield made
    made.close()
    weights.close()


@pytest.fixture
def cache(context: LlamaContext) -> PrefixCache:
    context.drop(-1)  # any sequence
    return PrefixCache(context, Space(cells=100, sequences=4))


def key(first: int, length: int = 30) -> tuple[tuple[()], tuple[int, ...]]:
    return ((), tuple(range(first, first + length)))


def add(cache: PrefixCache, first: int, length: int = 30) -> Prefix:
    prefix = cache.add(key(first, length))
    assert prefix is not None
    return prefix


def firsts(cache: PrefixCache) -> list[int]:
    return [prefix.tokens[0] for prefix in cache]


def test_the_least_recently_used_leaves(cache: PrefixCache):
    for first in (1, 2, 3):
        add(cache, first)
    assert cache.get(key(1)) is not None
    add(cache, 4)
    assert firsts(cache) == [3, 1, 4]
    assert cache.get(key(2)) is None
    assert (cache.evicted, len(cache)) == (1, 3)


def test_one_in_use_never_leaves(cache: PrefixCache):
    prefixes = [add(cache, first) for first in (1, 2, 3)]
    prefixes[0].users = prefixes[2].users = 1
    add(cache, 4)
    assert firsts(cache) == [1, 3, 4]
    prefixes[1] = add(cache, 5)
    prefixes[1].users = 1
    assert firsts(cache) == [1, 3, 5]
    assert cache.add(key(6)) is None
    assert firsts(cache) == [1, 3, 5]
    assert not cache.make_room(cells=11, sequences=0)
    assert cache.make_room(cells=10, sequences=1)


def test_room_for_sequences(cache: PrefixCache):
    for first in range(4):
        add(cache, first, length=2)
    assert cache.make_room(cells=0, sequences=2)
    assert firsts(cache) == [2, 3]


def test_the_same_tokens_under_other_adapters_are_another_prefix(cache: PrefixCache):
    adapters = (("adapter", 1.0),)
    add(cache, 1)
    assert cache.get((adapters, key(1)[1])) is None  # type: ignore[arg-type]


def test_what_left_left_the_context_too(cache: PrefixCache, context: LlamaContext):
    """256 cells in truth: three prefixes of 90 tokens fit only one after another."""
    space = Space(cells=100, sequences=4)
    cache = PrefixCache(context, space)
    batch = Batch(128)
    for first in (1, 2, 3, 4):
        prefix = add(cache, first, length=90)
        batch.clear()
        batch.add_run(prefix.tokens, 0, [prefix.sequence])
        context.submit(batch)
        prefix.done = 90
        assert prefix.complete
    assert (space.used, space.free_sequences) == (90, 3)


def evaluate(context: LlamaContext, prefix: Prefix) -> Prefix:
    batch = Batch(128)
    batch.add_run(prefix.tokens, 0, [prefix.sequence])
    context.submit(batch)
    prefix.done = len(prefix.tokens)
    return prefix


def continued(context: LlamaContext, prefix: Prefix) -> Any:
    """Logits of one token behind a prefix, which stays as it is."""
    context.fork(prefix.sequence, 99)
    batch = Batch(128)
    batch.add_run([7], len(prefix.tokens), [99])
    batch.want_last()
    context.submit(batch)
    logits = context.logits(batch).copy()
    context.drop(99)
    return logits


def test_what_left_comes_back_as_it_was(cache: PrefixCache, context: LlamaContext):
    first = evaluate(context, add(cache, 1))
    before = continued(context, first)
    for other in (2, 3, 4):
        evaluate(context, add(cache, other))
    assert cache.get(key(1)) is None
    assert key(1) in cache.shelf
    back = add(cache, 1)
    assert back.complete
    assert np.array_equal(continued(context, back), before)


def test_only_what_is_complete_is_copied(cache: PrefixCache):
    add(cache, 1)
    cache.shelve_idle(keep=())
    assert firsts(cache) == [1]
    for other in (2, 3, 4):
        add(cache, other)
    assert len(cache.shelf) == 0
    assert not add(cache, 1).complete


def test_what_nobody_needs_leaves(cache: PrefixCache, context: LlamaContext):
    prefixes = [evaluate(context, add(cache, first)) for first in (1, 2, 3)]
    prefixes[0].users = 1
    cache.shelve_idle(keep={key(2)})
    assert firsts(cache) == [1, 2]
    assert len(cache.shelf) == 1
    assert cache.evicted == 0  # nobody needed the room


def test_a_shelf_keeps_to_its_size():
    shelf = Shelf(70)
    for first in (1, 2):
        shelf.put(key(first), b"%d" % first)
    assert shelf.get(key(1)) == b"1"
    shelf.put(key(3), b"3")
    assert [key(first) in shelf for first in (1, 2, 3)] == [True, False, True]
    shelf.put(key(4, length=71), b"4")  # larger than all of it
    assert len(shelf) == 0
