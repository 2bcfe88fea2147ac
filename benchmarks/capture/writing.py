"""Records per second into SQLite and PostgreSQL, each durable when it is acknowledged."""

from __future__ import annotations

import argparse
import subprocess
import threading
import time
from statistics import median

from benchmarks.capture import writer
from benchmarks.capture.made import records
from benchmarks.capture.places import DATABASES, Place, place
from benchmarks.report import Report
from hetagent.learn.store import Reader, Store

AT_LEAST = 1_000
SIZES = (1, 32)


def measure(report: Report, options: argparse.Namespace) -> None:
    cells = [
        (d, how, size) for d in DATABASES for how in ("threads", "processes") for size in SIZES
    ]
    rates: dict[tuple[str, str, int], list[float]] = {}
    for round_ in range(options.rounds):
        for cell in cells:
            rate = _rate(*cell, options=options)
            if rate is None:
                continue
            rates.setdefault(cell, []).append(rate)
            report.row(
                part="writing, each round", raw=True, round=round_, database=cell[0],
                writers=f"{options.writers} {cell[1]}", records_an_append=cell[2],
                records_per_second=rate,
            )  # fmt: skip
    for (database, how, size), found in rates.items():
        report.row(
            part="writing: records per second, encrypted, durable", database=database,
            writers=f"{options.writers} {how}", records_an_append=size, median=median(found),
            least=min(found), most=max(found),
        )  # fmt: skip
        if database == "sqlite" and (how, size) != ("processes", 1):
            report.target(
                f"SQLite, {options.writers} {how}, {size} an append: records per second",
                value=median(found),
                target=f">= {AT_LEAST}",
                holds=median(found) >= AT_LEAST,
            )


def _rate(database: str, how: str, size: int, *, options: argparse.Namespace) -> float | None:
    with place(database) as where:
        if where is None:
            return None
        with Store(where.where, keys=where.keys):
            pass
        run = _threads if how == "threads" else _processes
        said, seconds = run(where, size, options)
        with Reader(where.where, keys=where.keys) as reader:
            kept = reader.count()
        if kept != said:
            raise RuntimeError(f"{said} records were acknowledged, and {kept} are there.")
        return said / seconds


def _threads(where: Place, size: int, options: argparse.Namespace) -> tuple[int, float]:
    counts = [0] * options.writers
    made = [list(records(1000, seed=number)) for number in range(options.writers)]
    begin = threading.Barrier(options.writers + 1)

    def write(store: Store, number: int) -> None:
        begin.wait()
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            if len(made[number]) < size:
                made[number] = list(records(1000, seed=number))
            some, made[number] = made[number][:size], made[number][size:]
            store.append(some)
            counts[number] += size

    with Store(where.where, keys=where.keys, timeout=60) as store:
        threads = [
            threading.Thread(target=write, args=(store, number))
            for number in range(options.writers)
        ]
        for one in threads:
            one.start()
        begin.wait()
        began = time.monotonic()
        for one in threads:
            one.join()
        return sum(counts), time.monotonic() - began


def _processes(where: Place, size: int, options: argparse.Namespace) -> tuple[int, float]:
    writers = [
        writer.start(where.where, where.keys, seconds=options.seconds, size=size)
        for _ in range(options.writers)
    ]
    writer.go(writers)
    began = time.monotonic()
    said: list[tuple[int, float]] = []

    def drain(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        count, last = 0, began
        with process:  # closes its pipes
            for _ in process.stdout:
                count, last = count + 1, time.monotonic()
        said.append((count, last))

    drains = [threading.Thread(target=drain, args=(process,)) for process in writers]
    for one in drains:
        one.start()
    for one in drains:
        one.join()
    # Up to the last acknowledgement: ending a process is no part of it.
    return sum(count for count, _ in said), max(last for _, last in said) - began
