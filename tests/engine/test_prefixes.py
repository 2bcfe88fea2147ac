"""Which prefixes stay in the cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaWeights
from hetagent.engine.prefixes import Prefix, PrefixCache
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
