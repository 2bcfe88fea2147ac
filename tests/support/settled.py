"""What is left in an engine once its requests are answered."""

from __future__ import annotations

import time

from hetagent import LlamaCpp
from hetagent.engine.context import SEQUENCES
from hetagent.engine.library import llama_cpp
from hetagent.engine.scheduler import Stats


def settled(model: LlamaCpp) -> Stats:
    """Nothing is under way, and nothing but prefixes is in the cache, also as llama.cpp sees it."""
    assert model._engine is not None
    batcher = model._engine.scheduler._batcher
    deadline = time.monotonic() + 5
    while (stats := model.stats()).active or stats.waiting:
        assert time.monotonic() < deadline, stats
        time.sleep(0.005)
    prefixes = list(batcher.prefixes)
    assert stats.kv_used == sum(len(prefix.tokens) for prefix in prefixes)
    assert all(prefix.users == 0 for prefix in prefixes)
    assert batcher._space.free_sequences == SEQUENCES - stats.prefixes
    assert len(set(batcher._space._free)) == batcher._space.free_sequences
    lib, memory = llama_cpp(), model._engine._context._memory
    ends = {n: lib.llama_memory_seq_pos_max(memory, n) for n in range(SEQUENCES)}
    assert {sequence: end for sequence, end in ends.items() if end >= 0} == {
        prefix.sequence: prefix.done - 1 for prefix in prefixes if prefix.done
    }
    return stats
