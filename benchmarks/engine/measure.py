"""One cell: every system's calls, interleaved, and what became of them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.workers import OURS, Failed, System, Worker
from benchmarks.report import Report
from hetagent.engine.probe import probe

__all__ = ["Cell", "Figures", "Settings", "measure_cell", "say"]


@dataclass(frozen=True)
class Settings:
    """What holds for every cell.

    Attributes:
        folder: Where workloads are written for the workers.
        venvs: Folder with the peers' virtual environments.
        model: The GGUF file.
        threads: CPU threads of each system.
        context: Tokens of each context.
        calls: How many calls of hetagent and of the floor in a cell, for each number of callers.
        peer_calls: How many of each peer.
        gpu_layers: Layers that each system keeps on the GPU; -1 for all.
        rounds: Into how many parts these are split; the systems take turns.
    """

    folder: Path
    venvs: Path
    model: Path
    threads: int
    context: int
    gpu_layers: int
    calls: int
    peer_calls: int
    rounds: int

    def options(self, *, model: Path | None = None, exact: bool = False) -> dict[str, Any]:
        """What a worker loads; hetagent and the floor attend in the way that is faster here."""
        model = model or self.model
        return {
            "model": str(model),
            "threads": self.threads,
            "context": self.context,
            "exact": exact,
            "gpu_layers": self.gpu_layers,
            "flash_attention": probe(model, gpu_layers=self.gpu_layers).flash_attention or "auto",
        }


@dataclass
class Figures:
    """What was measured of one system with one number of callers."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    evaluated: list[int | None] = field(default_factory=list)
    answers: dict[int, str | None] = field(default_factory=dict)

    def add(self, reply: dict[str, Any], calls: Sequence[int]) -> None:
        self.rates.append(len(calls) / reply["wall"])
        self.seconds += reply["seconds"]
        self.evaluated.append(reply["evaluated"])
        self.answers.update(zip(calls, reply["answers"], strict=True))

    @property
    def rate(self) -> float:
        """Calls per second, median over rounds."""
        return statistics.median(self.rates)

    @property
    def tokens_per_call(self) -> float | None:
        known = [count for count in self.evaluated if count is not None]
        return sum(known) / len(self.seconds) if len(known) == len(self.evaluated) else None


Cell = dict[tuple[str, int], Figures]


def measure_cell(
    report: Report,
    workload: dict[str, Any],
    *,
    title: str,
    systems: Sequence[System],
    callers: Sequence[int],
    settings: Settings,
) -> Cell:
    """Measure one cell and report its rows.

    Returns:
        Figures by system and number of callers; a system that works on one call at a time is
        there with one caller only.
    """
    path = settings.folder / f"{workload['cell']}.json"
    path.write_text(json.dumps(workload), encoding="utf-8")
    figures: Cell = {}
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        workers = []
        for system in systems:
            if workload["cell"] not in system.cells:
                if not system.instance_per_skill:
                    failures[system.name] = "not supported"
                continue
            worker = stack.enter_context(Worker(system, venvs=settings.venvs))
            workers.append(worker)
            with failing(failures, worker):
                options = {
                    **settings.options(),
                    "instance_per_skill": system.instance_per_skill,
                    "best_label": system.best_label,
                }
                worker.ask("load", workload=str(path), options=options)
        for count in callers:
            for worker, calls in turns(workers, failures, count == callers[0], settings):
                at_once = count if worker.system.concurrent else 1
                with failing(failures, worker):
                    reply = worker.ask("run", calls=calls, callers=at_once)
                    one = figures.setdefault((worker.system.name, at_once), Figures())
                    one.add(reply, calls)
                    note(report, title, worker.system.name, at_once, one)
        memory = {}
        for worker in workers:
            with failing(failures, worker):
                memory[worker.system.name] = worker.memory()
    for name in failures:
        figures = {key: value for key, value in figures.items() if key[0] != name}
    summarise(report, title, figures, memory, workload)
    for name, reason in failures.items():
        report.row(part="not measured", cell=workload["cell"], system=name, reason=reason)
    return figures


class failing:  # noqa: N801 - reads as a statement
    """Keeps a system's failure as a finding, so that the others are still measured."""

    def __init__(self, failures: dict[str, str], worker: Worker) -> None:
        self._failures = failures
        self._name = worker.system.name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> bool:
        if not isinstance(error, Failed):
            return False
        self._failures[self._name] = str(error)
        say(str(error))
        return True


def turns(
    workers: Sequence[Worker], failures: dict[str, str], first: bool, settings: Settings
) -> Iterator[tuple[Worker, list[int]]]:
    """Whose turn it is with which calls; all systems once in each round."""
    for number in range(settings.rounds):
        for worker in workers:
            concurrent = worker.system.concurrent
            if worker.system.name in failures or not (concurrent or first):
                continue
            total = settings.calls if concurrent else settings.peer_calls
            calls = np.array_split(np.arange(total), settings.rounds)[number].tolist()
            if calls:
                yield worker, calls


def note(report: Report, title: str, name: str, callers: int, figures: Figures) -> None:
    """Keep a round's raw figures, and show that there is progress."""
    report.row(
        part=title,
        raw=True,
        system=name,
        callers=callers,
        round=len(figures.rates),
        calls_per_s=figures.rates[-1],
        evaluated=figures.evaluated[-1],
    )
    say(f"{title}; {callers} callers; {name}: {figures.rates[-1]:.2f} calls/s")


def summarise(
    report: Report, title: str, figures: Cell, memory: dict[str, int], workload: dict[str, Any]
) -> None:
    """A row for each system and number of callers."""
    compared = next((value for key, value in figures.items() if key[0] == OURS.name), Figures())
    for (name, callers), one in sorted(figures.items(), key=lambda item: item[0][1]):
        milliseconds = np.asarray(one.seconds) * 1e3
        report.row(
            part=title,
            system=name,
            callers=callers,
            calls=len(one.seconds),
            calls_per_s=one.rate,
            low=min(one.rates),
            high=max(one.rates),
            p50_ms=float(np.percentile(milliseconds, 50)),
            p95_ms=float(np.percentile(milliseconds, 95)),
            tokens=one.tokens_per_call,
            peak_mb=memory[name] / 1e6,
            same=agreement(one.answers, compared.answers),
        )
    for name in {key[0] for key in figures}:
        for index, answer in next(v for k, v in figures.items() if k[0] == name).answers.items():
            text = workload["calls"][index]["message"]
            report.row(part=title, raw=True, system=name, call=index, text=text, answer=answer)


def agreement(answers: dict[int, str | None], others: dict[int, str | None]) -> float | None:
    """The share of calls that were answered alike; ``None`` where none was answered by both."""
    pairs = [
        (answers[index], others[index])
        for index in answers
        if answers[index] is not None and others.get(index) is not None
    ]
    if not pairs:
        return None
    return statistics.mean(meaning(one) == meaning(other) for one, other in pairs)


def meaning(answer: str | None) -> Any:
    """An answer without its layout."""
    text = answer or ""
    try:
        return json.loads(text) if text.startswith("{") else text
    except ValueError:
        return text  # some peers write JSON that is not valid


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
