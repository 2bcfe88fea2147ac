"""Which calls are worth an LLM: RouteLLM's recorded MMLU outcomes, with a local model as the SLM.

A router orders the calls; those it puts first go to GPT-4. The *performance gap recovered* (PGR) at
a share of calls to GPT-4 is the accuracy above the local model's, as a share of the gap between the
two models. APGR is its mean over all shares, CPT(x) the least share for which PGR reaches x% (Ong
et al., "RouteLLM", arXiv 2406.18665, Section 3). Random is 0.5 on average, and above 1 is possible,
since the local model is right in some calls where GPT-4 is not.

hetagent's confidence and benefit are of `hetagent.calibrate`, fitted on four fifths of the calls
and measured on the others. No other router here takes labels; a calibrator of its own would not
change the order in which a single confidence puts the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.dumps import PAIRS, key, load
from benchmarks.escalation.pools import evidence_of
from benchmarks.escalation.routers import ANSWERS, JUDGED
from benchmarks.escalation.sets import Line
from benchmarks.report import CannotMeasureError, Report
from hetagent.calibrate.certifying import fit_any
from hetagent.calibrate.evidence_table import EvidenceTable

__all__ = ["Outcomes", "apgr", "cpt", "measure"]

OURS = "hetagent: benefit"
MARGIN = 0.05
FOLDS = 5
SEED = 20261121
DRAWS = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """Whether each model is right; booleans of shape (n,)."""

    weak: NDArray[np.bool_]
    strong: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> Outcomes:
        return Outcomes(self.weak[rows], self.strong[rows])


def measure(report: Report) -> None:
    """A row for each router on all calls, and on those that typed-gguf judged; and the target."""
    lines = load(ANSWERS)
    outcomes = Outcomes(
        np.array([bool(line["correct"]) for line in lines]),
        np.array([bool(line["gpt4"]) for line in lines]),
    )
    own, others = ours(lines, outcomes), simple(lines) | cascadeflow(lines)
    judged = typed_gguf(lines)
    known = np.nonzero(~np.isnan(judged["typed-gguf: confidence"]))[0]
    if len(known) == len(lines):
        _compare(report, outcomes, own | others | judged, peers=others | judged)
        return
    _compare(report, outcomes, own | others, peers=others)
    some = {name: score[known] for name, score in (own | others | judged).items()}
    _compare(report, outcomes.take(known), some, peers=judged)


def _compare(
    report: Report, outcomes: Outcomes, scores: Mapping[str, Floats], *, peers: Iterable[str]
) -> None:
    n = len(outcomes.weak)
    intervals = _draws(outcomes, scores)
    for name, score in scores.items():
        low, high = np.quantile(intervals[name], [0.025, 0.975])
        report.row(
            part=f"routing MMLU between the local model and GPT-4 ({n} calls)",
            router=name,
            local_right=float(outcomes.weak.mean()),
            gpt4_right=float(outcomes.strong.mean()),
            apgr=apgr(outcomes, score),
            apgr_low=float(low),
            apgr_high=float(high),
            cpt_50=cpt(outcomes, score, 0.5),
            cpt_80=cpt(outcomes, score, 0.8),
        )
    best = max(peers, key=lambda name: apgr(outcomes, scores[name]))
    ahead = apgr(outcomes, scores[OURS]) - apgr(outcomes, scores[best])
    low, high = np.quantile(intervals[OURS] - intervals[best], [0.025, 0.975])
    report.target(
        f"MMLU, {n} calls: APGR less that of {best} (95% interval {low:.3f} to {high:.3f})",
        value=ahead,
        target=f">= {MARGIN}",
        holds=ahead >= MARGIN,
    )


def apgr(outcomes: Outcomes, score: Floats) -> float:
    """Mean PGR over all shares of calls to the strong model, highest scores first."""
    return float(np.trapezoid(_recovered(outcomes, score), dx=1 / len(score)))


def cpt(outcomes: Outcomes, score: Floats, target: float) -> float:
    """The least share of calls to the strong model with which PGR reaches the target."""
    return float(np.argmax(_recovered(outcomes, score) >= target) / len(score))


def _recovered(outcomes: Outcomes, score: Floats) -> Floats:
    """PGR with 0, 1, …, n calls to the strong model; calls of equal score in the mean order."""
    gain = outcomes.strong.astype(float) - outcomes.weak
    _, group = np.unique(-score, return_inverse=True)
    mean = np.bincount(group, weights=gain) / np.bincount(group)
    ordered = mean[np.sort(group)]
    found: Floats = np.concatenate([[0.0], np.cumsum(ordered)]) / gain.sum()
    return found


def ours(lines: list[Line], outcomes: Outcomes) -> dict[str, Floats]:
    """By what the calibrators say of calls they have not seen."""
    table = EvidenceTable.of([evidence_of(line) for line in lines])
    weak = _held_out(table, outcomes.weak)
    strong = _held_out(table, outcomes.strong, of_input=True)
    return {"hetagent: confidence": 1 - weak, OURS: strong - weak}


def _held_out(table: EvidenceTable, right: NDArray[np.bool_], *, of_input: bool = False) -> Floats:
    fold = np.random.default_rng(SEED).permutation(len(right)) % FOLDS
    found = np.empty(len(right))
    for number in range(FOLDS):
        seen, unseen = np.nonzero(fold != number)[0], np.nonzero(fold == number)[0]
        calibrator = fit_any(table.take(seen), right[seen], of_input=of_input).calibrator
        found[unseen] = table.take(unseen).probabilities(calibrator)
    return found


def simple(lines: list[Line]) -> dict[str, Floats]:
    """What needs no router's code."""
    random = np.random.default_rng(SEED)
    return {
        "random": random.random(len(lines)),
        "prompt length": np.array([line["characters"] for line in lines], dtype=float),
        "raw probability": np.array([-line["raw"] for line in lines]),
    }


def cascadeflow(lines: list[Line]) -> dict[str, Floats]:
    """Its scores of hetagent's answers, by the letter alone and with the option's text."""
    judged = {key(line): line["cascadeflow"] for line in _kept()}
    return {
        f"cascadeflow: {score}, {answer}": np.array(
            [-float(judged[key(line)][answer][score]) for line in lines]
        )
        for answer in ("letter", "option")
        for score in ("confidence", "quality")
    }


def typed_gguf(lines: list[Line]) -> dict[str, Floats]:
    """Its confidence on the same weights; NaN where it was not asked."""
    judged = {key(line): line["typed_gguf"] for line in _kept()}
    unknown = {"confidence": np.nan, "coverage": np.nan}
    known = [judged[key(line)] or unknown for line in lines]
    return {
        "typed-gguf: confidence": np.array([-one["confidence"] for one in known]),
        "typed-gguf: mass on labels": np.array([-one["coverage"] for one in known]),
    }


def _kept() -> list[Line]:
    """What `benchmarks.escalation.routers` kept of peers."""
    if not (PAIRS / f"{JUDGED}.jsonl.gz").is_file():
        raise CannotMeasureError(
            f"{PAIRS.name}/{JUDGED}.jsonl.gz is not there; benchmarks.escalation.routers makes it."
        )
    return load(JUDGED)


def _draws(outcomes: Outcomes, scores: Mapping[str, Floats]) -> dict[str, Floats]:
    """APGR of each router over bootstrap draws of the calls, the same for all."""
    random = np.random.default_rng(SEED)
    n = len(outcomes.weak)
    draws = [random.integers(0, n, n) for _ in range(DRAWS)]
    return {
        name: np.array([apgr(outcomes.take(rows), score[rows]) for rows in draws])
        for name, score in scores.items()
    }
