"""Flash attention or not: how long an evaluation takes, by its tokens and by what is in the cache.

    python -m benchmarks.attention --json attention.json

SmolLM2 in Q8_0. Prefixes of 250 tokens stand in the KV cache; the tokens of an evaluation follow
the first of them, as one text or as sixteen. About two minutes on two cores.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.engine.measure import say
from benchmarks.engine.weights import requantized
from benchmarks.report import Report, arguments, main
from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaWeights

PREFIX = 250
PREFIXES = (1, 8)
# How many texts, and how many tokens of each.
SHAPES = ((1, 1), (1, 5), (1, 16), (1, 32), (1, 64), (16, 1), (16, 4), (16, 15))
WAYS: tuple[Any, ...] = ("off", "on")
FIRST = 20


def measure(report: Report, options: Any) -> None:
    weights = LlamaWeights(requantized("Q8_0"), gpu_layers=0, extra_buffers=True)
    batch = Batch(512)
    for prefixes in PREFIXES:
        contexts = {
            way: LlamaContext(
                weights,
                ContextOptions(cells=4096, batch=512, threads=options.threads, flash_attention=way),
            )
            for way in WAYS
        }
        for context in contexts.values():
            for sequence in range(prefixes):
                batch.clear()
                batch.add_run(range(5, 5 + PREFIX), 0, [sequence])
                context.submit(batch)
        for texts, tokens in SHAPES:
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way, context in contexts.items():
                    times[way].append(evaluate(context, batch, texts=texts, tokens=tokens))
            found = {way: statistics.median(seconds) * 1e3 for way, seconds in times.items()}
            say(f"{prefixes} prefixes, {texts} x {tokens} tokens: {found}")
            report.row(
                part="attention",
                prefixes=prefixes,
                texts=texts,
                tokens=tokens,
                off_ms=found["off"],
                on_ms=found["on"],
            )
        for context in contexts.values():
            context.close()


def evaluate(context: LlamaContext, batch: Batch, *, texts: int, tokens: int) -> float:
    """Seconds of one evaluation; the cache is left as it was."""
    sequences = range(FIRST, FIRST + texts)
    batch.clear()
    for sequence in sequences:
        context.fork(0, sequence)
        batch.add_run(range(5, 5 + tokens), PREFIX, [sequence])
        batch.want_last()
    began = time.perf_counter()
    context.submit(batch)
    context.logits(batch)
    seconds = time.perf_counter() - began
    for sequence in sequences:
        context.drop(sequence)
    return seconds


if __name__ == "__main__":
    parser = arguments("Flash attention or not.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    main(measure, parser)
