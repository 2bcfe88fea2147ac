"""How fast a GGUF file runs on this CPU, and with how many threads and how big batches.

Two rates say most of it. *Prefill* is how fast a prompt is read, many tokens in one batch;
*decode* is how fast an answer is written, one token after another. They are measured on llama.cpp's
bare API, with nothing of the engine between, so that they compare weights and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.errors import ModelError, ModelFileError

__all__ = [
    "Meter",
    "Rates",
    "Suggestion",
    "TypicalCall",
    "compare",
    "fewest_threads",
    "median_rates",
    "smallest_batch",
    "suggest",
    "usable_cpus",
]

BATCH_SIZES: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
TOLERANCE = 0.03
"""How much slower than the best is still as good, as a share."""

_CONTEXT = 1024
_ROUNDS = 3
_SAMPLE_SECONDS = 0.4
_LONGEST_BATCH_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class TypicalCall:
    """What a call of a skill has to evaluate, once the fixed part of its prompt is cached.

    Attributes:
        prefill: Tokens of its own input.
        decode: Decoding steps of its answer.
    """

    prefill: int = 32
    decode: int = 8


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens a second.

    Attributes:
        prefill: Of a prompt, in one batch.
        decode: Of an answer, one token at a time.
    """

    prefill: float
    decode: float

    def seconds(self, call: TypicalCall) -> float:
        """What a call takes at these rates, in seconds."""
        return call.prefill / self.prefill + call.decode / self.decode


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Settings that suit a file on this machine, with what was measured for them.

    Attributes:
        threads: The fewest threads within the tolerance of the shortest typical call.
        batch: The fewest tokens in a batch within the tolerance of the best prefill rate, with
            that many threads.
        by_threads: Rates by number of threads.
        by_batch: Prefill rate by tokens in a batch.
    """

    threads: int
    batch: int
    by_threads: Mapping[int, Rates]
    by_batch: Mapping[int, float]


class Meter:
    """A loaded GGUF file that is only timed.

    Args:
        path: The file; `hetagent.engine.probe.require` must have passed it.
        extra_buffers: Whether llama.cpp may repack weights for this CPU.
        threads: CPU threads, unless a measurement says otherwise.

    Raises:
        ModelFileError: llama.cpp refuses the file.
        ModelError: There is not enough memory.
    """

    def __init__(self, path: Path, *, extra_buffers: bool, threads: int) -> None:
        lib = llama_cpp()
        self._threads = threads
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = extra_buffers
        forget_words()
        self._model = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise ModelFileError(
                f"llama.cpp cannot load {path.name}: {last_words() or 'it gives no reason'}",
                hint="Fetch the file again, or update llama-cpp-python.",
            )
        self._context = lib.llama_init_from_model(self._model, self._context_params())
        if not self._context:
            lib.llama_model_free(self._model)
            raise ModelError(
                f"llama.cpp cannot make a context for {path.name}: {last_words()}",
                hint="Close other programs: there is too little memory.",
            )
        self._memory = lib.llama_get_memory(self._context)
        self._vocabulary = int(lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model)))
        self._batch = lib.llama_batch_init(max(BATCH_SIZES), 0, 1)
        try:
            self._evaluate(0, 16)  # the first pages weights in, and is not timed
        except ModelError:
            self._free()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._free()

    def prefill(self, tokens: int, *, threads: int | None = None) -> float:
        """Evaluate one batch from an empty cache; tokens a second."""
        self._start(threads)
        return tokens / self._evaluate(0, tokens)

    def decode(self, steps: int, *, threads: int | None = None) -> float:
        """Evaluate single tokens one after another behind a short prompt; tokens a second."""
        self._start(threads)
        self._evaluate(0, 32)
        return steps / sum(self._evaluate(32 + step, 1) for step in range(steps))

    def sample(self) -> TypicalCall:
        """How many tokens and steps make a measurement of a few tenths of a second."""
        tokens = _power_of_two(self.prefill(32) * _SAMPLE_SECONDS, least=32, most=256)
        steps = _power_of_two(self.decode(4) * _SAMPLE_SECONDS, least=4, most=64)
        return TypicalCall(tokens, steps)

    def rates(self, sample: TypicalCall, *, threads: int | None = None) -> Rates:
        """One measurement of both rates."""
        return Rates(
            self.prefill(sample.prefill, threads=threads),
            self.decode(sample.decode, threads=threads),
        )

    def _free(self) -> None:
        lib = llama_cpp()
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)

    def _context_params(self) -> Any:
        params = llama_cpp().llama_context_default_params()
        params.n_ctx = _CONTEXT
        params.n_batch = params.n_ubatch = max(BATCH_SIZES)
        params.n_seq_max = 1
        params.no_perf = True
        params.n_threads = params.n_threads_batch = self._threads
        return params

    def _start(self, threads: int | None) -> None:
        lib = llama_cpp()
        count = threads or self._threads
        lib.llama_set_n_threads(self._context, count, count)
        lib.llama_memory_clear(self._memory, True)

    def _evaluate(self, position: int, count: int) -> float:
        """Evaluate tokens in one batch; the seconds it took."""
        batch = self._batch
        batch.n_tokens = count
        for index in range(count):
            # Which tokens does not matter for the time; the same ones for every file.
            batch.token[index] = (997 * (position + index) + 101) % self._vocabulary
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index == count - 1
        lib = llama_cpp()
        forget_words()
        began = time.perf_counter()
        status = lib.llama_decode(self._context, batch)
        lib.llama_synchronize(self._context)
        seconds = time.perf_counter() - began
        if status:
            raise ModelError(
                f"llama.cpp could not evaluate {count} tokens (status {status}): {last_words()}",
                hint="Run `hetagent doctor`.",
            )
        return seconds


def compare(meters: Sequence[Meter], *, rounds: int = _ROUNDS) -> list[list[Rates]]:
    """Measure several files in turns, so that what else the machine does meets all alike.

    Args:
        meters: The files; the first one sets the length of a measurement for all.
        rounds: Measurements of each.

    Returns:
        For each file its rates, round by round.
    """
    sample = meters[0].sample()
    found: list[list[Rates]] = [[] for _ in meters]
    for number in range(rounds):
        order = list(enumerate(meters))
        for index, meter in order if number % 2 == 0 else reversed(order):
            found[index].append(meter.rates(sample))
    return found


def suggest(
    meter: Meter,
    *,
    cpus: int,
    call: TypicalCall,
    rounds: int = _ROUNDS,
    tolerance: float = TOLERANCE,
) -> Suggestion:
    """Find the fewest threads and the smallest batch that are about as fast as the best.

    Args:
        meter: The file.
        cpus: The most threads to try.
        call: What a call evaluates; threads are judged by its time.
        rounds: Measurements of each setting, taken in turns.
        tolerance: How much slower than the best is still as good, as a share.
    """
    sample = meter.sample()
    counts = _thread_counts(cpus)
    tried: dict[int, list[Rates]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            tried[count].append(meter.rates(sample, threads=count))
    by_threads = {count: median_rates(rates) for count, rates in tried.items()}
    threads = fewest_threads(by_threads, call=call, tolerance=tolerance)

    longest = by_threads[threads].prefill * _LONGEST_BATCH_SECONDS
    sizes = [size for size in BATCH_SIZES if size <= max(longest, BATCH_SIZES[0])]
    timed: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            timed[size].append(meter.prefill(size, threads=threads))
    by_batch = {size: median(rates) for size, rates in timed.items()}
    return Suggestion(threads, smallest_batch(by_batch, tolerance=tolerance), by_threads, by_batch)


def fewest_threads(
    by_threads: Mapping[int, Rates], *, call: TypicalCall, tolerance: float = TOLERANCE
) -> int:
    """The fewest threads with which a call takes about as long as with the best number."""
    best = min(rates.seconds(call) for rates in by_threads.values())
    return min(n for n, r in by_threads.items() if r.seconds(call) <= best * (1 + tolerance))


def smallest_batch(by_batch: Mapping[int, float], *, tolerance: float = TOLERANCE) -> int:
    """The smallest batch that is read at about the best prefill rate."""
    enough = max(by_batch.values()) * (1 - tolerance)
    return min(size for size, rate in by_batch.items() if rate >= enough)


def median_rates(rates: Sequence[Rates]) -> Rates:
    """The median of each rate."""
    return Rates(median(r.prefill for r in rates), median(r.decode for r in rates))


def usable_cpus() -> int:
    """CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _thread_counts(cpus: int) -> list[int]:
    """Powers of two up to the CPUs there are, half of them (the cores, often), and all."""
    powers = {1 << exponent for exponent in range(cpus.bit_length())}
    return sorted({count for count in powers if count <= cpus} | {max(1, cpus // 2), cpus})


def _power_of_two(wanted: float, *, least: int, most: int) -> int:
    """The power of two at or below a number, within bounds."""
    return min(most, max(least, 1 << (max(1, int(wanted)).bit_length() - 1)))
