"""From labelled answers to what can be promised about them: fit on some, certify on the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certificate import Curves, Part, Quality
from hetagent.calibrate.evidence_table import EvidenceTable, probabilities_of
from hetagent.calibrate.fitting import Fit, fit
from hetagent.calibrate.measures import (
    Floats,
    aurc,
    auroc,
    calibration_error,
    log_loss,
    reliability,
    risk_coverage,
)
from hetagent.calibrate.thresholds import Found, find_threshold, plan, shortfall
from hetagent.errors import InputError

__all__ = ["Split", "certified_threshold", "certify", "fit_any", "share_to_fit", "split"]

_POINTS = 200
# Labels that fit well enough where they are short.
_TO_FIT = 250

Split = tuple[Any, Any]
"""Rows that the calibrators are fitted with, and rows that certify; no row is in both."""


def share_to_fit(n: int, *, max_error: float, confidence: float) -> float:
    """Share of n labelled answers to fit with: a quarter, or less where labels are short.

    They are short where it takes more than one of twenty, all right, for a test to pass at all. The
    fewest are then better spent on tests, but for what a calibrator needs.
    """
    least = math.log1p(-confidence) / math.log1p(-max_error)
    return 0.25 if least <= n / 20 else max(0.15, min(0.25, _TO_FIT / n))


def split(n: int, *, fit_share: float, seed: int) -> Split:
    """Part rows at random.

    Args:
        n: How many there are.
        fit_share: Share of them to fit with, in (0, 1).
        seed: Of the draw.

    Raises:
        InputError: The share leaves one part empty.
    """
    count = round(n * fit_share)
    if not 0 < count < n:
        raise InputError(
            f"{n} labelled examples cannot be parted with fit_share={fit_share}.",
            hint="Give more examples, and a share such as 0.25.",
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:count]), np.sort(order[count:])


def certify(
    table: EvidenceTable,
    correct: Any,
    *,
    rows: Split,
    max_error: float,
    confidence: float,
    raw: Floats | None = None,
    seed: int = 0,
) -> tuple[Part, Floats]:
    """Fit a calibrator, choose a threshold, and certify it.

    Args:
        table: Evidence of n answers.
        correct: Whether each is right; booleans of shape (n,).
        rows: Which fit, and which certify.
        max_error: The error rate to keep among accepted answers, α.
        confidence: With which to keep it, 1 - δ.
        raw: Raw confidences to compare with, of shape (n,); by default those of the table.
        seed: Of the folds and simulations.

    Returns:
        What holds, and the confidence of each of the n answers, of shape (n,); for those that
        fitted by calibrators that had not seen them.

    Raises:
        InputError: There are too few answers.
        MissingExtraError: scikit-learn is not installed.
    """
    y = np.asarray(correct, dtype=bool)
    fitting, testing = rows
    if not len(fitting) or not len(testing):
        raise InputError(
            "There are no answers to fit with, or none to certify with.",
            hint="Give more labelled examples.",
        )
    fitted = fit_any(table.take(fitting), y[fitting], seed=seed)
    calibrator = fitted.calibrator
    scores = table.scores(calibrator)
    found = certified_threshold(
        scores,
        y,
        rows=rows,
        held_out=fitted.held_out,
        max_error=max_error,
        confidence=confidence,
        seed=seed,
    )
    missing = shortfall(
        scores,
        y,
        tested_share=len(testing) / len(y),
        max_error=max_error,
        confidence=confidence,
    )
    before = (_raw(table) if raw is None else raw)[testing]
    every = probabilities_of(scores, calibrator)
    every[fitting] = fitted.held_out
    calibrated = every[testing]
    part = Part(
        calibrator=calibrator,
        **_proved(found, len(testing)),
        raw=_quality(before, y[testing]),
        calibrated=_quality(calibrated, y[testing]),
        labels_needed=None if found else missing.labels,
        must_escalate=missing.escalated,
        surest_error=missing.surest_error,
        curves=_curves(scores[testing], calibrated, before, y[testing]),
    )
    return part, every


def certified_threshold(
    scores: Floats,
    correct: Any,
    *,
    rows: Split,
    held_out: Floats,
    max_error: float,
    confidence: float,
    seed: int = 0,
) -> Found | None:
    """Plan the sequence of tests with the fitting rows, and run it on those that certify.

    Args:
        scores: Of n answers.
        correct: Whether each is right; booleans of shape (n,).
        rows: Which fitted the calibrator that scores, and which certify.
        held_out: Probability of each fitting answer, not fitted to its own label.
        max_error: The error rate to keep among accepted answers, α.
        confidence: With which to keep it, 1 - δ.
        seed: Of the simulations.
    """
    fitting, testing = rows
    levels = {"max_error": max_error, "confidence": confidence}
    counts = plan(scores[fitting], held_out, n=len(testing), seed=seed, **levels).counts
    return find_threshold(scores[testing], correct[testing], counts=counts, **levels)


def fit_any(table: EvidenceTable, correct: Any, *, of_input: bool = False, seed: int = 0) -> Fit:
    """The best calibrator; where nearly all are right or wrong, one that only knows how many.

    Arguments are those of `hetagent.calibrate.fitting.fit`.
    """
    if min(correct.sum(), (~correct).sum()) >= 2:
        return fit(table, correct, of_input=of_input, seed=seed)
    # Laplace's rule of succession for all, in the order of the raw confidence.
    share = float((correct.sum() + 1) / (len(correct) + 2))
    constant = Calibrator("constant", {"log_odds": 1.0}, (0.0,), (share,))
    held_out = np.full(len(table), share)
    return Fit(constant, held_out, {"constant": log_loss(held_out, correct)})


def _proved(found: Found | None, n: int) -> dict[str, Any]:
    if found is None:
        return {
            "threshold": None,
            "n": n,
            "accepted": 0,
            "errors": 0,
            "upper_bound": 1.0,
            "p_value": 1.0,
        }
    return {
        "threshold": found.threshold,
        "n": n,
        "accepted": found.accepted,
        "errors": found.errors,
        "upper_bound": found.upper_bound,
        "p_value": found.p_value,
    }


def _raw(table: EvidenceTable) -> Floats:
    raw: Floats = np.exp(table.column("right"))
    return raw


def _quality(confidence: Floats, correct: Any) -> Quality:
    ranking = auroc(confidence, correct)
    return Quality(
        calibration_error(confidence, correct),
        log_loss(confidence, correct),
        None if math.isnan(ranking) else ranking,
        aurc(confidence, correct),
    )


def _curves(scores: Floats, calibrated: Floats, raw: Floats, correct: Any) -> Curves:
    # Ranks stand for scores: only their order matters, and they are within [0, 1].
    ranks = np.unique(scores, return_inverse=True)[1] / len(scores)
    _, coverage, risk = risk_coverage(ranks, correct)
    kept = np.unique(np.linspace(0, len(coverage) - 1, min(_POINTS, len(coverage))).astype(int))
    return Curves(
        tuple(coverage[kept].round(6).tolist()),
        tuple(risk[kept].round(6).tolist()),
        _bins(calibrated, correct),
        _bins(raw, correct),
    )


def _bins(confidence: Floats, correct: Any) -> tuple[tuple[float, float, int], ...]:
    return tuple((b.confidence, b.accuracy, b.n) for b in reliability(confidence, correct))
