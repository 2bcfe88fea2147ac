"""Whether hetagent's answers on F32 weights are those of one sequence without a cache."""

from __future__ import annotations

import json
import math
from typing import Any

from benchmarks.engine.measure import Settings, say
from benchmarks.engine.weights import requantized
from benchmarks.engine.workers import OURS, REFERENCE, Failed, Worker
from benchmarks.report import CannotMeasureError, Report

__all__ = ["measure_exactness"]

CALLERS = 16
LARGEST_GAP = 1e-4


def measure_exactness(
    report: Report, workloads: dict[str, dict[str, Any]], *, count: int, settings: Settings
) -> None:
    """Compare answers token by token, and probabilities, on an F32 copy.

    Args:
        report: Gets a row and two targets for each cell.
        workloads: By cell; those with adapters are left out.
        count: How many calls of each.
        settings: As for the cells.
    """
    for cell, workload in workloads.items():
        path = settings.folder / f"exact-{cell}.json"
        path.write_text(json.dumps(workload), encoding="utf-8")
        calls = workload["calls"][:count]
        found = {}
        for system in (OURS, REFERENCE):
            say(f"F32 copy, cell {cell}: {len(calls)} calls of {system.name}")
            options = settings.options(model=requantized("F32"), exact=True)
            try:
                with Worker(system, venvs=settings.venvs) as worker:
                    worker.ask("load", workload=str(path), options=options)
                    found[system.name] = worker.ask("details", calls=calls, callers=CALLERS)
            except Failed as error:
                raise CannotMeasureError(str(error)) from error
        compare(report, cell, found[OURS.name]["details"], found[REFERENCE.name]["details"])


def compare(
    report: Report, cell: str, ours: list[dict[str, Any]], reference: list[dict[str, Any]]
) -> None:
    pairs = list(zip(ours, reference, strict=True))
    equal = [answer_of(one) == answer_of(other) for one, other in pairs]
    gaps = [gap(one, other) for one, other in pairs]
    known = [value for value in gaps if value is not None]
    share, worst = sum(equal) / len(equal), max(known, default=math.nan)
    report.row(part="F32 copy", cell=cell, calls=len(pairs), equal=share, largest_gap=worst)
    for one, other, same, value in zip(ours, reference, equal, gaps, strict=True):
        if not same:
            report.row(
                part="F32 copy",
                raw=True,
                cell=cell,
                ours=answer_of(one),
                reference=answer_of(other),
                gap=value,
            )
    report.target(f"{cell}: F32, equal answers", value=share, target="= 1", holds=share == 1.0)
    report.target(
        f"{cell}: F32, largest |Δp|",
        value=worst,
        target=f"<= {LARGEST_GAP:g}",
        holds=worst <= LARGEST_GAP,
    )


def answer_of(detail: dict[str, Any]) -> Any:
    """A label, or the tokens of a record without the end of turn."""
    if detail.get("choices"):
        return detail["text"]
    tokens = detail["tokens"]
    if tokens and isinstance(tokens[0], dict):
        return [token["id"] for token in tokens if token["text"]]
    return list(tokens)


def gap(ours: dict[str, Any], reference: dict[str, Any]) -> float | None:
    """Largest difference of a label's, or a decided token's, probability.

    ``None`` where the tokens of a record differ, since their probabilities are then of other texts.
    """
    if reference.get("choices"):
        return max(abs(ours["choices"][k] - p) for k, p in reference["choices"].items())
    if answer_of(ours) != answer_of(reference):
        return None
    return max(
        (
            abs(math.exp(ours["tokens"][place]["logprob"]) - math.exp(logprob))
            for place, logprob in reference["logprobs"]
            # Where the end of turn was decided, it has no place among the answer's tokens.
            if place < len(ours["tokens"])
        ),
        default=0.0,
    )
