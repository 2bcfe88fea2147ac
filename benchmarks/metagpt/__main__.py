"""The real MetaGPT, pointed at the gateway by `base_url` alone, and what its records show.

    nox -s metagpt
    python -m benchmarks.metagpt --json metagpt.json --keep metagpt.jsonl
    python -m benchmarks.metagpt --json metagpt.json --records metagpt.jsonl

MetaGPT 0.8.2 runs unmodified in an environment of its own: its software company, on small ideas,
several at a time, until the time is used up. `hetagent serve` answers for `gpt-4-turbo` with a
local model. Then the records are read back, redacted as they were kept, and searched for
workloads. `--records` reports on an earlier run's. No stage of a company's work begins after
`--minutes`; the last ones take a few more.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.metagpt import found, settings
from benchmarks.report import CannotMeasureError, Report, arguments, main

ROOT = Path(__file__).parents[2]
ASKED_FOR = "gpt-4-turbo"


def measure(report: Report, options: Any) -> None:
    """Run MetaGPT, unless earlier records are given, and report what was recorded."""
    if options.records is not None:
        found.report_on(report, options.records)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        kept = options.keep or folder / "records.jsonl"
        try:
            served = _run(report, folder, options)
        finally:
            if (folder / "calls.db").exists():
                found.keep(folder / "calls.db", kept, keys=folder / "keys")
        found.compare(report, served, kept)
        found.report_on(report, kept)


def _run(report: Report, folder: Path, options: Any) -> dict[str, Any]:
    """Build ideas through the gateway, some at once; what the gateway says it did."""
    python = interpreter(options.venvs)
    ends = time.monotonic() + 60 * options.minutes
    with _gateway(folder, options) as (base_url, summary):
        text = settings.config_text(base_url, model=ASKED_FOR, max_token=options.max_token)

        def build(idea: settings.Idea) -> list[dict[str, Any]]:
            home = folder / idea.name
            settings.prepare(home, text)
            return _build(python, idea, home, ends, options.logs)

        with ThreadPoolExecutor(options.at_once) as pool:
            for idea, stages in zip(
                settings.IDEAS, pool.map(build, settings.IDEAS[: options.ideas]), strict=False
            ):
                for stage in stages:
                    report.row(part="stages", idea=idea.name, **stage)
    return summary


def _build(
    python: str, idea: settings.Idea, home: Path, ends: float, logs: Path | None
) -> list[dict[str, Any]]:
    """One company's run: what it says of each of its stages; nothing where the time is over."""
    left = ends - time.monotonic()
    if left <= 0:
        return []
    script = str(Path(__file__).with_name("company.py"))
    command = [python, script, idea.to_json(), "--seconds", str(left)]
    with _log(logs, idea.name) as log:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=home,
            env=settings.environment(home),
            check=False,
        )
    stages = [json.loads(line) for line in done.stdout.splitlines()]
    if not stages:
        raise CannotMeasureError(
            f"MetaGPT ended with status {done.returncode} before its first stage; --logs FOLDER "
            "keeps what it said."
        )
    if used := stages[-1]["used"]:
        raise CannotMeasureError(f"Packages that are stood in for were used: {used}.")
    print(f"{idea.name}: {len(stages)} stages", file=sys.stderr, flush=True)
    return stages


@contextmanager
def _gateway(folder: Path, options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """`hetagent serve` in a process of its own: base URL, and what it did, filled in at its end."""
    command = [sys.executable, "-m", "hetagent", "serve", "--json", "--port", str(_free_port())]
    command += ["--model", f"{ASKED_FOR}={options.model}", "--context", str(options.context)]
    command += ["--records", str(folder / "calls.db")]
    environment = {**os.environ, "HETAGENT_KEYS": str(folder / "keys")}
    # What MetaGPT runs beside it must not wait for threads that spin.
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    summary: dict[str, Any] = {}
    try:
        line = process.stdout.readline()
        if not line:
            raise CannotMeasureError("hetagent serve did not start; it says why above.")
        yield json.loads(line)["base_url"], summary
        process.terminate()
        last, _ = process.communicate(timeout=120)
        summary.update(json.loads(last))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def _log(folder: Path | None, name: str) -> Iterator[IO[str] | int]:
    if folder is None:
        yield subprocess.DEVNULL
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("w", encoding="utf-8") as file:
        yield file


def _free_port() -> int:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        return int(given.getsockname()[1])


def interpreter(venvs: Path) -> str:
    """The Python of MetaGPT's environment.

    Raises:
        CannotMeasureError: There is none.
    """
    # nox writes Python's version after the name.
    for folder in sorted(venvs.glob("metagpt*")):
        python = folder / "bin" / "python"
        if python.exists():
            return str(python)
    raise CannotMeasureError(
        f"MetaGPT's environment is not in {venvs}. Make it with `nox -s metagpt`, or name another "
        "folder with --venvs."
    )


if __name__ == "__main__":
    parser = arguments("MetaGPT recorded through the gateway, and its workloads.")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".nox", help="where nox keeps it")
    parser.add_argument("--minutes", type=float, default=15, help="nothing is begun after them")
    parser.add_argument("--at-once", type=int, default=4, help="ideas that are built side by side")
    parser.add_argument("--ideas", type=int, default=len(settings.IDEAS), help="at most")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b-instruct")
    parser.add_argument("--context", type=int, default=8192, help="tokens of prompt and answer")
    parser.add_argument("--max-token", type=int, default=1024, help="of an answer")
    parser.add_argument("--records", type=Path, help="report on these, and run nothing")
    parser.add_argument("--keep", type=Path, help="keep the records in this file")
    parser.add_argument("--logs", type=Path, help="keep what MetaGPT says in this folder")
    main(measure, parser)
