"""Many calls with random cancellations: is nothing left in the KV cache, and memory flat?

    python -m benchmarks.engine_soak --json soak.json --calls 20000 --cancel 500

Eight skills (seven choices and a record) in random order, asked for by tasks of one event loop. The
KV cache is made small, so that fixed prompts have to leave it and come back. Takes about an hour on
two cores.
"""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.engine.measure import say
from benchmarks.engine.skills import EIGHT, slots
from benchmarks.engine.weights import requantized
from benchmarks.engine.workloads import rows_for
from benchmarks.report import CannotMeasureError, Report, arguments, main
from hetagent import LlamaCpp, Orchestrator
from hetagent.engine.context import SEQUENCES
from hetagent.engine.library import llama_cpp
from hetagent.errors import HetagentError

SEED = 20261121
SKILLS = (*EIGHT[1:], slots)
SAMPLES = 200
# Memory still settles during the first calls: threads, buffers, compiled constraints.
SETTLED = 0.1
GROWTH = 0.05


class Soak:
    """The calls of a run, and what became of them."""

    def __init__(self, report: Report, model: LlamaCpp, options: Any) -> None:
        self._report = report
        self._model = model
        self._agent = Orchestrator(slm=model, policy=0.0, progress=False)
        self._random = random.Random(SEED)
        self._calls = options.calls
        self._cancelled = set(self._random.sample(range(options.calls), options.cancel))
        self._callers = options.callers
        self._rows = {task.name: rows_for(task, 500) for task in SKILLS}
        self._seconds = 0.05
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.resident: list[tuple[int, int]] = []
        self.began = time.perf_counter()

    async def run(self) -> None:
        numbers = iter(range(self._calls))
        await asyncio.gather(*(self._caller(numbers) for _ in range(self._callers)))

    async def _caller(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            task = self._random.choice(SKILLS)
            args, kwargs = task.bind_row(self._random.choice(self._rows[task.name]))
            began = time.perf_counter()
            call = asyncio.ensure_future(self._agent.arun(task, *args, **kwargs))
            if number in self._cancelled:
                await self._cancel(call)
            else:
                await self._wait(call)
                # What a call takes, roughly, so that cancellations fall within calls.
                self._seconds += 0.05 * (time.perf_counter() - began - self._seconds)
            self._look(number)

    async def _cancel(self, call: asyncio.Future[Any]) -> None:
        await asyncio.wait([call], timeout=self._random.uniform(0, self._seconds))
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
        except HetagentError as error:
            self.errors[type(error).__name__] += 1
        else:
            self.counts["finished before"] += 1

    async def _wait(self, call: asyncio.Future[Any]) -> None:
        try:
            outcome = await call
        except HetagentError as error:
            self.errors[type(error).__name__] += 1
            return
        if outcome.served_by == "slm":
            self.counts["answered"] += 1
        else:
            self.errors[outcome.reason] += 1

    def _look(self, number: int) -> None:
        stats = self._model.stats()
        if number % max(1, self._calls // SAMPLES) == 0:
            self.resident.append((number, resident()))
            say(f"call {number}: {self.resident[-1][1] / 1e6:.0f} MB, {stats.kv_used} tokens kept")
            self._report.row(
                part="samples",
                raw=True,
                call=number,
                seconds=time.perf_counter() - self.began,
                rss_mb=self.resident[-1][1] / 1e6,
                kv_used=stats.kv_used,
                prefixes=stats.prefixes,
                evicted=stats.evicted,
                preempted=stats.preempted,
            )


def measure(report: Report, options: Any) -> None:
    if not Path("/proc/self/statm").exists():
        raise CannotMeasureError("Resident memory is read from /proc, which is not here.")
    model = LlamaCpp(
        options.model or requantized("Q8_0"),
        context=1024,
        threads=options.threads,
        kv_tokens=options.kv_tokens,
    )
    with model.load():
        soak = Soak(report, model, options)
        asyncio.run(soak.run())
        after = model.stats()
        astray = sequences_astray(model)
    seconds = time.perf_counter() - soak.began
    settled = [rss for number, rss in soak.resident if number >= SETTLED * options.calls]
    growth = settled[-1] / settled[0] - 1
    facts = {
        "calls": options.calls,
        "callers": options.callers,
        **soak.counts,
        "errors": sum(soak.errors.values()),
        "calls per second": options.calls / seconds,
        "KV cache, most tokens": after.kv_peak,
        "KV cache, size": after.kv_size,
        "prefixes evicted": after.evicted,
        "calls preempted": after.preempted,
        "resident after a tenth, MB": settled[0] / 1e6,
        "resident at the end, MB": settled[-1] / 1e6,
    }
    for what, value in facts.items():
        report.row(part="soak", what=what, value=value)
    for name, count in soak.errors.items():
        report.row(part="errors", error=name, count=count)
    add_targets(report, soak, after, astray, growth)


def add_targets(report: Report, soak: Soak, after: Any, astray: int, growth: float) -> None:
    errors, left = sum(soak.errors.values()), after.active + after.waiting
    report.target(
        "sequences whose length llama.cpp counts otherwise than the engine",
        value=astray,
        target="= 0",
        holds=astray == 0,
    )
    report.target("errors", value=errors, target="= 0", holds=errors == 0)
    report.target("calls left in the engine", value=left, target="= 0", holds=left == 0)
    report.target(
        "growth of resident memory after the first tenth",
        value=growth,
        target=f"<= {GROWTH}",
        holds=growth <= GROWTH,
    )


def sequences_astray(model: LlamaCpp) -> int:
    """With nothing under way: sequences of which llama.cpp has not what the engine believes."""
    assert model._engine is not None
    kept = {one.sequence: one.done for one in model._engine.scheduler._batcher.prefixes}
    lib, memory = llama_cpp(), model._engine._context._memory
    return sum(
        lib.llama_memory_seq_pos_max(memory, sequence) + 1 != kept.get(sequence, 0)
        for sequence in range(SEQUENCES)
    )


def resident() -> int:
    """Resident memory now, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    options = arguments("Many calls with random cancellations.")
    options.add_argument("--calls", type=int, default=20_000)
    options.add_argument("--cancel", type=int, default=500, help="how many are cancelled")
    options.add_argument("--callers", type=int, default=16)
    options.add_argument(
        "--model", help="another GGUF file; what is kept or lost does not depend on it"
    )
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--kv-tokens", type=int, default=2560, help="size of the KV cache")
    main(measure, options)
