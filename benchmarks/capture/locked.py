"""A locked database under a pipeline: calls go on, what is lost is counted, what was kept stays."""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future

from benchmarks.capture.made import records
from benchmarks.capture.places import DATABASES, Place, place, silence
from benchmarks.report import Report
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.store import Reader, Store

TIMEOUT = 0.5


def measure(report: Report, options: argparse.Namespace) -> None:
    failed = lost = 0.0
    refused = True
    for database in DATABASES:
        with place(database) as where:
            if where is None:
                continue
            with silence("hetagent", "psycopg"):
                found = _locked(where, database)
        report.row(part="locked database", database=database, **found)
        failed += found["calls_failed"]
        lost += found["acknowledged_lost"]
        refused = refused and found["not_kept"] > 0
    report.target(
        "calls that a locked database failed", value=failed, target="0",
        holds=failed == 0 and refused,
    )  # fmt: skip
    report.target(
        "acknowledged records that a locked database lost", value=lost, target="0", holds=lost == 0
    )


def _locked(where: Place, database: str) -> dict[str, float]:
    pairs: list[tuple[str, Future[None]]] = []
    slowest = failed = 0.0
    with Store(where.where, keys=where.keys, timeout=TIMEOUT) as store:
        pipeline = Pipeline(store, redact=lambda one: one)
        release: Callable[[], None] | None = None
        for number, record in enumerate(records(900)):
            if number == 300:
                _settle(pairs)
                release = _lock(where, database)
            if number == 600:
                _settle(pairs)
                assert release is not None
                release()
            began = time.perf_counter()
            try:
                pairs.append((record.id, pipeline.submit(record)))
            except Exception:
                failed += 1
            slowest = max(slowest, time.perf_counter() - began)
        pipeline.close()
        not_kept = pipeline.kept.lost
    acknowledged = {name for name, one in pairs if one.exception() is None}
    with Reader(where.where, keys=where.keys) as reader:
        kept = {one.id for one in reader.records()}
    return {
        "calls": len(pairs),
        "calls_failed": failed,
        "slowest_submit_ms": slowest * 1000,
        "acknowledged": len(acknowledged),
        "not_kept": not_kept,
        "acknowledged_lost": len(acknowledged - kept),
    }


def _settle(pairs: list[tuple[str, Future[None]]]) -> None:
    for _, one in pairs:
        one.exception(120)


def _lock(where: Place, database: str) -> Callable[[], None]:
    if database == "sqlite":
        lite = sqlite3.connect(where.where, isolation_level=None)
        lite.execute("BEGIN IMMEDIATE")
        return lite.close
    import psycopg

    holder = psycopg.connect(where.where)
    holder.execute("LOCK TABLE call_records IN EXCLUSIVE MODE")
    return holder.close
