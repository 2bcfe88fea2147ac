"""Which of llama.cpp's two ways to attend is faster here: measured, since CPUs differ.

On a CPU, flash attention skips the cells that are masked but reads the cache value by value where a
batch has few tokens; without it all cells are multiplied at once. For the short batches of narrow
skills either can be ahead by more than half.
"""

from __future__ import annotations

import statistics
import time
from typing import Literal

from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaWeights

__all__ = ["faster_attention"]

# A short input behind a skill's fixed prompt, in tokens.
_FIXED = 256
_INPUT = 16
_ROUNDS = 5
# Large models would take long, and spend little of their time on attention.
_PATIENCE_S = 1.5
# What llama.cpp would do is left alone unless the other is faster by this.
_MARGIN = 1.1


def faster_attention(weights: LlamaWeights, *, threads: int) -> Literal["on", "off"] | None:
    """Measure a short call behind a cached prompt both ways.

    Args:
        weights: The model, on the CPU.
        threads: CPU threads.

    Returns:
        Whether flash attention should be on or off; ``None`` where it matters little, or would
        take long to find out.
    """
    options = [
        ContextOptions(cells=2 * _FIXED, batch=_FIXED, threads=threads, flash_attention=way)
        for way in ("on", "off")
    ]
    contexts = [LlamaContext(weights, option) for option in options]
    try:
        batch = Batch(_FIXED)
        began = time.perf_counter()
        for context in contexts:
            _evaluate(context, batch, sequence=0, begin=0, end=_FIXED // 4)
        if 2 * (time.perf_counter() - began) > _PATIENCE_S:
            return None
        for context in contexts:
            _evaluate(context, batch, sequence=0, begin=_FIXED // 4, end=_FIXED)
        times: list[list[float]] = [[], []]
        for _ in range(_ROUNDS):
            for taken, context in zip(times, contexts, strict=True):
                context.fork(0, 1)
                end = _FIXED + _INPUT
                taken.append(_evaluate(context, batch, sequence=1, begin=_FIXED, end=end))
                context.drop(1)
    finally:
        for context in contexts:
            context.close()
    with_flash, without = map(statistics.median, times)
    slower, faster = max(with_flash, without), min(with_flash, without)
    if slower < _MARGIN * faster:
        return None
    return "on" if with_flash == faster else "off"


def _evaluate(context: LlamaContext, batch: Batch, *, sequence: int, begin: int, end: int) -> float:
    """Evaluate tokens from a position up to another; how long that takes, in seconds."""
    started = time.perf_counter()
    batch.clear()
    batch.add_run(range(5, 5 + end - begin), begin, [sequence])
    batch.want_last()
    context.submit(batch)
    context.logits(batch)
    return time.perf_counter() - started
