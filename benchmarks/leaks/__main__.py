"""Whether a raw value of the labelled set is in anything that recording calls leaves behind.

    python -m benchmarks.leaks --json leaks.json

Every case is said in calls by all three ways in: a gateway in a process of its own, LiteLLM's
callback, the orchestrator; whole, in streams, as arguments of tools, in errors, in headers and in
addresses. Then the database, its log, what was logged at DEBUG, temporary files, and everything
that can be exported or made of records is searched for every value, in every encoding it may have.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.leaks.cases import all_cases
from benchmarks.leaks.run import Leak, Result, run
from benchmarks.report import Report, arguments, main


def measure(report: Report, options: Any) -> None:
    cases = all_cases()[: options.cases]
    with tempfile.TemporaryDirectory(prefix="hetagent-leaks-") as folder:
        where = Path(options.folder or folder).resolve()
        where.mkdir(parents=True, exist_ok=True)
        result = run(where, cases)
    report.row(
        part="calls",
        cases=len(cases),
        values=len({value for case in cases for value in case.values}),
        searched_in_files=result.values,
        **{f"calls by {way}": count for way, count in result.calls.items()},
        records=result.records,
        lost=result.lost,
        failed_commands=len(result.failed),
    )
    for when, (files, size) in result.read.items():
        leaks = [leak for leak in result.in_files if leak.where.startswith(when)]
        report.row(part="search", when=when, files=files, bytes=size, found=len(leaks))
    report.row(part="search", when="decrypted", files=result.records, found=len(result.in_records))
    found: dict[str, list[Leak]] = {}
    for leak in [*result.in_records, *result.in_files]:
        found.setdefault(leak.value, []).append(leak)
    for value, leaks in found.items():
        where, around = leaks[0].where, leaks[0].around
        report.row(part="found", value=value[:40], places=len(leaks), where=where, around=around)
    for words in result.failed:
        report.row(part="failed", command=words)
    judge(report, result)


def judge(report: Report, result: Result) -> None:
    for name, leaks in (("in files", result.in_files), ("in records", result.in_records)):
        distinct = len(_values(leaks))
        report.target(f"raw values found {name}", value=distinct, target="= 0", holds=distinct == 0)
    report.target("calls not recorded", value=result.lost, target="= 0", holds=result.lost == 0)
    failed = len(result.failed)
    report.target("commands that failed", value=failed, target="= 0", holds=failed == 0)


def _values(leaks: list[Leak]) -> set[str]:
    return {leak.value for leak in leaks}


if __name__ == "__main__":
    parser = arguments("Whether a raw value is in anything that is written.")
    parser.add_argument("--cases", type=int, help="only so many cases")
    parser.add_argument("--folder", help="keep everything in this folder, to look at it")
    main(measure, parser)
