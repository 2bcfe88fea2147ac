"""What the gateway adds to a call: the same calls straight to a small provider and through it.

Provider, gateway and client are processes of their own on loopback. Calls alternate between the
ways, so that whatever else the machine does meets all of them alike, one at a time with a short
rest between. Ways: straight; through the gateway without recording; and with records counted alone,
in the store, and in the store after redaction.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Report

CALLS = 500
REST = 0.02  # seconds after a call, for what one way still does not to meet the next way's call
STREAMS = 200
MOST_MS = 5.0
PATH = "/v1/chat/completions"
PROMPT = "You book tables. The guest writes: a table for four at nine, please. " * 24
STRAIGHT = "straight"
KINDS = ("off", "memory", "store", "redacted")


def measure(report: Report, options: Any) -> None:
    """Measure it.

    Args:
        report: Gets the rows and targets.
        options: ``calls`` of each way and kind, and ``streams`` at once.
    """
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(process(["benchmarks.capture.upstream"]))
        ways = {STRAIGHT: provider}
        for kind in KINDS:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            arguments = ["benchmarks.capture.gateway", provider, kind, folder]
            ways[f"gateway, {_described(kind)}"] = stack.enter_context(process(arguments))
        _latencies(report, ways, options.calls)
        asyncio.run(_at_once(report, ways, options.streams))


def _latencies(report: Report, ways: dict[str, str], calls: int) -> None:
    import httpx

    parts = {"whole": False, "first piece of a stream": True}
    with httpx.Client(timeout=60) as client:
        took: dict[tuple[str, str], list[float]] = {}
        for number in range(calls + max(10, calls // 20)):
            for part, stream in parts.items():
                # Redaction remembers texts it has seen.
                body = _asked(f"{number} {part}", stream=stream)
                for way, base in ways.items():
                    seconds = _timed(client, base, body)
                    time.sleep(REST)
                    if number >= max(10, calls // 20):  # connections and caches are there
                        took.setdefault((way, part), []).append(seconds)
    for (way, part), found in took.items():
        straight = statistics.median(took[STRAIGHT, part])
        tenths = statistics.quantiles(found, n=100)
        report.row(
            part="gateway",
            way=way,
            measured=part,
            calls=len(found),
            median_ms=statistics.median(found) * 1000,
            p90_ms=tenths[89] * 1000,
            p99_ms=tenths[98] * 1000,
            added_ms=(statistics.median(found) - straight) * 1000,
        )
    fullest = list(ways)[-1]
    for part in parts:
        added = (
            statistics.median(took[fullest, part]) - statistics.median(took[STRAIGHT, part])
        ) * 1000
        report.target(
            f"{fullest}: ms added at p50, {part}",
            value=added,
            target=f"< {MOST_MS}",
            holds=added < MOST_MS,
        )


def prompt(what: str) -> str:
    """A prompt of some 400 tokens that ends in something of its own."""
    return f"{PROMPT}\n\n{what}"


def _asked(what: str, *, stream: bool) -> dict[str, Any]:
    message = {"role": "user", "content": prompt(what)}
    return {"model": "bench", "messages": [message], "stream": stream}


def _timed(client: Any, base: str, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    with client.stream("POST", base + PATH, json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        if body["stream"]:
            took = time.perf_counter() - began
            for _ in pieces:
                pass
            return took
        for _ in pieces:
            pass
        return time.perf_counter() - began


async def _at_once(report: Report, ways: dict[str, str], streams: int) -> None:
    """Streams of sixty events, ten milliseconds apart, all at the same time."""
    import httpx

    body = {**_asked("at once", stream=True), "metadata": {"pause": 0.01}}
    limits = httpx.Limits(max_connections=None)
    for way, base in ways.items():
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            began = time.perf_counter()
            answers = await asyncio.gather(
                *(client.post(base + PATH, json=body) for _ in range(streams))
            )
            took = time.perf_counter() - began
        report.row(
            part="streams at once",
            way=way,
            streams=streams,
            whole=sum(answer.content.endswith(b"[DONE]\n\n") for answer in answers),
            seconds=took,
        )


@contextlib.contextmanager
def process(arguments: Sequence[str]) -> Iterator[str]:
    """A server as a process, which prints its port; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate()


def _described(kind: str) -> str:
    return {
        "off": "nothing recorded",
        "memory": "records counted",
        "store": "records stored",
        "redacted": "records redacted and stored",
    }[kind]


class _Counting:
    """A store that keeps nothing, so that memory stays flat."""

    def __init__(self) -> None:
        self.count = 0

    def append(self, records: Sequence[Any]) -> None:
        self.count += len(records)


def _serve(upstream: str, kind: str, folder: Path) -> None:
    """The gateway's process."""
    from hetagent.gateway import Gateway, HttpUpstream
    from hetagent.gateway.server import run
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.pipeline import Pipeline
    from hetagent.learn.redact import Redactor
    from hetagent.learn.store import Store

    sys.setswitchinterval(0.0005)  # as `hetagent serve` has it
    pipeline = None
    if kind != "off":
        store: Any = _Counting()
        redact: Any = lambda record: record  # noqa: E731
        if kind != "memory":
            store = Store(folder / "records.db", keys=FolderKeys(folder / "keys"))
        if kind == "redacted":
            redact = Redactor()
        pipeline = Pipeline(store, redact=redact)
    gateway = Gateway(HttpUpstream(f"{upstream}/v1"), pipeline=pipeline)
    port = _free_port()
    run(gateway, port=port, ready=lambda: print(port, flush=True))


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The gateway's process of this benchmark.")
    parser.add_argument("upstream")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    _serve(given.upstream, given.kind, given.folder)
