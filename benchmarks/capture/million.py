"""A million records: how long queries and totals take, and how much memory."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.capture.made import FIRST, records
from benchmarks.capture.places import Place, place
from benchmarks.report import Report
from hetagent.learn.store import Custodian, Query, Reader, Store
from hetagent.learn.store.parquet import export_parquet, parquet_totals

AT_ONCE = 1_000
AT_MOST_SECONDS = 2.0
TIMES = 5


def measure(report: Report, options: argparse.Namespace) -> None:
    with place("sqlite") as where:
        assert where is not None
        folder = Path(where.where).parent / "export"
        _write(report, where, options.records)
        _query(report, where, options.records)
        _export(report, where, folder)
        seconds = _totals(report, folder, options.records)
    report.target(
        f"totals by workload of {options.records:,} records from Parquet, seconds", value=seconds,
        target=f"< {AT_MOST_SECONDS}", holds=seconds < AT_MOST_SECONDS,
    )  # fmt: skip


def _write(report: Report, where: Place, count: int) -> None:
    made = records(count)
    began = time.perf_counter()
    with Store(where.where, keys=where.keys) as store:
        while some := list(islice(made, AT_ONCE)):
            store.append(some)
    seconds = time.perf_counter() - began
    report.row(
        part="many records", step="made and written by one thread", seconds=seconds,
        records=count, records_per_second=count / seconds,
        megabytes=Path(where.where).stat().st_size / 1e6, most_memory_mb=_memory(),
    )  # fmt: skip


def _query(report: Report, where: Place, count: int) -> None:
    with Custodian(where.where, keys=where.keys) as custodian:
        trace = custodian.pseudonym(f"trace-{count // 16}", origin="trace")
        client = custodian.pseudonym("client-7")
    hour = Query(since=FIRST + timedelta(days=10), until=FIRST + timedelta(days=10, hours=1))
    latest = Query(workload="plan", newest_first=True, limit=100)
    with Reader(where.where, keys=where.keys) as reader:
        for name, query in {
            "records of one trace, decrypted": Query(trace=trace),
            "records of one client, decrypted": Query(client=client),
            "records of one hour, decrypted": hour,
            "the latest 100 of a workload, decrypted": latest,
        }.items():
            found, seconds = _timed(lambda query=query: sum(1 for _ in reader.records(query)))
            report.row(part="many records", step=name, seconds=seconds, records=found)
        totals, seconds = _timed(reader.totals, times=1)
        report.row(
            part="many records", step="totals by workload, from SQLite", seconds=seconds,
            records=sum(one.calls for one in totals), most_memory_mb=_memory(),
        )  # fmt: skip


def _export(report: Report, where: Place, folder: Path) -> None:
    with Reader(where.where, keys=where.keys) as reader:
        done, seconds = _timed(lambda: export_parquet(reader, folder), times=1)
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    report.row(
        part="many records", step="exported to Parquet", seconds=seconds, records=done.records,
        records_per_second=done.records / seconds, megabytes=size / 1e6, most_memory_mb=_memory(),
    )  # fmt: skip


def _totals(report: Report, folder: Path, count: int) -> float:
    totals, seconds = _timed(lambda: parquet_totals(folder))
    if sum(one.calls for one in totals) != count:
        raise RuntimeError("The export does not have all records.")
    report.row(
        part="many records", step="totals by workload, from Parquet", seconds=seconds,
        records=count, most_memory_mb=_memory(),
    )  # fmt: skip
    return seconds


def _timed(work: Callable[[], Any], *, times: int = TIMES) -> tuple[Any, float]:
    """What it gave, and the median of its seconds."""
    found, seconds = None, []
    for _ in range(times):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    return found, median(seconds)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
