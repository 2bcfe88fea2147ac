"""How the cost of a call grows with labels, schema size, prompt length and callers.

    python -m benchmarks.engine_scaling --json scaling.json
    python -m benchmarks.charts scaling.json

Medians over rounds, in which all sizes of a part take turns. Weights in Q8_0.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, create_model

from benchmarks.engine.measure import say
from benchmarks.engine.skills import domain, slots
from benchmarks.engine.weights import requantized
from benchmarks.engine.workloads import rows_for
from benchmarks.report import Report, arguments, data_folder, main
from hetagent import LlamaCpp, Orchestrator, Skill, skill

LABELS = (2, 5, 10, 20, 40, 80, 150)
FIELDS = (1, 2, 4, 8, 12, 16, 20)
TOKENS = (100, 200, 400, 800, 1500, 3000)
CALLERS = (1, 2, 4, 8, 16, 32)
PARTS = ("labels", "fields", "prompt", "callers")
MANY = 16
CONTEXT = 4096
SENTENCES = (
    "The table by the window is taken, the one next to the bar is free until nine.",
    "A guest left a blue umbrella and asks whether somebody can send it to Bergen.",
    "On Sundays the kitchen closes early, and the terrace stays open when it is dry.",
    "Two of the waiters are ill this week; the new one starts on Thursday at noon.",
)


@dataclass(frozen=True)
class Case:
    """One size of one part.

    Attributes:
        line: Which line of the chart it belongs to.
        x: Its place on the axis.
        task: The skill.
        rows: Inputs, used in turn.
        callers: How many at once.
        calls: How many in a round.
    """

    line: str
    x: float
    task: Skill[..., Any]
    rows: Sequence[Any]
    callers: int
    calls: int


def measure(report: Report, options: Any) -> None:
    makers: dict[str, Callable[[Orchestrator], list[Case]]] = {
        "labels": label_cases,
        "fields": field_cases,
        "prompt": prompt_cases,
        "callers": caller_cases,
    }
    model = LlamaCpp(
        requantized("Q8_0"),
        context=CONTEXT,
        kv_tokens=4 * CONTEXT,
        parallel=max(CALLERS),
        threads=options.threads,
    )
    with model.load():
        agent = Orchestrator(slm=model, policy=0.0, progress=False)
        for part in options.parts:
            cases = makers[part](agent)
            measure_part(report, part, cases, agent=agent, model=model, rounds=options.rounds)


def measure_part(
    report: Report,
    part: str,
    cases: Sequence[Case],
    *,
    agent: Orchestrator,
    model: LlamaCpp,
    rounds: int,
) -> None:
    seconds: dict[int, list[float]] = defaultdict(list)
    evaluated: dict[int, list[float]] = defaultdict(list)
    for number in range(rounds):
        for index, case in enumerate(cases):
            run(agent, case, calls=1)  # compiles, and evaluates the fixed prompt
            before = model.stats().evaluated
            seconds[index].append(run(agent, case, calls=case.calls) / case.calls)
            evaluated[index].append((model.stats().evaluated - before) / case.calls)
            say(f"{part}, round {number + 1}: {case.line}, {case.x:g}: {seconds[index][-1]:.4f} s")
    for index, case in enumerate(cases):
        report.row(
            part=part,
            line=case.line,
            x=case.x,
            callers=case.callers,
            ms_per_call=statistics.median(seconds[index]) * 1e3,
            low=min(seconds[index]) * 1e3,
            high=max(seconds[index]) * 1e3,
            tokens=statistics.median(evaluated[index]),
        )


def run(agent: Orchestrator, case: Case, *, calls: int) -> float:
    """Seconds that some calls take, as many at once as the case says."""
    rows: Iterator[Any] = iter([case.rows[n % len(case.rows)] for n in range(calls)])
    lock = threading.Lock()
    failures: list[Exception] = []

    def caller() -> None:
        while not failures:
            with lock:
                row = next(rows, None)
            if row is None:
                return
            args, kwargs = case.task.bind_row(row)
            try:
                agent.run(case.task, *args, **kwargs)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=caller) for _ in range(min(case.callers, calls))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - began


def label_cases(agent: Orchestrator) -> list[Case]:
    del agent
    text = (data_folder("clinc150") / "domains.json").read_text(encoding="utf-8")
    intents = [name for names in json.loads(text).values() for name in names]
    cases = []
    for count in LABELS:
        labels = tuple(intents[:: len(intents) // count][:count])

        @skill(output=Literal[labels])
        def intent(utterance: str):  # type: ignore[no-untyped-def]
            """Say what the user of a voice assistant wants."""

        rows = rows_for(intent, 64)
        cases.append(Case("1 caller", count, intent, rows, 1, 8))
        cases.append(Case(f"{MANY} callers", count, intent, rows, MANY, 2 * MANY))
    return cases


def field_cases(agent: Orchestrator) -> list[Case]:
    del agent
    cases = []
    for count in FIELDS:
        fields: dict[str, Any] = {
            f"detail_{number}": (
                str | None,
                Field(max_length=16, description="a word that is stated, or null"),
            )
            for number in range(1, count + 1)
        }
        record = create_model("Details", **fields)

        @skill(output=record)
        def details(just_asked_for: str, message: str):  # type: ignore[no-untyped-def]
            """Copy details out of a guest's message to a restaurant, word for word."""

        rows = rows_for(slots, 64)
        cases.append(Case("1 caller", count, details, rows, 1, 3))
        cases.append(Case(f"{MANY} callers", count, details, rows, MANY, MANY))
    return cases


def prompt_cases(agent: Orchestrator) -> list[Case]:
    """The same length as the call's own input, and as the skill's fixed instructions."""
    cases = []
    for count in TOKENS:
        long = text_of(agent, count)

        @skill(instructions=f"Say whether the guest is content.\n\n{long}")
        def content(message: str) -> Literal["yes", "no"]: ...

        @skill
        def mood(message: str) -> Literal["yes", "no"]:
            """Say whether the guest is content."""

        rows = rows_for(domain, 8)
        cases.append(Case("instructions", count, content, rows, 1, 8))
        cases.append(Case("input", count, mood, [f"{row} {long}" for row in rows], 1, 2))
    return cases


def text_of(agent: Orchestrator, tokens: int) -> str:
    """Plain prose that adds about so many tokens to a prompt."""

    @skill
    def probe(message: str) -> Literal["yes", "no"]:
        """Say whether the guest is content."""

    def length(sentences: int) -> int:
        return agent.run(probe, prose(sentences)).usage.prompt_tokens

    per_sentence = (length(9) - length(1)) / 8
    return prose(round(tokens / per_sentence))


def prose(sentences: int) -> str:
    return " ".join(SENTENCES[number % len(SENTENCES)] for number in range(sentences))


def caller_cases(agent: Orchestrator) -> list[Case]:
    del agent
    cases = []
    for count in CALLERS:
        cases.append(Case("choice, 10 labels", count, domain, rows_for(domain, 64), count, 64))
        cases.append(Case("record, 5 slots", count, slots, rows_for(slots, 64), count, 32))
    return cases


def names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    parser = arguments("How the cost of a call grows.")
    parser.add_argument("--parts", type=names, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    main(measure, parser)
