"""Kill -9 of all writers in mid-load, and a crash of the server: what was acknowledged stays."""

from __future__ import annotations

import argparse
import signal
import threading
import time

from benchmarks.capture import writer
from benchmarks.capture.places import DATABASES, place
from benchmarks.report import Report
from hetagent.learn.store import Reader, Store

SIZE = 4


def measure(report: Report, options: argparse.Namespace) -> None:
    cases = [(database, "writers") for database in DATABASES] + [("postgresql", "server")]
    lost = 0
    for database, whom in cases:
        for round_ in range(options.rounds):
            found = _killed(database, whom, options)
            if found is None:
                continue
            said, kept = found
            lost += len(said - kept)
            report.row(
                part="killed in mid-load", database=database, killed=whom, round=round_,
                acknowledged=len(said), found=len(kept), lost=len(said - kept),
            )  # fmt: skip
    report.target(
        "acknowledged records that kill -9 or a crash lost", value=lost, target="0", holds=lost == 0
    )


def _killed(
    database: str, whom: str, options: argparse.Namespace
) -> tuple[set[str], set[str]] | None:
    with place(database) as where:
        if where is None:
            return None
        with Store(where.where, keys=where.keys):
            pass
        writers = [
            writer.start(where.where, where.keys, seconds=3600, size=SIZE)
            for _ in range(options.writers)
        ]
        out: list[str] = []
        drains = [
            threading.Thread(target=lambda one=one: out.append(one.communicate()[0]))
            for one in writers
        ]
        writer.go(writers)
        for one in drains:
            one.start()
        time.sleep(options.seconds / 2)
        if whom == "server":
            assert where.server is not None
            where.server.crash()
            where.server.start()
        else:
            for process in writers:
                process.send_signal(signal.SIGKILL)
        for one in drains:
            one.join()
        said = {line for text in out for line in text.split("\n")[:-1]}
        with Reader(where.where, keys=where.keys) as reader:
            kept = {one.id for one in reader.records()}  # decrypted: each is whole
        return said, kept
