"""How good confidences are before and after calibration; no answer is judged by its own label.

AUROC is the mean of those of the five folds: answers of one fold are judged by one calibrator, and
only among these is there an order that anybody would see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.pools import Pool
from benchmarks.report import Report
from hetagent.calibrate.certifying import fit_any
from hetagent.calibrate.fitting import Fit
from hetagent.calibrate.measures import aurc, auroc, calibration_error, log_loss

__all__ = ["measure"]

PART = "confidence before and after calibration (five folds)"
LIMITS = {"clinc150": 0.02, "restaurants8k": 0.03}


def measure(report: Report, pools: Sequence[Pool]) -> None:
    """A row before and after for each pool, and the targets."""
    for pool in pools:
        fitted = held_out(pool)
        after = fitted.held_out
        found = {"raw": _row(report, pool, "raw", pool.scores, fitted)}
        found["calibrated"] = _row(report, pool, fitted.calibrator.kind, after, fitted)
        limit = next(value for name, value in LIMITS.items() if pool.data.startswith(name))
        raw, calibrated = found["raw"], found["calibrated"]
        report.target(
            f"{pool.name}: calibration error",
            value=calibrated["ece"],
            target=f"<= {limit}",
            holds=calibrated["ece"] <= limit,
        )
        report.target(
            f"{pool.name}: log loss less the raw one",
            value=calibrated["log_loss"] - raw["log_loss"],
            target="<= 0",
            holds=calibrated["log_loss"] <= raw["log_loss"],
        )
        report.target(
            f"{pool.name}: AUROC less the raw one",
            value=calibrated["auroc"] - raw["auroc"],
            target=">= 0",
            holds=calibrated["auroc"] >= raw["auroc"],
        )


def held_out(pool: Pool) -> Fit:
    """Calibrated confidences by cross-validation; a record's build on those of its fields."""
    table = pool.table
    if pool.fields:
        table = table.jointly(np.column_stack([held_out(one).held_out for one in pool.fields]))
    return fit_any(table, pool.correct)


def _row(
    report: Report, pool: Pool, kind: str, confidence: NDArray[np.float64], fitted: Fit
) -> dict[str, float]:
    facts = {
        "ece": calibration_error(confidence, pool.correct),
        "ece_plain": calibration_error(confidence, pool.correct, debiased=False),
        "log_loss": log_loss(confidence, pool.correct),
        "auroc": float(
            np.mean([auroc(confidence[fold], pool.correct[fold]) for fold in fitted.folds])
        ),
        "aurc": aurc(confidence, pool.correct),
    }
    report.row(
        part=PART,
        pool=pool.name,
        n=len(pool.correct),
        accuracy=float(pool.correct.mean()),
        confidence=kind,
        **facts,
    )
    return facts
