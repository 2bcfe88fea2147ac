"""A full disk under a pipeline: calls go on, what is lost is counted, what was kept stays."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from benchmarks.capture.made import records
from benchmarks.capture.places import silence
from benchmarks.report import Report
from hetagent.learn.keys import FolderKeys
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.store import Reader, Store

_MEGABYTE = 1_000_000


def measure(report: Report, options: argparse.Namespace) -> None:
    with silence("hetagent"), _small_disk() as (folder, free_it, how):
        found = _fill(folder, free_it)
    report.row(part="full disk", how=how, **found)
    report.target(
        "calls that a full disk failed", value=found["calls_failed"], target="0",
        holds=found["calls_failed"] == 0 and found["not_kept"] > 0,
    )  # fmt: skip
    report.target(
        "acknowledged records that a full disk lost", value=found["acknowledged_lost"], target="0",
        holds=found["acknowledged_lost"] == 0 and found["kept_after"] > 0,
    )  # fmt: skip


def _fill(folder: Path, free_it: Callable[[], None]) -> dict[str, float]:
    done: list[tuple[str, Future[None]]] = []
    slowest = failed = 0.0
    with tempfile.TemporaryDirectory() as elsewhere:
        keys = FolderKeys(elsewhere)
        with Store(folder / "r.db", keys=keys, timeout=1) as store:
            pipeline = Pipeline(store, redact=lambda one: one)
            for number, record in enumerate(records(60_000)):
                began = time.perf_counter()
                try:
                    done.append((record.id, pipeline.submit(record)))
                except Exception:
                    failed += 1
                slowest = max(slowest, time.perf_counter() - began)
                if number % 100 == 99:
                    _settled(done)
                    if pipeline.kept.lost:
                        break
            lost = pipeline.kept.lost
            free_it()
            after = [(one.id, pipeline.submit(one)) for one in records(500, seed=1)]
            _settled(after)
            pipeline.close()
        with Reader(folder / "r.db", keys=keys) as reader:
            kept = {one.id for one in reader.records()}
    acknowledged = {name for name, one in done + after if one.exception() is None}
    return {
        "calls": len(done) + len(after),
        "calls_failed": failed,
        "slowest_submit_ms": slowest * 1000,
        "acknowledged": len(acknowledged),
        "not_kept": lost,
        "kept_after": sum(one.exception() is None for _, one in after),
        "acknowledged_lost": len(acknowledged - kept),
    }


def _settled(pairs: list[tuple[str, Future[None]]]) -> None:
    for _, one in pairs:
        one.exception(120)


@contextlib.contextmanager
def _small_disk() -> Iterator[tuple[Path, Callable[[], None], str]]:
    """A folder with little room, and how to make room; a small tmpfs where that can be mounted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", name],
                check=False,
                capture_output=True,
            ).returncode
        ):
            try:
                ballast = folder / "ballast"
                ballast.write_bytes(b"x" * 12 * _MEGABYTE)
                yield folder, ballast.unlink, "tmpfs of 24 MB"
            finally:
                subprocess.run(["umount", name], check=True)
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 * _MEGABYTE, before[1]))
        try:
            yield (
                folder,
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
                "files of at most 8 MB",
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
