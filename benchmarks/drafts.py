"""Drafts: how much do guesses of the next tokens save, and up to how many callers?

    python -m benchmarks.drafts --json drafts.json

Restaurants-8k turns with the five-slot skill of `benchmarks.skills`, on SmolLM2 in Q8_0: with
different numbers of guesses for one caller, then with guesses and without for several. Rounds are
interleaved. About ten minutes on two cores.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.engine.measure import say
from benchmarks.engine.weights import requantized
from benchmarks.report import Report, arguments, data_folder, main
from benchmarks.skills import SEED, asked_for, slots
from hetagent import LlamaCpp, Orchestrator
from hetagent.engine import batching, constrained

GUESSES = (0, 1, 2, 3, 4, 6, 8)
CALLERS = (1, 2, 4, 8, 16)
# Any number of callers.
ALWAYS = 64


def measure(report: Report, options: Any) -> None:
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    cases = random.Random(SEED).sample(turns, options.turns)
    rows = [(asked_for(case), case["userInput"]["text"]) for case in cases]
    usual = constrained._GUESSES
    ways = [("guesses", count, 1) for count in GUESSES]
    ways += [("callers", count, callers) for callers in CALLERS for count in (0, usual)]
    found: dict[Any, list[dict[str, float]]] = defaultdict(list)
    with LlamaCpp(requantized("Q8_0"), threads=options.threads) as model:
        run(model, rows[:2], callers=1)
        for number in range(options.rounds):
            for way in ways:
                _, count, callers = way
                # Nothing of this is an option: the engine's own choice is what is tried here.
                constrained._GUESSES = count
                batching._GUESSING = ALWAYS if count else 0
                found[way].append(run(model, rows, callers=callers))
                say(f"round {number + 1}, {way}: {found[way][-1]['calls_per_s']:.2f} calls/s")
    for (part, count, callers), figures in found.items():
        rates = [one["calls_per_s"] for one in figures]
        report.row(
            part=part,
            guesses=count,
            callers=callers,
            calls_per_s=statistics.median(rates),
            low=min(rates),
            high=max(rates),
            evaluations=statistics.median(one["evaluations"] for one in figures),
            tokens=statistics.median(one["tokens"] for one in figures),
        )


def run(model: LlamaCpp, rows: Sequence[Any], *, callers: int) -> dict[str, float]:
    """Calls a second; evaluations and evaluated tokens per call."""
    agent = Orchestrator(model, policy=0.0, progress=False)
    before = model.stats()
    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(lambda row: agent.run(slots, *row), rows))
    seconds = time.perf_counter() - began
    after = model.stats()
    return {
        "calls_per_s": len(rows) / seconds,
        "evaluations": (after.evaluations - before.evaluations) / len(rows),
        "tokens": (after.evaluated - before.evaluated) / len(rows),
    }


if __name__ == "__main__":
    options = arguments("Guesses of the next tokens.")
    options.add_argument("--turns", type=int, default=32, help="how many turns")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    main(measure, options)
