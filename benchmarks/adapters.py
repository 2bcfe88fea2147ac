"""What a LoRA adapter costs: beside the weights, merged into them, or switched at every step.

    python -m benchmarks.adapters --json adapters.json

Merged weights have the shapes of the base model's, and so its speed. Random adapters of rank 16 on
all linear layers, Q8_0 weights, about a minute on two cores.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.engine.weights import RANK, adapter, requantized
from benchmarks.report import Report, arguments, main
from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaAdapter, LlamaWeights

PROMPT = 200
SHAPES = {"one token of one text": (1, 1), "one token of 16 texts": (16, 1), "128 tokens": (1, 128)}


class Steps:
    """Evaluations of one shape after a prompt that stays."""

    def __init__(self, context: LlamaContext, *, texts: int, tokens: int) -> None:
        self._context = context
        self._texts = texts
        self._tokens = tokens
        self._batch = Batch(256)

    def __call__(self, adapters: Sequence[tuple[LlamaAdapter, float]]) -> float:
        """One evaluation; its seconds, the change of adapters included."""
        batch = self._batch
        batch.clear()
        for text in range(1, self._texts + 1):
            self._context.fork(0, text)
            batch.add_run([1000 + i for i in range(self._tokens)], PROMPT, [text])
            batch.want_last()
        began = time.perf_counter()
        self._context.use_adapters(adapters)
        self._context.submit(batch)
        self._context.logits(batch)
        seconds = time.perf_counter() - began
        for text in range(1, self._texts + 1):
            self._context.drop(text)
        return seconds


def measure(report: Report, options: Any) -> None:
    weights = LlamaWeights(requantized("Q8_0"), gpu_layers=0, extra_buffers=True)
    threads = len(os.sched_getaffinity(0))
    context = LlamaContext(weights, ContextOptions(cells=4096, batch=256, threads=threads))
    prompt = Batch(256)
    prompt.add_run([1000 + i for i in range(PROMPT)], 0, [0])
    context.submit(prompt)
    context.logits(prompt)
    first, second = ([(weights.load_adapter(adapter(n)), 1.0)] for n in (0, 1))
    for what, (texts, tokens) in SHAPES.items():
        step = Steps(context, texts=texts, tokens=tokens)
        turn = iter(range(10**9))
        ways: dict[str, Callable[[], float]] = {
            "merged": lambda step=step: again(step, []),
            "adapter": lambda step=step: again(step, first),
            "switched": lambda step=step, turn=turn: step((first, second)[next(turn) % 2]),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, run in ways.items():
                times[way].append(run() * 1e3)
        merged = statistics.median(times["merged"])
        for way, taken in times.items():
            median = statistics.median(taken)
            report.row(
                part="adapters",
                what=what,
                way=way,
                rank=RANK,
                median_ms=median,
                low_ms=min(taken),
                high_ms=max(taken),
                times_merged=median / merged,
            )
    context.close()
    weights.close()


def again(step: Steps, adapters: Sequence[tuple[LlamaAdapter, float]]) -> float:
    """The second of two evaluations, so that the change to these adapters is not counted."""
    step(adapters)
    return step(adapters)


if __name__ == "__main__":
    options = arguments("What a LoRA adapter costs.")
    options.add_argument("--rounds", type=int, default=30, help="evaluations of each kind")
    main(measure, options)
