"""The fixed parts of prompts: kept in the KV cache while there is room, and then in memory.

What leaves the cache is copied to ordinary memory, from where it comes back in a few milliseconds,
as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator

from hetagent.engine.context import LlamaContext
from hetagent.engine.llama import LlamaAdapter
from hetagent.engine.space import Space

__all__ = ["Adapters", "Prefix", "PrefixCache", "PrefixKey", "Shelf"]

Adapters = tuple[tuple[LlamaAdapter, float], ...]
"""Loaded LoRA adapters, each with its scale."""

PrefixKey = tuple[Adapters, tuple[int, ...]]
"""The adapters a prefix is evaluated with, and its tokens."""


class Prefix:
    """The fixed part of a skill's prompt, as a sequence in the cache.

    Attributes:
        key: What it is known by.
        sequence: Its sequence.
        done: How many of its tokens are evaluated.
        users: Jobs that were forked, or wait to be forked, from it.
    """

    __slots__ = ("done", "key", "sequence", "users")

    def __init__(self, key: PrefixKey, *, sequence: int) -> None:
        self.key = key
        self.sequence = sequence
        self.done = 0
        self.users = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        """Its tokens."""
        return self.key[1]

    @property
    def complete(self) -> bool:
        """Whether all of it is evaluated."""
        return self.done == len(self.key[1])


class Shelf:
    """Copies of prefixes outside the KV cache; the least recently used leave.

    Args:
        tokens: How many tokens they may have together.
    """

    def __init__(self, tokens: int) -> None:
        self._limit = tokens
        self._tokens = 0
        self._copies: OrderedDict[PrefixKey, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._copies)

    def __contains__(self, key: PrefixKey) -> bool:
        return key in self._copies

    def get(self, key: PrefixKey) -> bytes | None:
        """A copy, which stays; ``None`` where there is none."""
        found = self._copies.get(key)
        if found is not None:
            self._copies.move_to_end(key)
        return found

    def put(self, key: PrefixKey, copy: bytes) -> None:
        """Keep a copy of a prefix that is not here yet."""
        self._copies[key] = copy
        self._tokens += len(key[1])
        while self._tokens > self._limit:
            (_, tokens), _ = self._copies.popitem(last=False)
            self._tokens -= len(tokens)


class PrefixCache:
    """All prefixes of one context.

    Args:
        context: Where they are.
        space: What is left there.
    """

    def __init__(self, context: LlamaContext, space: Space) -> None:
        self._context = context
        self._space = space
        self._prefixes: OrderedDict[PrefixKey, Prefix] = OrderedDict()
        self.shelf = Shelf(space.cells)
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._prefixes)

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._prefixes.values())

    def get(self, key: PrefixKey) -> Prefix | None:
        """A prefix that is there, complete or not; it becomes the most recently used."""
        found = self._prefixes.get(key)
        if found is not None:
            self._prefixes.move_to_end(key)
        return found

    def add(self, key: PrefixKey) -> Prefix | None:
        """Make room for a prefix and all of its tokens; ``None`` where there is none.

        It is complete where there is a copy of it.
        """
        if not self.make_room(cells=len(key[1]), sequences=1):
            return None
        self._space.take(len(key[1]))
        prefix = Prefix(key, sequence=self._space.take_sequences(1)[0])
        self._prefixes[key] = prefix
        copy = self.shelf.get(key)
        if copy is not None and self._context.restore(prefix.sequence, copy):
            prefix.done = len(prefix.tokens)
        return prefix

    def make_room(self, *, cells: int, sequences: int) -> bool:
        """Evict what nobody uses, as far as is needed; whether there is room now."""
        while self._space.free_cells < cells or self._space.free_sequences < sequences:
            idle = next((one for one in self._prefixes.values() if not one.users), None)
            if idle is None:
                return False
            self._shelve(idle)
            self.evicted += 1
        return True

    def shelve_idle(self, *, keep: Container[PrefixKey]) -> None:
        """Take out of the cache what nobody uses and is not to be kept there."""
        for prefix in list(self._prefixes.values()):
            if prefix.complete and not prefix.users and prefix.key not in keep:
                self._shelve(prefix)

    def remove(self, prefix: Prefix) -> None:
        """Forget a prefix that nobody uses."""
        del self._prefixes[prefix.key]
        self._context.drop(prefix.sequence)
        self._space.give(len(prefix.tokens))
        self._space.give_sequences([prefix.sequence])

    def _shelve(self, prefix: Prefix) -> None:
        if prefix.complete and prefix.key not in self.shelf:
            self.shelf.put(prefix.key, self._context.save(prefix.sequence))
        self.remove(prefix)
