"""The parts of the benchmark: records, conversion, the test split, and the targets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.conversion.baselines import LARGE, Baseline, of_choices, of_records
from benchmarks.conversion.records import (
    OUT_OF_SCOPE,
    SEED,
    Case,
    clinc_cases,
    clinc_records,
    restaurant_cases,
    restaurant_records,
    written,
)
from benchmarks.report import Report
from benchmarks.skills import slot_scores
from hetagent.bound import open_binding
from hetagent.calibrate.certificate import Certificate
from hetagent.integrations.sources import record_source
from hetagent.learn.convert import Conversion, ConvertSettings, convert
from hetagent.learn.evaluate import AT_ONCE, outcomes_of
from hetagent.learn.tune.settings import TuneSettings
from hetagent.models.llamacpp import LlamaCpp
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.registry import Registry
from hetagent.skill import Skill


@dataclass(frozen=True)
class Served:
    """What the converted skill made of some calls.

    Attributes:
        outcomes: One for each, whether it would be served or not.
        accepted: Whether it would.
        seconds: How long all took together.
    """

    outcomes: Sequence[Outcome[Any]]
    accepted: Sequence[bool]
    seconds: float


def measure_clinc(report: Report, options: Any) -> None:
    learn, certify, test = clinc_cases(options.labels)
    total = len(learn) + len(certify)
    shares = _shares(len(learn) / total)
    log = written(options.work / "clinc150.jsonl", clinc_records([*learn, *certify]))
    settings = ConvertSettings(
        max_error=0.02, shares=shares, tune=_tuning(options, batch=128), seed=SEED
    )
    done = _converted(report, "clinc150", log, options.work, settings)
    with _model(done, options.work, "clinc150") as model:
        certificate = done.certificate
        inside = served(
            done.task.skill, model, certificate, [_message(one) for one in test["test"]]
        )
        outside = served(
            done.task.skill, model, certificate, [_message(one) for one in test["oos_test"]]
        )
    right = _right(inside.outcomes, test["test"])
    coverage = sum(inside.accepted) / len(right)
    wrong = sum(ok and not r for ok, r in zip(inside.accepted, right, strict=True))
    astray = sum(
        ok and one.value != OUT_OF_SCOPE
        for ok, one in zip(outside.accepted, outside.outcomes, strict=True)
    ) / len(outside.outcomes)
    rate = len(right) / inside.seconds
    report.row(
        part="clinc150", model="converted", n=len(right), right=sum(right) / len(right),
        accepted=coverage, wrong_of_accepted=wrong / max(1, sum(inside.accepted)),
        oos_answered_in_scope=astray, calls_per_s=rate,
        training_minutes=done.binding.facts["training_seconds"] / 60,
    )  # fmt: skip
    train = [(_message(one), one.answer) for one in learn]
    rows = [(_message(one), one.answer) for one in test["test"]]
    large = None
    for one in of_choices(done.task.skill, train, rows, count=options.rows):
        report.row(part="clinc150", **one.facts())
        large = one if one.model == LARGE else large
    report.target("clinc150: right in scope", value=sum(right) / len(right), target=">= 0.96",
                  holds=sum(right) / len(right) >= 0.96)  # fmt: skip
    report.target("clinc150: accepted in scope at 2%", value=coverage, target=">= 0.85",
                  holds=coverage >= 0.85)  # fmt: skip
    report.target("clinc150: out of scope, answered in scope", value=astray, target="<= 0.1",
                  holds=astray <= 0.1)  # fmt: skip
    _training_target(report, "clinc150", done)
    _speed_target(report, "clinc150", rate, large)


def measure_restaurants(report: Report, options: Any) -> None:
    learn, test = restaurant_cases()
    log = written(options.work / "restaurants8k.jsonl", restaurant_records(learn))
    settings = ConvertSettings(max_error=0.05, tune=_tuning(options, batch=64), seed=SEED)
    done = _converted(report, "restaurants8k", log, options.work, settings)
    rows = [_slots_row(one) for one in test]
    labels = [json.loads(one.answer) for one in test]
    with _model(done, options.work, "restaurants8k") as model:
        found = served(done.task.skill, model, done.certificate, rows)
    values = [one.value if isinstance(one.value, Mapping) else {} for one in found.outcomes]
    scores = slot_scores(values, labels)
    rate = len(rows) / found.seconds
    kept = [(v, one) for v, one, ok in zip(values, labels, found.accepted, strict=True) if ok]
    report.row(
        part="restaurants8k", model="converted", n=len(rows), **scores,
        accepted=sum(found.accepted) / len(rows),
        f1_accepted=slot_scores(*zip(*kept, strict=True))["slot_f1"] if kept else None,
        calls_per_s=rate, training_minutes=done.binding.facts["training_seconds"] / 60,
    )  # fmt: skip
    train = [(_slots_row(one), json.loads(one.answer)) for one in learn]
    large = None
    for one in of_records(
        done.task.skill, train, list(zip(rows, labels, strict=True)), count=options.rows,
        score=slot_scores,
    ):  # fmt: skip
        report.row(part="restaurants8k", **one.facts())
        large = one if one.model == LARGE else large
    report.target("restaurants8k: slot F1", value=scores["slot_f1"], target=">= 0.93",
                  holds=scores["slot_f1"] >= 0.93)  # fmt: skip
    _training_target(report, "restaurants8k", done)
    _speed_target(report, "restaurants8k", rate, large)


def served(
    skill: Skill[Any, Any], model: LlamaCpp, certificate: Certificate, rows: Sequence[Any]
) -> Served:
    """Have the skill answer calls, and see which answers its certificate accepts."""
    agent = Orchestrator(model, policy=0.0, progress=False, concurrency=AT_ONCE)
    outcomes_of(agent, skill, rows[:1])  # compiles the constraint and evaluates the fixed prompt
    began = time.perf_counter()
    outcomes = outcomes_of(agent, skill, rows)
    seconds = time.perf_counter() - began
    accepted = [
        bool(one.evidence) and certificate.judged(one.evidence)[""].passed for one in outcomes
    ]
    return Served(outcomes, accepted, seconds)


def _converted(
    report: Report, part: str, log: Path, work: Path, settings: ConvertSettings
) -> Conversion:
    with record_source(log) as records:
        done = convert(
            records,
            registry=Registry(work / f"{part}.registry"),
            work=work / part,
            settings=settings,
            tell=_told(part),
        )
    report.row(part=f"{part}: conversion", promoted=done.decision.promoted,
               why=", ".join(one.why for one in done.decision.objections) or "-",
               coverage=done.evaluation.coverage, upper_loss=done.decision.upper_loss,
               labels=done.certificate.labels, economics=done.economics.to_dict(),
               stages={one.name: one.seconds for one in done.stages})  # fmt: skip
    return done


def _model(done: Conversion, work: Path, part: str) -> LlamaCpp:
    found = open_binding(done.binding, Registry(work / f"{part}.registry"), done.task.skill).model
    assert isinstance(found, LlamaCpp)
    return found


def _shares(learned: float) -> dict[str, float]:
    """Learn from a share of the calls, by time, and certify with half of the rest."""
    rest = (1 - learned) / 2
    return {
        "train": 0.95 * learned,
        "validate": 0.05 * learned,
        "calibrate": rest,
        "test": rest,
    }


def _tuning(options: Any, *, batch: int) -> TuneSettings:
    return TuneSettings(epochs=options.epochs, minutes=options.minutes, batch=batch)


def _message(case: Case) -> dict[str, str]:
    return {"message": case.text}


def _slots_row(case: Case) -> dict[str, str]:
    asked, message = case.text.split("\n", 1)
    return {
        "asked_for": asked.removeprefix("Just asked for: "),
        "message": message.removeprefix("Message: "),
    }


def _right(outcomes: Sequence[Outcome[Any]], cases: Sequence[Case]) -> list[bool]:
    return [one.value == case.answer for one, case in zip(outcomes, cases, strict=True)]


def _training_target(report: Report, part: str, done: Conversion) -> None:
    minutes = done.binding.facts["training_seconds"] / 60
    report.target(f"{part}: training minutes", value=minutes, target="<= 30", holds=minutes <= 30)


def _speed_target(report: Report, part: str, rate: float, large: Baseline | None) -> None:
    if large is not None:
        ratio = rate / large.calls_per_second
        report.target(
            f"{part}: calls/s beside {LARGE}", value=ratio, target=">= 10", holds=ratio >= 10
        )


def _told(part: str) -> Any:
    last: list[str] = []

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage not in last[-1:]:
            last.append(stage)
            print(f"{part}: {stage}", file=sys.stderr, flush=True)

    return tell
