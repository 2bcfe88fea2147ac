"""Measuring the original and one candidate after another, in turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from hetagent.engine.probe import require
from hetagent.engine.speed import (
    Meter,
    Rates,
    Suggestion,
    TypicalCall,
    compare,
    median_rates,
    suggest,
    usable_cpus,
)
from hetagent.models.labelled import Labelled
from hetagent.models.llamacpp import LlamaCpp
from hetagent.models.optimize_report import Measured
from hetagent.models.paired import PairedRows

__all__ = ["Trial", "suggest_for"]

_ROUNDS = 5
_ROUND_SECONDS = 2.0
_SUGGEST_ROUNDS = 3


def suggest_for(path: Path, *, call: TypicalCall) -> Suggestion:
    """Threads and batch size for a file on this machine; see `hetagent.engine.speed.suggest`."""
    cpus = usable_cpus()
    with Meter(path, extra_buffers=require(path).extra_buffers, threads=cpus) as meter:
        return suggest(meter, cpus=cpus, call=call, rounds=_SUGGEST_ROUNDS)


class Trial:
    """The original, loaded once, against candidates.

    Args:
        source: The original.
        original: Its type.
        labelled: Rows to judge accuracy and calls a second on.
        adapters: LoRA adapters of the labelled skill.
        threads: CPU threads.
        call: What speed is judged by where there are no labelled rows.
        on_progress: Called with a stage and how far it is.
    """

    def __init__(
        self,
        source: Path,
        *,
        original: str | None,
        labelled: Labelled | None,
        adapters: tuple[Path, ...],
        threads: int,
        call: TypicalCall,
        on_progress: Callable[[str, int, int], None],
    ) -> None:
        self.source = source
        self.threads = threads
        self.call = call
        self.on_progress = on_progress
        self._original = original
        self._labelled = labelled
        self._adapters = adapters
        self._model: LlamaCpp | None = None
        self._right: list[bool] = []
        self._rates: list[Rates] = []
        self._calls: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._model is not None:
            self._model.close()

    def measure(self, kind: str, path: Path) -> Measured:
        """Measure a candidate against the original."""
        self.on_progress(f"speed of {kind}", 0, 0)
        ours, theirs = self._compare_rates(path)
        self._rates += ours
        pairs = zip(ours, theirs, strict=True)
        speedup = median(a.seconds(self.call) / b.seconds(self.call) for a, b in pairs)
        measured = Measured(kind, path.stat().st_size, median_rates(theirs), speedup=speedup)
        return measured if self._labelled is None else self._judge(measured, path, self._labelled)

    def original_measured(self) -> Measured:
        """The original, by all that was measured of it."""
        return Measured(
            self._original or "unknown",
            self.source.stat().st_size,
            median_rates(self._rates),
            calls_per_second=median(self._calls) if self._calls else None,
            accuracy=sum(self._right) / len(self._right) if self._right else None,
            verdict="original",
        )

    def _compare_rates(self, path: Path) -> tuple[list[Rates], list[Rates]]:
        with (
            Meter(
                self.source, extra_buffers=require(self.source).extra_buffers, threads=self.threads
            ) as original,
            Meter(
                path, extra_buffers=require(path).extra_buffers, threads=self.threads
            ) as candidate,
        ):
            ours, theirs = compare([original, candidate], rounds=_ROUNDS)
        return ours, theirs

    def _judge(self, measured: Measured, path: Path, labelled: Labelled) -> Measured:
        original = self._original_model(labelled)
        with LlamaCpp(path, threads=self.threads, adapters=self._adapters) as candidate:
            right = labelled.judge(
                candidate, on_progress=lambda *at: self.on_progress(f"rows on {measured.kind}", *at)
            )
            ours, theirs, count = self._time_calls(original, candidate, labelled)
        self._calls += [count / seconds for seconds in ours]
        both = list(zip(self._right, right, strict=True))
        return measured.answered(
            pairs=PairedRows(len(both), both.count((True, False)), both.count((False, True))),
            accuracy=sum(right) / len(right),
            calls_per_second=median(count / seconds for seconds in theirs),
            speedup=median(a / b for a, b in zip(ours, theirs, strict=True)),
        )

    def _original_model(self, labelled: Labelled) -> LlamaCpp:
        if self._model is None:
            self._model = LlamaCpp(self.source, threads=self.threads, adapters=self._adapters)
            self._right = labelled.judge(
                self._model, on_progress=lambda *at: self.on_progress("rows on the original", *at)
            )
        return self._model

    def _time_calls(
        self, original: LlamaCpp, candidate: LlamaCpp, labelled: Labelled
    ) -> tuple[list[float], list[float], int]:
        """Seconds for the same rows on both, round by round, and how many rows that are."""
        count = min(labelled.concurrency, len(labelled))
        # Enough rows for a round of some seconds, judged by a first one that is not counted.
        first = labelled.seconds(original, begin=0, count=count)
        labelled.seconds(candidate, begin=0, count=count)
        count = max(count, min(len(labelled), int(count * _ROUND_SECONDS / first)))
        models = (original, candidate)
        seconds: tuple[list[float], list[float]] = ([], [])
        for number in range(_ROUNDS):
            self.on_progress("calls a second", number, _ROUNDS)
            for index in (0, 1) if number % 2 == 0 else (1, 0):
                begin = number * count
                seconds[index].append(labelled.seconds(models[index], begin=begin, count=count))
        return *seconds, count
