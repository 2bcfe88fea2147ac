"""A ladder of LLMs: thresholds chosen together, against one threshold for each rung by itself.

    python -m benchmarks.escalation.ladder --json ladder.json

1. A simulated population of 20,000 calls, the truth of which is known: an SLM, a small LLM that
   reports no probabilities, and a large one. Over draws of labelled examples: how often the error
   rate among answers accepted before the last LLM is above α, and what LLMs cost, on the whole
   population.
2. MMLU questions with a local model's answers (``--pairs``, or those kept in
   ``benchmarks/escalation/pairs``) and the recorded outcomes of Mixtral-8x7B and GPT-4
   (RouteLLM's). Examples are drawn with replacement from the pool, which is the population.

"By rung" certifies the SLM's threshold, then that of the small LLM among the answers that reach it,
each at α by itself: at δ each, and at δ / 2 each, which promises as much as the joint choice.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import CannotMeasureError, Report, arguments, main
from hetagent.calibrate.certifying import fit_any
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.ladder import find_vector, plan_start
from hetagent.calibrate.ladder_path import Vector, path, route
from hetagent.calibrate.thresholds import find_threshold, plan
from hetagent.evidence import Evidence, second_opinion

DOUBT = 0.05
FIT_SHARE = 0.25
POPULATION = 20_000
MMLU = "mmlu-qwen1.5b"
# US dollars for a million calls of some 400 tokens; only their ratio matters here.
PRICES = (0.24e-3, 10e-3)


@dataclass(frozen=True)
class Population:
    """All calls there are.

    Attributes:
        drafts: Evidence of the SLM's answers.
        agrees: Whether the small LLM gives the same; ``None`` where that is not known.
        right: Whether the SLM, the small LLM and the large LLM are, of shape (n, 3).
    """

    drafts: Sequence[Evidence]
    agrees: Sequence[bool | None]
    right: Any


def simulated(n: int, seed: int = 0) -> Population:
    """Questions of some difficulty; four options, the wrong answers of both models unlike."""
    random = np.random.default_rng(seed)
    ease = random.normal(0.8, 1.6, n)
    chance = [1 / (1 + np.exp(-(ease + skill))) for skill in (0.0, 1.1, 3.0)]
    right = np.column_stack([random.random(n) < p for p in chance])
    seen = chance[0] + random.normal(0, 0.08, n)
    # More sure than it should be, as models are.
    raw = np.clip(seen, 0.02, 0.999) ** 0.5
    both_wrong = ~right[:, 0] & ~right[:, 1]
    same = (right[:, 0] & right[:, 1]) | (both_wrong & (random.random(n) < 0.35))
    return Population([Evidence(float(p)) for p in raw], [bool(one) for one in same], right)


def recorded(folder: Path) -> Population:
    """MMLU questions; what Mixtral answered is not recorded, only whether it was right.

    Raises:
        CannotMeasureError: The local model's answers are not there.
    """
    packed, growing = folder / f"{MMLU}.jsonl.gz", folder / f"{MMLU}.jsonl"
    if packed.is_file():
        text = gzip.decompress(packed.read_bytes()).decode("utf-8")
    elif growing.is_file():
        text = growing.read_text(encoding="utf-8")
    else:
        raise CannotMeasureError(f"{packed.name} is not in {folder}.")
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    known = ("raw", "outside", "margin", "entropy", "least", "tokens", "digits")
    return Population(
        [
            Evidence(**{name: line[name] for name in known}, answer="ABCD"[line["answer"]])
            for line in lines
        ],
        [None] * len(lines),
        np.array([[line["correct"], line["mixtral"], line["gpt4"]] for line in lines]),
    )


@dataclass
class Draw:
    """One draw of labelled examples, with what is fitted on its first part."""

    scores: np.ndarray
    risk: np.ndarray
    tested: np.ndarray
    wrong: np.ndarray
    everybody: np.ndarray


def draw(world: Population, table: EvidenceTable, labels: int, seed: int) -> Draw:
    """Fit calibrators on a quarter of the examples drawn."""
    random = np.random.default_rng([7, seed])
    rows = random.integers(0, len(world.right), labels)
    count = round(labels * FIT_SHARE)
    fitting, testing = rows[:count], rows[count:]
    slm = fit_any(table.take(fitting), world.right[fitting, 0], seed=seed)
    before = table.probabilities(slm.calibrator)

    def opinions(numbers: Any, sure: Any) -> EvidenceTable:
        return EvidenceTable.of(
            [
                second_opinion(
                    None, agrees=world.agrees[row], before=float(p), draft=world.drafts[row]
                )
                for row, p in zip(numbers, sure, strict=True)
            ]
        )

    small = fit_any(opinions(fitting, slm.held_out), world.right[fitting, 1], seed=seed)
    all_rows = np.arange(len(world.right))
    everybody = np.column_stack(
        [
            table.scores(slm.calibrator),
            opinions(all_rows, before).scores(small.calibrator),
        ]
    )
    return Draw(
        everybody[fitting],
        1 - np.column_stack([slm.held_out, small.held_out]),
        everybody[testing],
        ~world.right[testing][:, :2],
        everybody,
    )


def together(one: Draw, *, max_error: float, seed: int) -> Vector | None:
    vectors = path(one.scores, one.risk, prices=PRICES, max_error=max_error)
    start = plan_start(
        one.scores, one.risk, vectors, prices=PRICES, n=len(one.tested), max_error=max_error,
        confidence=1 - DOUBT, seed=seed,
    )  # fmt: skip
    found = find_vector(
        one.tested, one.wrong, vectors[start:], prices=PRICES, max_error=max_error,
        confidence=1 - DOUBT,
    )  # fmt: skip
    return found[0] if found is not None else None


def by_rung(one: Draw, *, max_error: float, doubt: float, seed: int) -> Vector:
    """The SLM's threshold, then the small LLM's among what reaches it."""
    fit = np.ones(len(one.scores), dtype=bool)
    test = np.ones(len(one.tested), dtype=bool)
    thresholds = []
    for stage in (0, 1):
        found = None
        if fit.any() and test.any():
            counts = plan(
                one.scores[fit, stage], 1 - one.risk[fit, stage], n=int(test.sum()),
                max_error=max_error, confidence=1 - doubt, seed=seed,
            ).counts  # fmt: skip
            found = find_threshold(
                one.tested[test, stage], ~one.wrong[test, stage], counts=counts,
                max_error=max_error, confidence=1 - doubt,
            )  # fmt: skip
        thresholds.append(found.threshold if found is not None else np.inf)
        fit &= one.scores[:, stage] < thresholds[-1]
        test &= one.tested[:, stage] < thresholds[-1]
    # Asked where nothing could be accepted, it would be a waste of its own making.
    return Vector(tuple(thresholds), (-np.inf,))


def compare(
    report: Report, name: str, world: Population, *, labels: int, draws: int,
    errors: Sequence[float],
) -> list[dict[str, Any]]:  # fmt: skip
    table = EvidenceTable.of(world.drafts)
    ways: dict[str, Any] = {
        "together": lambda one, alpha, seed: together(one, max_error=alpha, seed=seed),
        "by rung, δ each": lambda one, alpha, seed: by_rung(
            one, max_error=alpha, doubt=DOUBT, seed=seed
        ),
        "by rung, δ/2 each": lambda one, alpha, seed: by_rung(
            one, max_error=alpha, doubt=DOUBT / 2, seed=seed
        ),
        "SLM alone": lambda one, alpha, seed: Vector(
            (by_rung(one, max_error=alpha, doubt=DOUBT, seed=seed).thresholds[0], np.inf),
            (-np.inf,),
        ),
    }
    found: dict[tuple[str, float], list[tuple[float, float, float, float]]] = {}
    for seed in range(draws):
        one = draw(world, table, labels, seed)
        for alpha in errors:
            for way, choose in ways.items():
                facts = truth(world, one.everybody, choose(one, alpha, seed))
                found.setdefault((way, alpha), []).append(facts)
    rows = []
    for (way, alpha), each in found.items():
        error, accepted, cost, right = np.array(each).T
        rows.append(
            {
                "part": name,
                "labels": labels,
                "draws": draws,
                "max_error": alpha,
                "thresholds": way,
                "violations": float(np.mean(error > alpha)),
                "accepted_before_last": float(accepted.mean()),
                "cost_of_all_to_the_last": float(cost.mean()),
                "cost_median": float(np.median(cost)),
                "right": float(right.mean()),
            }
        )
        report.row(**rows[-1])
    return rows


def truth(
    world: Population, scores: np.ndarray, vector: Vector | None
) -> tuple[float, float, float, float]:
    """Error rate among what is accepted before the last LLM, its share, the cost as a share of that
    of asking the last for all, and the share of calls that end in a right answer."""
    if vector is None:
        return 0.0, 0.0, 1.0, float(world.right[:, 2].mean())
    routed = route(scores, vector, PRICES)
    rows = np.arange(len(scores))
    wrong = ~world.right[rows, routed.stage]
    early = routed.stage < 2
    error = float(wrong[early].mean()) if early.any() else 0.0
    cost = float(routed.cost.mean() / PRICES[-1])
    return error, float(early.mean()), cost, float(1 - wrong.mean())


def measure(report: Report, options: argparse.Namespace) -> None:
    rows = compare(
        report,
        "simulated",
        simulated(POPULATION),
        labels=options.labels,
        draws=options.draws,
        errors=(0.05, 0.1),
    )
    try:
        world = recorded(options.pairs)
    except CannotMeasureError as error:
        report.row(part=MMLU, left_out=str(error))
    else:
        rows += compare(
            report, MMLU, world, labels=len(world.right), draws=options.draws,
            errors=(0.1, 0.2, 0.3),
        )  # fmt: skip
    ours = [row for row in rows if row["thresholds"] == "together"]
    worst = max(row["violations"] for row in ours)
    report.target(
        "share of draws in which the true error is above α, the worst of all",
        value=worst,
        target=f"<= {DOUBT}",
        holds=worst <= DOUBT,
    )
    for row in ours:
        same = [
            other for other in rows
            if (other["part"], other["max_error"]) == (row["part"], row["max_error"])
        ]  # fmt: skip
        apart = next(other for other in same if other["thresholds"] == "by rung, δ/2 each")
        saved = 1 - row["cost_of_all_to_the_last"] / apart["cost_of_all_to_the_last"]
        report.target(
            f"{row['part']}, α = {row['max_error']}: cost saved against a threshold for each "
            "rung with the same promise",
            value=saved,
            target="> 0",
            holds=saved > 0,
        )


def parser() -> argparse.ArgumentParser:
    found = arguments(__doc__ or "")
    found.add_argument("--draws", type=int, default=200)
    found.add_argument("--labels", type=int, default=2000, help="of the simulated population")
    found.add_argument("--pairs", type=Path, default=Path(__file__).with_name("pairs"))
    return found


if __name__ == "__main__":
    main(measure, parser())
