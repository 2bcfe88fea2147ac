"""Forced tokens at once, against every token from the model: are the answers as good?

    python -m benchmarks.forcing --json forcing.json

Decodes Restaurants-8k turns with the five-slot skill of `benchmarks.skills` twice: as hetagent
does, and with every token evaluated and chosen under the mask, one by one. About five minutes on
two cores.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.report import Report, arguments, data_folder, main
from benchmarks.skills import SEED, SMALL, asked_for, labelled_slots, slot_scores, slots
from hetagent import LlamaCpp, Orchestrator, Outcome
from hetagent.constraint import Matcher


@contextlib.contextmanager
def one_by_one() -> Iterator[None]:
    """Let nothing be known to be forced before the model is asked."""
    known = Matcher.forced_tokens
    Matcher.forced_tokens = lambda _: []  # type: ignore[method-assign]
    try:
        yield
    finally:
        Matcher.forced_tokens = known  # type: ignore[method-assign]


def measure(report: Report, options: Any) -> None:
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    cases = random.Random(SEED).sample(turns, options.turns)
    rows = [(asked_for(case), case["userInput"]["text"]) for case in cases]
    labels = [labelled_slots(case) for case in cases]
    for name in options.models:
        with LlamaCpp(name).load() as model:
            at_once, facts = answers(model, rows)
            with one_by_one():
                singly, facts_singly = answers(model, rows)
        for way, outcomes, more in (("at once", at_once, facts), ("singly", singly, facts_singly)):
            given = [outcome.value.model_dump() if outcome.value else {} for outcome in outcomes]
            report.row(
                part="forcing",
                model=name,
                way=way,
                n=len(rows),
                **slot_scores(given, labels),
                **more,
            )
        pairs = list(zip(at_once, singly, strict=True))
        changed = statistics.mean(one.value != other.value for one, other in pairs)
        report.row(part="forcing", model=name, way="values that differ", share=changed)
        f1 = [row["slot_f1"] for row in report.rows if row["model"] == name and "slot_f1" in row]
        report.target(
            f"{name}: slot F1 with forced tokens at once, less that without",
            value=f1[0] - f1[1],
            target=">= -0.01",
            holds=f1[0] - f1[1] >= -0.01,
        )


def answers(model: LlamaCpp, rows: Sequence[Any]) -> tuple[list[Outcome[Any]], dict[str, float]]:
    agent = Orchestrator(model, policy=0.0, concurrency=16)
    agent.map(slots, rows[:1])
    before = model.stats()
    began = time.perf_counter()
    outcomes = agent.map(slots, rows)
    seconds = time.perf_counter() - began
    after = model.stats()
    return outcomes, {
        "calls_per_s": len(rows) / seconds,
        "tokens_per_call": (after.evaluated - before.evaluated) / len(rows),
        "evaluations": after.evaluations - before.evaluations,
    }


if __name__ == "__main__":
    options = arguments("Forced tokens at once, or one by one.")
    options.add_argument("--models", nargs="+", default=[SMALL])
    options.add_argument("--turns", type=int, default=200, help="how many turns")
    main(measure, options)
