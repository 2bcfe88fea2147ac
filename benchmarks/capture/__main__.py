"""Capturing calls: how fast records are kept, and what is lost when things fail.

    python -m benchmarks.capture --json capture.json

Parts: `writing` (records per second of 16 writers, into SQLite and PostgreSQL, encrypted),
`redacting` (the same with redaction), `killed` (kill -9 of the writers, and a crash of the server,
in mid-load), `full` (a full disk), `locked` (a locked database), `million` (a million records:
totals from Parquet, queries, memory), `gateway` and `callback` (what they add to a call). Takes
about half an hour on two cores; PostgreSQL's rows need Debian's package `postgresql`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from benchmarks.capture import (
    callback,
    full,
    gateway,
    killed,
    locked,
    million,
    redacting,
    writing,
)
from benchmarks.report import Report, arguments, main

PARTS: Mapping[str, Callable[[Report, argparse.Namespace], None]] = {
    "writing": writing.measure,
    "redacting": redacting.measure,
    "killed": killed.measure,
    "full": full.measure,
    "locked": locked.measure,
    "million": million.measure,
    "gateway": gateway.measure,
    "callback": callback.measure,
}


def measure(report: Report, options: argparse.Namespace) -> None:
    for name in options.parts:
        PARTS[name](report, options)


def parser() -> argparse.ArgumentParser:
    found = arguments(f"Capture: {', '.join(PARTS)}.")
    found.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    found.add_argument("--writers", type=int, default=16)
    found.add_argument("--seconds", type=float, default=10.0, help="of load, each time")
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--records", type=int, default=1_000_000, help="of the part `million`")
    found.add_argument(
        "--calls", type=int, default=gateway.CALLS, help="of each way, `gateway` and `callback`"
    )
    found.add_argument("--streams", type=int, default=gateway.STREAMS, help="at once, `gateway`")
    return found


if __name__ == "__main__":
    main(measure, parser())
