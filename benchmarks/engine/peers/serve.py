"""What every measured process shares: it stays loaded and answers commands, one JSON a line.

Imports only the standard library, so that it runs in any virtual environment.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["System", "peak_rss", "run_threads", "serve"]


class System(Protocol):
    """A system under measurement.

    Attributes:
        facts: What is worth reporting of it: versions, settings.
        evaluated: Tokens given to the model so far, or ``None`` where that is not known.
    """

    facts: dict[str, Any]
    evaluated: int | None

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        """Load the weights.

        Args:
            workload: Skills and calls, as `benchmarks.engine.workloads.workload` writes them.
            options: ``model`` (path of the GGUF file), ``threads``, ``context`` (tokens),
                ``gpu_layers`` and ``instance_per_skill`` (whether skills without adapters have
                one each, too).
        """

    def answer(self, call: dict[str, Any]) -> str:
        """Answer one call: the label, or JSON."""


def serve(make: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Answer commands on standard input until it ends.

    ``load`` makes the system and calls each skill once; ``run`` answers some calls with some
    callers and says how long each took; any other command is a method of the system.
    """
    # Libraries print; what the driver reads must be ours alone.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    system: Any = None
    workload: dict[str, Any] = {}
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        if do == "load":
            with open(command["workload"], encoding="utf-8") as file:
                workload = json.load(file)
            began = time.perf_counter()
            system = make(workload, command["options"])
            loaded = time.perf_counter()
            _warm(system, workload)
            reply = {
                "load_seconds": loaded - began,
                "warm_seconds": time.perf_counter() - loaded,
                "facts": system.facts,
            }
        elif do == "run":
            calls = [workload["calls"][index] for index in command["calls"]]
            reply = _run(system, calls, command["callers"])
        else:
            reply = getattr(system, do)(**command)
        reply["peak_rss"] = peak_rss()
        print(json.dumps(reply), file=out, flush=True)


def _warm(system: Any, workload: dict[str, Any]) -> None:
    """Call every skill once: grammars are compiled and fixed prompts evaluated before the clock."""
    if hasattr(system, "warm"):
        system.warm()
        return
    for call in workload["warm"]:
        system.answer(call)


def _run(system: Any, calls: Sequence[dict[str, Any]], callers: int) -> dict[str, Any]:
    before = system.evaluated
    run = getattr(system, "run", None)
    reply: dict[str, Any] = run(calls, callers) if run else run_threads(system, calls, callers)
    known = before is not None and system.evaluated is not None
    reply["evaluated"] = system.evaluated - before if known else None
    return reply


def run_threads(system: Any, calls: Sequence[dict[str, Any]], callers: int) -> dict[str, Any]:
    """Each caller is a thread that takes the next call as soon as its last one is answered."""
    answers: list[str | None] = [None] * len(calls)
    seconds = [0.0] * len(calls)
    failures: list[BaseException] = []
    queue = iter(enumerate(calls))
    lock = threading.Lock()

    def caller() -> None:
        while not failures:
            with lock:
                index, call = next(queue, (None, None))
            if index is None or call is None:
                return
            began = time.perf_counter()
            try:
                answers[index] = system.answer(call)
            except BaseException as error:
                failures.append(error)
                raise
            seconds[index] = time.perf_counter() - began

    threads = [threading.Thread(target=caller) for _ in range(callers - 1)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    caller()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    if failures:
        raise failures[0]
    return {"wall": wall, "seconds": seconds, "answers": answers}


def peak_rss() -> int:
    """The most resident memory this process has had so far, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
