"""What `hetagent.Recorder` adds to a call of LiteLLM's: the same calls without and with it.

One program calls a small provider on loopback through LiteLLM, by turns without callbacks and with
a recorder that redacts and stores, one call at a time with a short rest between. Two figures: how
much later the answer is there, and how much processor time a call takes in all, with what LiteLLM's
and the recorder's own threads do afterwards.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.capture.gateway import REST, process, prompt
from benchmarks.report import Report

MOST_MS = 5.0
WITHOUT, WITH = "without", "with a recorder, redacted and stored"


def measure(report: Report, options: argparse.Namespace) -> None:
    """Measure it.

    Args:
        report: Gets the rows and targets.
        options: ``calls`` of each way and kind.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing is to be fetched
    import litellm

    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.recorder import Recorder
    from hetagent.learn.store import Store

    with process(["benchmarks.capture.upstream"]) as provider, tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        with (
            Store(folder / "records.db", keys=FolderKeys(folder / "keys")) as store,
            Recorder(store) as recorder,
        ):
            ways: dict[str, list[Any]] = {WITHOUT: [], WITH: [recorder]}
            for kind, call in _kinds(provider).items():
                took = _by_turns(ways, call, recorder, options.calls)
                _tell(report, kind, took)
            kept = recorder.flush(timeout=60)
            litellm.logging_callback_manager._reset_all_callbacks()
    report.row(part="callback: kept", written=kept.written, lost=kept.lost)


def _kinds(provider: str) -> dict[str, Callable[[str], None]]:
    import litellm

    def asked(text: str, *, stream: bool) -> Any:
        return litellm.completion(
            model="openai/bench", api_base=f"{provider}/v1", api_key="none", stream=stream,
            messages=[{"role": "user", "content": text}],
        )  # fmt: skip

    def whole(text: str) -> None:
        asked(text, stream=False)

    def streamed(text: str) -> None:
        for _ in asked(text, stream=True):
            pass

    return {"whole": whole, "a stream of sixty pieces, to its end": streamed}


def _by_turns(
    ways: dict[str, list[Any]], call: Callable[[str], None], recorder: Any, calls: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds until the answer, and of processor time until all is written, of each call."""
    import litellm

    warm = max(5, calls // 20)
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(calls + warm):
        text = prompt(f"{number} by {call.__name__}")
        for way, callbacks in ways.items():
            # LiteLLM goes on with callbacks that it has seen once.
            litellm.logging_callback_manager._reset_all_callbacks()
            litellm.callbacks = list(callbacks)
            cpu, began = time.process_time(), time.perf_counter()
            call(text)
            seconds = time.perf_counter() - began
            # LiteLLM tells its callbacks from a thread of its own, a moment later.
            time.sleep(REST)
            recorder.flush(timeout=10)
            if number >= warm:
                took[way].append((seconds, time.process_time() - cpu))
    return took


def _tell(report: Report, kind: str, took: dict[str, list[tuple[float, float]]]) -> None:
    without = statistics.median(seconds for seconds, _ in took[WITHOUT])
    for way, found in took.items():
        seconds = [one for one, _ in found]
        report.row(
            part="callback", way=way, measured=kind, calls=len(found),
            median_ms=statistics.median(seconds) * 1000,
            p90_ms=statistics.quantiles(seconds, n=10)[8] * 1000,
            added_ms=(statistics.median(seconds) - without) * 1000,
            processor_ms=statistics.median(cpu for _, cpu in found) * 1000,
        )  # fmt: skip
    added = (statistics.median(seconds for seconds, _ in took[WITH]) - without) * 1000
    report.target(
        f"callback: ms added at p50, {kind}", value=added, target=f"< {MOST_MS}",
        holds=added < MOST_MS,
    )  # fmt: skip
