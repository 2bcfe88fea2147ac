"""Records per second with redaction, each text new: how much one process, and one a core, keep up.

A pipeline redacts and writes in one thread of its process, so that this is what a gateway or a
program with a recorder takes in for long; shorter bursts wait in its queue.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from statistics import median

from benchmarks.capture.made import records
from benchmarks.redaction_set import sentences
from benchmarks.report import Report
from hetagent.learn.record import CallRecord

AHEAD = 64  # records that may wait, so that a commit is shared


def measure(report: Report, options: argparse.Namespace) -> None:
    for kind in ("patterns", "patterns, Presidio and spaCy"):
        for processes in sorted({1, os.cpu_count() or 1}):
            rates = [_rate(kind, processes, options.seconds) for _ in range(options.rounds)]
            report.row(
                part="writing with redaction: records per second into SQLite", finds=kind,
                processes=processes, median=median(rates), least=min(rates), most=max(rates),
            )  # fmt: skip


def _rate(kind: str, processes: int, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.capture.redacting", folder, kind, str(seconds)]
        running = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for _ in range(processes)
        ]  # fmt: skip
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()  # it is ready
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        return sum(float(one.communicate()[0]) for one in running)


def _texts(seed: int) -> Iterator[CallRecord]:
    """Records of which each has a text of its own, with a private value or two in it."""
    private = [one.text for one in sentences("dev", draws=1)]
    for number, one in enumerate(records(1_000_000, seed=seed)):
        system, user = one.request["messages"]
        text = f"{number} {seed}: {private[number % len(private)]}\n{user['content']} {number}"
        yield one.with_(
            request={**one.request, "messages": [system, {**user, "content": text}]}, redacted=None
        )


def main(folder: str, kind: str, seconds: str) -> None:
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.pipeline import Pipeline
    from hetagent.learn.redact import Redactor
    from hetagent.learn.store import Store

    plain = kind == "patterns"
    redactor = Redactor(presidio=not plain, names=False if plain else None)
    made = _texts(os.getpid())
    redactor(next(made))  # models are loaded
    with Store(Path(folder) / "records.db", keys=FolderKeys(Path(folder) / "keys")) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        with Pipeline(store, redact=redactor) as pipeline:
            waiting: deque[Future[None]] = deque()
            while time.monotonic() - began < float(seconds):
                waiting.append(pipeline.submit(next(made)))
                if len(waiting) > AHEAD:
                    waiting.popleft().result()
        print(pipeline.kept.written / (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
