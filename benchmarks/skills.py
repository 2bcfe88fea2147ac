"""Skills on real input: how good, how sure, how fast, and what hetagent itself costs.

    python -m benchmarks.skills --json skills.json

Parts: `domains` (a ten-way choice on CLINC150), `slots` (a five-slot record on Restaurants-8k),
`exact` (probabilities against a brute-force computation on F32 weights), `overhead`. Takes about
half an hour on two cores; `--parts` and `--models` narrow it.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from benchmarks.brute_force import exact_choice_gap, exact_record_gap
from benchmarks.report import Report, arguments, auroc, data_folder, main, risk_at
from hetagent import Answer, LlamaCpp, Orchestrator, Outcome, Scripted, skill
from hetagent.engine.quantize import requantise
from hetagent.models.fetch import resolve

MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct")
SMALL, LARGE = MODELS
PARTS = ("domains", "slots", "exact", "overhead")
SLOTS = ("date", "time", "people", "first_name", "last_name")
SEED = 20261121

Domain = Literal[
    "banking",
    "credit_cards",
    "kitchen_and_dining",
    "home",
    "auto_and_commute",
    "travel",
    "utility",
    "work",
    "small_talk",
    "meta",
]


@skill
def domain(utterance: str) -> Domain:
    """Say which part of a voice assistant should handle what its user said.

    banking: accounts, balances, transfers, bills, payments to people, fraud, taxes on interest.
    credit_cards: applying for, losing or using a credit card; its limit, score, rewards and rates.
    kitchen_and_dining: cooking, recipes, ingredients, food facts, restaurants and reservations.
    home: music, lists, reminders, calendar, orders and shopping, smart devices of the household.
    auto_and_commute: the car, its parts and service, fuel, traffic, directions, distance, rides.
    travel: flights, hotels, luggage, visas, plans, phrases and advice for trips, car rental.
    utility: time, weather, alarms, timers, calculations, definitions, spelling, calls, texts, dice.
    work: salary, taxes withheld, holidays and sick leave, meetings, insurance, retirement plans.
    small_talk: greetings, thanks, jokes, and questions about the assistant as if it were a person.
    meta: how the assistant works: yes, no, repeat, cancel, its language, name, volume, speed.
    """


# Names that share their beginnings, so that the trie of labels branches below its root.
Intent = Literal[
    "credit_limit",
    "credit_limit_change",
    "credit_score",
    "restaurant_reservation",
    "restaurant_reviews",
    "restaurant_suggestion",
    "change_accent",
    "change_ai_name",
    "change_language",
    "pto_balance",
    "pto_request",
    "pto_request_status",
]


@skill
def intent(utterance: str) -> Intent:
    """Say what the user of a voice assistant wants."""


Copied = Annotated[str, Field(max_length=40)]


class Slots(BaseModel):
    date: Copied | None = Field(description="day of the booking, as written; null if not stated")
    time: Copied | None = Field(description="time of the booking, as written; null if not stated")
    people: Copied | None = Field(description="how many people, as written; null if not stated")
    first_name: Copied | None = Field(description="the guest's first name; null if not stated")
    last_name: Copied | None = Field(description="the guest's last name; null if not stated")


@skill(
    examples=[
        (
            ("", "Hello, a table for three this evening at 18:30 please."),
            Slots(
                date="this evening", time="18:30", people="three", first_name=None, last_name=None
            ),
        ),
        (
            ("first_name, last_name", "Martha Oduya"),
            Slots(date=None, time=None, people=None, first_name="Martha", last_name="Oduya"),
        ),
        (
            ("", "do you have parking?"),
            Slots(date=None, time=None, people=None, first_name=None, last_name=None),
        ),
    ]
)
def slots(just_asked_for: str, message: str) -> Slots:
    """Copy the booking details out of a guest's message to a restaurant, word for word."""


def measure(report: Report, options: Any) -> None:
    wanted = options.parts or PARTS
    for name in options.models or MODELS:
        if "domains" in wanted:
            measure_domains(report, name, count=options.domains)
        if "slots" in wanted:
            measure_slots(report, name, count=options.slots)
    if "exact" in wanted:
        measure_exactness(report)
    if "overhead" in wanted:
        measure_overhead(report)


def measure_domains(report: Report, name: str, *, count: int) -> None:
    folder = data_folder("clinc150")
    full = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    home_of = {intent: area for area, intents in domains.items() for intent in intents}
    cases = random.Random(SEED).sample(full["test"], count)
    labels = [home_of[intent] for _, intent in cases]
    outcomes, seconds = answer(name, domain, [text for text, _ in cases])
    sure = [outcome.confidence or 0.0 for outcome in outcomes]
    right = [outcome.value == label for outcome, label in zip(outcomes, labels, strict=True)]
    area = auroc(sure, right)
    report.row(
        part="domains",
        model=name,
        n=count,
        accuracy=statistics.mean(right),
        risk_at_50=risk_at(sure, right, 0.5),
        risk_at_80=risk_at(sure, right, 0.8),
        risk_at_100=risk_at(sure, right, 1.0),
        auroc=area.value,
        auroc_low=area.low,
        auroc_high=area.high,
        calls_per_s=count / seconds,
    )
    for (text, _), label, outcome in zip(cases, labels, outcomes, strict=True):
        report.row(
            part="domains",
            raw=True,
            model=name,
            text=text,
            label=label,
            value=outcome.value,
            confidence=outcome.confidence,
            seconds=outcome.seconds,
        )
    if name == LARGE:
        report.target(
            "domains: lower bound of Qwen's AUROC",
            value=area.low,
            target="> 0.5",
            holds=area.low > 0.5,
        )


def measure_slots(report: Report, name: str, *, count: int) -> None:
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    cases = random.Random(SEED).sample(turns, count)
    labels = [labelled_slots(case) for case in cases]
    rows = [(asked_for(case), case["userInput"]["text"]) for case in cases]
    outcomes, seconds = answer(name, slots, rows)
    valid = [isinstance(outcome.value, Slots) for outcome in outcomes]
    given = [o.value.model_dump() if isinstance(o.value, Slots) else {} for o in outcomes]
    report.row(
        part="slots",
        model=name,
        n=count,
        valid=statistics.mean(valid),
        **slot_scores(given, labels),
        calls_per_s=count / seconds,
    )
    for slot in (*SLOTS, "all"):
        report.row(part="slot fields", model=name, **field_scores(slot, outcomes, given, labels))
    for row, label, outcome, values in zip(rows, labels, outcomes, given, strict=True):
        report.row(
            part="slots",
            raw=True,
            model=name,
            asked=row[0],
            text=row[1],
            label=label,
            value=values,
            confidence=outcome.confidence,
            fields={path: one.confidence for path, one in outcome.fields.items()},
            reason=outcome.reason,
            seconds=outcome.seconds,
        )
    report.target(
        f"slots: valid answers of {name}",
        value=statistics.mean(valid),
        target="= 1",
        holds=all(valid),
    )


def answer(name: str, task: Any, rows: Sequence[Any]) -> tuple[list[Outcome[Any]], float]:
    """All answers of a model, accepted however unsure, and the seconds they took."""
    with LlamaCpp(name).load() as model:
        agent = Orchestrator(model, policy=0.0)
        agent.map(task, rows[:1])  # compiles the constraint and evaluates the fixed prompt
        began = time.perf_counter()
        outcomes = agent.map(task, rows)
        return outcomes, time.perf_counter() - began


def asked_for(case: Mapping[str, Any]) -> str:
    return ", ".join(case.get("context", {}).get("requestedSlots", []))


def labelled_slots(case: Mapping[str, Any]) -> dict[str, str | None]:
    """The slots' texts; several spans of one slot leave the first."""
    found: dict[str, str | None] = dict.fromkeys(SLOTS)
    for label in case.get("labels", []):
        span = label.get("valueSpan", {})
        text = case["userInput"]["text"][span.get("startIndex", 0) : span.get("endIndex")]
        if found.get(label["slot"]) is None:
            found[label["slot"]] = text
    return found


def same(value: str | None, label: str | None) -> bool:
    return normal(value) == normal(label)


def normal(text: str | None) -> str | None:
    """Letter case and outer punctuation aside."""
    return None if text is None else re.sub(r"^\W+|\W+$", "", text).casefold() or None


def slot_scores(given: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> Any:
    """Micro-averaged over slots: a filled slot counts where its text is the labelled one."""
    pairs = [
        (normal(values.get(slot)), normal(label[slot]))
        for values, label in zip(given, labels, strict=True)
        for slot in SLOTS
    ]
    hits = sum(value is not None and value == label for value, label in pairs)
    filled = sum(value is not None for value, _ in pairs)
    wanted = sum(label is not None for _, label in pairs)
    precision, recall = hits / max(1, filled), hits / max(1, wanted)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    whole = [
        all(same(values.get(slot), label[slot]) for slot in SLOTS)
        for values, label in zip(given, labels, strict=True)
    ]
    return {
        "slot_f1": f1,
        "precision": precision,
        "recall": recall,
        "whole_right": statistics.mean(whole),
    }


def field_scores(
    slot: str,
    outcomes: Sequence[Outcome[Any]],
    given: Sequence[Mapping[str, Any]],
    labels: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """How well a field's confidence tells right from wrong, overall and where it was filled."""
    cases = [
        (outcome.fields[name].confidence or 0.0, same(values.get(name), label[name]), values[name])
        for outcome, values, label in zip(outcomes, given, labels, strict=True)
        for name in (SLOTS if slot == "all" else (slot,))
        if name in outcome.fields
    ]
    filled = [case for case in cases if case[2] is not None]
    overall = auroc([c[0] for c in cases], [c[1] for c in cases])
    non_null = auroc([c[0] for c in filled], [c[1] for c in filled]) if filled else None
    return {
        "slot": slot,
        "n": len(cases),
        "right": statistics.mean(c[1] for c in cases),
        "auroc": overall.value,
        "low": overall.low,
        "high": overall.high,
        "n_filled": len(filled),
        "right_filled": statistics.mean(c[1] for c in filled) if filled else None,
        "auroc_filled": non_null.value if non_null else None,
        "low_filled": non_null.low if non_null else None,
        "high_filled": non_null.high if non_null else None,
    }


def measure_exactness(report: Report) -> None:
    full = json.loads((data_folder("clinc150") / "data_full.json").read_text(encoding="utf-8"))
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    generator = random.Random(SEED)
    texts = [text for text, _ in generator.sample(full["test"], 8)]
    rows = [(asked_for(t), t["userInput"]["text"]) for t in generator.sample(turns, 4)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f32.gguf"
        requantise(resolve(SMALL), path, kind="f32")
        choice = exact_choice_gap(path, intent, texts)
        record = exact_record_gap(path, slots, rows)
    report.row(part="exact", what="choice: every label", n=len(texts), largest_gap=choice)
    report.row(part="exact", what="record: emitted path", n=len(rows), largest_gap=record)
    worst = max(choice, record)
    report.target(
        "exact: largest |Δp| on F32 weights", value=worst, target="<= 1e-4", holds=worst <= 1e-4
    )


def measure_overhead(report: Report, *, rounds: int = 9, calls: int = 2000) -> None:
    """What one call costs beside the model, in microseconds: medians over rounds."""
    agent = Orchestrator(Scripted(Answer("home", confidence=0.95)), progress=False)
    text = "turn the lights off in the kitchen"
    one, many = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            agent.run(domain, text)
        one.append((time.perf_counter() - began) / calls * 1e6)
        began = time.perf_counter()
        agent.map(domain, [text] * calls)
        many.append((time.perf_counter() - began) / calls * 1e6)
    for way, figures in (("run", one), ("map", many)):
        median = statistics.median(figures)
        report.row(
            part="overhead",
            way=way,
            median_us=median,
            min_us=min(figures),
            max_us=max(figures),
            rounds=rounds,
            calls=calls,
        )
        report.target(
            f"overhead of {way}, µs a call", value=median, target="< 200", holds=median < 200
        )


if __name__ == "__main__":
    options = arguments("Skills on real input.")
    options.add_argument("--parts", nargs="+", choices=PARTS)
    options.add_argument("--models", nargs="+")
    options.add_argument("--domains", type=int, default=300, help="how many utterances")
    options.add_argument("--slots", type=int, default=200, help="how many turns")
    main(measure, options)
