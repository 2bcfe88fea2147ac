"""Whether a million records are curated in bounded memory, and what is found among them.

    python -m benchmarks.capture.curation --json curation.json --curation-records 1000000

A stream is made as it is read: ten tasks with instructions of their own, a share of copies, of
prompts with one word changed, and of calls that are no good. Each size is curated by a process of
its own, whose peak of memory is that of curation, the generator's few bytes included.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.report import CannotMeasureError, Report, arguments, main

__all__ = ["add_options", "measure"]

PART = "curation of a stream"
RECORDS = 200_000
WORDS = 60
VOCABULARY = 20_000
MOST_MB = 1024
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_EVERY = 10


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--curation-records", type=int, default=RECORDS, help=f"records of the stream ({RECORDS:,})"
    )


def measure(report: Report, options: argparse.Namespace) -> None:
    """A row for an eighth, a quarter and all of the records, and the targets."""
    records = getattr(options, "curation_records", RECORDS)
    sizes = [records // 8, records // 4, records]
    found = [_row(report, size) for size in sizes]
    small, _, large = found
    growth = (large["peak_mb"] - small["peak_mb"]) * 2**20 / (large["records"] - small["records"])
    report.target(
        f"{records:,} records: peak memory, MB", value=large["peak_mb"], target=f"<= {MOST_MB}",
        holds=large["peak_mb"] <= MOST_MB,
    )  # fmt: skip
    report.target(
        "memory for each further record, bytes", value=growth, target="<= 500", holds=growth <= 500
    )
    report.target(
        "a million records at that rate: peak memory, MB",
        value=large["peak_mb"] + max(0.0, growth) * max(0, 1_000_000 - records) / 2**20,
        target=f"<= {MOST_MB}",
        holds=large["peak_mb"] + max(0.0, growth) * max(0, 1_000_000 - records) / 2**20 <= MOST_MB,
    )
    for kind in ("copies", "near_duplicates", "faults"):
        share = large[f"{kind}_removed"] / large[f"{kind}_made"]
        # More than all would be others that were taken for such.
        report.target(
            f"{kind} removed of those made", value=share, target="0.99 to 1",
            holds=0.99 <= share <= 1,
        )  # fmt: skip
    same = len({one["hash"] for one in (small, _row(report, sizes[0], backwards=True))}) == 1
    report.target(
        "the same content hash from the stream backwards", value=float(same), target="== 1",
        holds=same,
    )  # fmt: skip


def _row(report: Report, records: int, *, backwards: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.capture.curation", "--child", str(records)]
    done = subprocess.run(
        [*command, *(["--backwards"] if backwards else [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CannotMeasureError(f"curating {records} records failed: {done.stderr[-800:]}")
    facts = json.loads(done.stdout)
    report.row(part=PART, records=records, order="backwards" if backwards else "forwards", **facts)
    return {"records": records, **facts}


def stream(records: int, *, backwards: bool = False) -> Iterator[Any]:
    """Records made one by one; the same number is always the same record."""
    for number in range(records - 1, -1, -1) if backwards else range(records):
        yield _record(number)


def _kind(number: int) -> str:
    """Of ten records, six say something new, one each is a copy, near, no good, and a turn."""
    return {6: "copy", 7: "near", 8: "fault", 9: "turn"}.get(number % _EVERY, "new")


def _text(number: int) -> list[str]:
    rng = random.Random(number)
    return [f"w{rng.randrange(VOCABULARY)}" for _ in range(WORDS)]


def _record(number: int) -> Any:
    from hetagent.learn.record import CallRecord

    kind, task = _kind(number), number // _EVERY % 10
    earlier = number - number % _EVERY - _EVERY * (number % 7) if number >= 100 else 0
    base = max(0, earlier) if kind in ("copy", "near") else number
    task = base // _EVERY % 10 if kind in ("copy", "near") else task
    words = _text(base)
    if kind == "near":
        words[number // _EVERY % WORDS] = f"changed{number}"
    instructions = " ".join(f"task{task}rule{at}" for at in range(80))
    answer = f"label{base % 7}"
    return CallRecord(
        id=f"{number:032x}",
        time=_BEGIN + timedelta(seconds=number),
        form="openai.chat",
        source="import",
        model="teacher",
        trainable="trainable",
        redacted={},
        conversation_id=f"c{number // 50}" if kind == "turn" else None,
        request={
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": f"Message of task {task}: {' '.join(words)}"},
            ]
        },
        response={
            "choices": [
                {
                    "finish_reason": "length" if kind == "fault" else "stop",
                    "message": {"role": "assistant", "content": answer},
                }
            ]
        },
    )


class _Largest:
    """The most bytes a folder holds while something runs in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> _Largest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            self.bytes = max(self.bytes, self._now())

    def _now(self) -> int:
        total = 0
        for path in self._folder.rglob("*"):
            try:
                total += path.stat().st_blocks * 512
            except OSError:  # it is gone again
                continue
        return total


def child(records: int, *, backwards: bool) -> dict[str, Any]:
    """Curate a stream in this process."""
    from hetagent.learn.curate import curate

    before = _peak_mb()
    with tempfile.TemporaryDirectory() as folder, _Largest(Path(folder)) as largest:
        begun, used = time.perf_counter(), time.process_time()
        dataset = curate(stream(records, backwards=backwards), to=Path(folder) / "set")
        seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    steps = {step.name: step.removed for step in dataset.report.steps}
    kinds = [_kind(number) for number in range(records)]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "records_per_second": records / seconds,
        "examples": len(dataset),
        "peak_mb": _peak_mb(),
        "at_start_mb": before,
        "disk_mb": largest.bytes / 2**20,
        "copies_made": kinds.count("copy"),
        "copies_removed": steps["duplicates"],
        "near_duplicates_made": kinds.count("near"),
        "near_duplicates_removed": steps["near-duplicates"],
        "faults_made": kinds.count("fault"),
        "faults_removed": steps["response"],
        "hash": dataset.hash,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = arguments("Curation of a large stream of records.")
    add_options(parser)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--backwards", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is None:
        main(measure, parser)
    else:
        print(json.dumps(child(chosen.child, backwards=chosen.backwards)))
