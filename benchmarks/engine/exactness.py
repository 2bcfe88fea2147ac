"""Whether hetagent's answers are those of one sequence without a cache.

On F32 weights they have to be. On quantised weights the shape of a batch moves probabilities in
llama.cpp itself, so there they are compared with those of a bare loop over the same tokens.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from benchmarks.engine.measure import Settings, say
from benchmarks.engine.weights import requantized
from benchmarks.engine.workers import BARE, OURS, REFERENCE, Failed, System, Worker
from benchmarks.report import CannotMeasureError, Report

__all__ = ["measure_exactness", "measure_rounding"]

CALLERS = 16
LARGEST_GAP = 1e-4
# Of a bare loop's; what is compared are means over a sample.
WORSE_THAN_BARE = 1.2


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
        options = settings.options(model=requantized("F32"), exact=True)
        found = details(workload, (OURS, REFERENCE), count, options, settings)
        compare(report, cell, found[OURS.name], found[REFERENCE.name])


def measure_rounding(
    report: Report, workloads: dict[str, dict[str, Any]], *, count: int, settings: Settings
) -> None:
    """How far batches of quantised weights are from one sequence, in hetagent and in a bare loop.

    Args:
        report: Gets two rows and two targets for each cell.
        workloads: By cell; those with adapters are left out.
        count: How many calls of each.
        settings: As for the cells.
    """
    for cell, workload in workloads.items():
        systems = (OURS, BARE, REFERENCE)
        found = details(workload, systems, count, settings.options(), settings)
        means, flips = {}, {}
        for name in (OURS.name, BARE.name):
            pairs = list(zip(found[name], found[REFERENCE.name], strict=True))
            gaps = [gap(one, other) for one, other in pairs]
            means[name] = float(np.mean(gaps))
            flips[name] = sum(
                answer_of(one) != answer_of(other) or not one.get("same", True)
                for one, other in pairs
            )
            report.row(
                part="batches of quantised weights",
                cell=cell,
                system=name,
                calls=len(pairs),
                mean_gap=means[name],
                median_gap=float(np.median(gaps)),
                largest_gap=max(gaps),
                flipped=flips[name],
            )
        most = WORSE_THAN_BARE * means[BARE.name]
        report.target(
            f"{cell}: batches, mean |Δp|",
            value=means[OURS.name],
            target=f"<= {WORSE_THAN_BARE} x a bare loop's = {most:.2g}",
            holds=means[OURS.name] <= most,
        )
        # Two standard deviations of the difference of two counts that are equal on average.
        chance = 2 * math.sqrt(flips[OURS.name] + flips[BARE.name])
        report.target(
            f"{cell}: batches, flipped answers",
            value=flips[OURS.name],
            target=f"<= a bare loop's {flips[BARE.name]}, give or take {chance:.0f}",
            holds=flips[OURS.name] <= flips[BARE.name] + chance,
        )


def details(
    workload: dict[str, Any],
    systems: tuple[System, ...],
    count: int,
    options: dict[str, Any],
    settings: Settings,
) -> dict[str, list[dict[str, Any]]]:
    """The first calls' answers, with tokens and probabilities, of each system."""
    path = settings.folder / f"exact-{workload['cell']}.json"
    path.write_text(json.dumps(workload), encoding="utf-8")
    calls = workload["calls"][:count]
    found = {}
    for system in systems:
        say(f"answers of {len(calls)} calls, cell {workload['cell']}: {system.name}")
        try:
            with Worker(system, venvs=settings.venvs) as worker:
                worker.ask("load", workload=str(path), options=options)
                found[system.name] = worker.ask("details", calls=calls, callers=CALLERS)["details"]
        except Failed as error:
            raise CannotMeasureError(str(error)) from error
    return found


def compare(
    report: Report, cell: str, ours: list[dict[str, Any]], reference: list[dict[str, Any]]
) -> None:
    pairs = list(zip(ours, reference, strict=True))
    equal = [answer_of(one) == answer_of(other) for one, other in pairs]
    gaps = [gap(one, other) for one, other in pairs]
    share, worst = sum(equal) / len(equal), max(gaps)
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


def gap(ours: dict[str, Any], reference: dict[str, Any]) -> float:
    """Largest difference of a label's, or a decided token's, probability.

    Where the tokens of a record differ, those before and at the first difference are compared: the
    probabilities behind it are of other texts.
    """
    if reference.get("choices"):
        return max(abs(ours["choices"][k] - p) for k, p in reference["choices"].items())
    pairs = zip(answer_of(ours), answer_of(reference), strict=False)
    alike = next((n for n, (one, other) in enumerate(pairs) if one != other), math.inf)
    found = logprobs_of(ours)
    return max(
        (
            abs(math.exp(found[place]) - math.exp(logprob))
            for place, logprob in reference["logprobs"]
            # Where the end of turn was decided, it may have no place among the answer's tokens.
            if place in found and place <= alike
        ),
        default=0.0,
    )


def logprobs_of(detail: dict[str, Any]) -> dict[int, float]:
    """By place; what was not decided has 0."""
    if "logprobs" in detail:
        return dict(detail["logprobs"])
    return {place: token["logprob"] for place, token in enumerate(detail["tokens"])}
