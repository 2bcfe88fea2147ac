"""What certifying each skill by itself would give, for comparison.

With k skills each is certified at α/k with 1 - δ/k: of its accepted answers at most α/k are not
the LLM's. The sum of these bounds every run (Bonferroni): where all accepted answers are the LLM's
the run ends as the LLM's would. It holds for any workflow, knows nothing of this one, and needs no
final values but as many labelled steps. A skill that is called several times in a run is counted
with all its calls, which then are not independent, so that it is a comparison and no promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certifying import Split, certify
from hetagent.calibrate.joint import measured
from hetagent.calibrate.replays import Forest
from hetagent.calibrate.workflow_certificate import Measured

__all__ = ["even_split", "evenly"]

_LEAST = 20


def even_split(
    forest: Forest,
    *,
    rows: Split,
    max_error: float,
    confidence: float,
    prices: Any = None,
    seed: int = 0,
) -> Measured:
    """What it would do on the certifying runs; arguments as of `joint.certify_jointly`."""
    calibrators, thresholds = evenly(
        forest, rows=rows, max_error=max_error, confidence=confidence, seed=seed
    )
    price = np.ones(len(forest.skills)) if prices is None else prices
    return measured(forest.take(rows[1]).scored(calibrators), thresholds, price)


def evenly(
    forest: Forest, *, rows: Split, max_error: float, confidence: float, seed: int = 0
) -> tuple[dict[str, Calibrator], Any]:
    """Calibrators by skill, and thresholds, infinite where nothing is accepted; shape (k,)."""
    k = len(forest.skills)
    thresholds = np.full(k, np.inf)
    calibrators: dict[str, Calibrator] = {}
    run = np.repeat(
        np.repeat(np.arange(len(forest)), np.diff(forest.starts)), np.diff(forest.first_steps)
    )
    for number, name in enumerate(forest.skills):
        own = np.nonzero(forest.on_trunk & forest.usable & (forest.skill == number))[0]
        parts = [np.nonzero(np.isin(run[own], some))[0] for some in rows]
        if min(map(len, parts)) < _LEAST:
            continue
        part = certify(
            forest.table.take(own),
            forest.agrees[own],
            rows=(parts[0], parts[1]),
            max_error=max_error / k,
            confidence=1 - (1 - confidence) / k,
            seed=seed,
        )
        calibrators[name] = part.calibrator
        if part.threshold is not None:
            thresholds[number] = part.threshold
    return calibrators, thresholds
