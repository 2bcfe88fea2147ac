"""The engine beside what people use today, and beside the speed the hardware allows.

    python -m benchmarks.engine --json engine.json

Cells (a) to (e), each with 1, 4 and 16 callers: calls per second, latencies, tokens evaluated,
memory, and how many answers agree. Then answers against one sequence without a cache, on an F32
copy and, beside a bare loop, on the quantised weights; and the memory of eight skills against
one. Every peer is a process in its own virtual environment (`nox -s peers`), only one works at a
time, and they take turns.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.engine.exactness import measure_exactness, measure_rounding
from benchmarks.engine.measure import Cell, Settings, measure_cell, say
from benchmarks.engine.skills import EIGHT
from benchmarks.engine.weights import adapter, requantized
from benchmarks.engine.workers import BEST_LABEL, FLOOR, OURS, ROOT, SYSTEMS, Failed, Worker
from benchmarks.engine.workloads import CELLS, workload
from benchmarks.report import CannotMeasureError, Report, arguments, main

PARTS = ("cells", "exact", "rounding", "memory")
# Against the best peer, by callers and cell; against the floor, by callers.
TIMES_PEER = {16: {"a": 5, "b": 5, "c": 3, "d": 5, "e": 5}, 1: {"a": 2, "b": 2, "c": 1.5, "d": 2}}
SHARE_OF_FLOOR = {16: 0.8, 1: 0.7}
TIMES_ONE_SKILL = 1.3
MEMORY_CALLS = 64


def measure(report: Report, options: Any) -> None:
    adapters = [adapter(number) for number in range(len(EIGHT))]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            folder=Path(folder),
            venvs=options.venvs,
            model=requantized("Q8_0"),
            threads=options.threads,
            context=options.context,
            gpu_layers=options.gpu_layers,
            calls=options.calls,
            peer_calls=options.peer_calls,
            rounds=options.rounds,
        )
        count = max(options.calls, options.peer_calls, options.exact_calls)
        workloads = {
            cell: workload(cell, count, adapters=adapters if cell == "e" else ())
            for cell in options.cells
        }
        if "cells" in options.parts:
            measure_cells(report, workloads, options, settings)
        plain = {cell: calls for cell, calls in workloads.items() if cell != "e"}
        if "exact" in options.parts:
            measure_exactness(report, plain, count=options.exact_calls, settings=settings)
        if "rounding" in options.parts:
            measure_rounding(report, plain, count=options.calls, settings=settings)
        if "memory" in options.parts:
            measure_memory(report, adapters, settings)


def measure_cells(
    report: Report, workloads: dict[str, dict[str, Any]], options: Any, settings: Settings
) -> None:
    systems = [system for system in SYSTEMS if system.name in options.systems]
    found = {
        cell: measure_cell(
            report,
            calls,
            title=f"{cell}: {CELLS[cell]}",
            systems=systems,
            callers=sorted(options.callers),
            settings=settings,
        )
        for cell, calls in workloads.items()
    }
    for cell, figures in found.items():
        compare(report, cell, figures)


def compare(report: Report, cell: str, figures: Cell) -> None:
    """The targets of one cell that were measured."""
    peers = {
        name: one.rate
        for (name, _), one in figures.items()
        if name not in (OURS.name, BEST_LABEL.name, FLOOR.name)
    }
    copies = {system.name for system in SYSTEMS if system.instance_per_skill}
    # With as many copies as skills some peers are faster; both comparisons are reported.
    sets = {"best peer": peers.keys() - copies, "best with 8 copies": peers.keys() & copies}
    for callers in (16, 1):
        ours, floor = figures.get((OURS.name, callers)), figures.get((FLOOR.name, callers))
        for way in (OURS.name, BEST_LABEL.name):
            one = figures.get((way, callers))
            for what, names_of in sets.items():
                if one and names_of and cell in TIMES_PEER[callers]:
                    best = max(names_of, key=lambda name: peers[name])
                    value, least = one.rate / peers[best], TIMES_PEER[callers][cell]
                    report.target(
                        f"{cell}, {callers} callers: {way}, times the {what} "
                        f"({best.split(',')[0]})",
                        value=value,
                        target=f">= {least}",
                        holds=value >= least,
                    )
        if ours and floor:
            value, least = ours.rate / floor.rate, SHARE_OF_FLOOR[callers]
            report.target(
                f"{cell}, {callers} callers: share of the floor",
                value=value,
                target=f">= {least}",
                holds=value >= least,
            )


def measure_memory(report: Report, adapters: Iterable[Path], settings: Settings) -> None:
    """Peak memory with one skill, and with eight that have an adapter each."""
    eight = workload("e", MEMORY_CALLS, adapters=list(adapters))
    one = workload("d", MEMORY_CALLS)
    first = EIGHT[0].name
    one["skills"] = {first: one["skills"][first]}
    for kind in ("warm", "calls"):
        one[kind] = [{**call, "skill": first} for call in one[kind]]
    peaks = [peak_memory(name, calls, settings) for name, calls in (("one", one), ("eight", eight))]
    weights = sum(path.stat().st_size for path in adapters)
    limit = TIMES_ONE_SKILL * peaks[0] + weights
    for skills, peak in zip((1, 8), peaks, strict=True):
        report.row(part="memory", skills=skills, peak_mb=peak / 1e6)
    report.target(
        "memory of eight skills, MB",
        value=peaks[1] / 1e6,
        target=f"<= {TIMES_ONE_SKILL} x one's + adapters = {limit / 1e6:.0f}",
        holds=peaks[1] <= limit,
    )


def peak_memory(name: str, calls: dict[str, Any], settings: Settings) -> int:
    say(f"memory: {name}")
    path = settings.folder / f"memory-{name}.json"
    path.write_text(json.dumps(calls), encoding="utf-8")
    try:
        with Worker(OURS, venvs=settings.venvs) as worker:
            worker.ask("load", workload=str(path), options=settings.options())
            worker.ask("run", calls=list(range(MEMORY_CALLS)), callers=16)
            return worker.memory()
    except Failed as error:
        raise CannotMeasureError(str(error)) from error


def names(text: str) -> list[str]:
    return text.split(",")


def systems_of(text: str) -> list[str]:
    """Names of systems; one of a peer stands for all ways to run it."""
    return [s.name for s in SYSTEMS if s.name.split(",")[0] in text.split(",")]


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    parser = arguments("The engine, its peers and the floor.")
    parser.add_argument("--parts", type=names, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--cells", type=names, default=list(CELLS), help="a,b,c,d,e")
    parser.add_argument("--callers", type=numbers, default=[1, 4, 16], help="1,4,16")
    everything = [system.name for system in SYSTEMS]
    parser.add_argument(
        "--systems", type=systems_of, default=everything, help="; ".join(everything)
    )
    parser.add_argument("--calls", type=int, default=200, help="of ours, in a cell")
    parser.add_argument("--peer-calls", type=int, default=40, help="of each peer, in a cell")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exact-calls", type=int, default=24, help="on the F32 copy, in a cell")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=4096, help="tokens")
    parser.add_argument("--gpu-layers", type=int, default=0, help="-1 for all; needs such builds")
    parser.add_argument(
        "--venvs", type=Path, default=ROOT / ".nox", help="the peers' virtual environments"
    )
    main(measure, parser)
