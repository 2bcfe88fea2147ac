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

from hetagent.calibrate.certifying import Split
from hetagent.calibrate.joint import Fits, Levels, measured
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.replays import Forest
from hetagent.calibrate.thresholds import find_threshold, plan
from hetagent.calibrate.workflow_certificate import Measured

__all__ = ["even_split", "evenly"]


def even_split(
    forest: Forest,
    fits: Fits,
    *,
    rows: Split,
    levels: Levels,
    prices: Any = None,
    seed: int = 0,
) -> Measured:
    """What it would do on the certifying runs; arguments as of `evenly`, and prices by skill."""
    thresholds = evenly(forest, fits, rows=rows, levels=levels, seed=seed)
    price = np.ones(len(forest.skills)) if prices is None else prices
    return measured(forest.take(rows[1]).scored(fits.calibrators), thresholds, price)


def evenly(forest: Forest, fits: Fits, *, rows: Split, levels: Levels, seed: int = 0) -> Floats:
    """Certify each skill by itself, with the same tests as `hetagent.Orchestrator.calibrate`.

    Args:
        forest: The replays of n labelled runs.
        fits: Of `Forest.agrees` of the runs that fit.
        rows: Which fit, and which certify.
        levels: What to keep of the whole.
        seed: Of the simulations.

    Returns:
        Thresholds, infinite where nothing is accepted; of shape (k,).
    """
    k = len(forest.skills)
    thresholds = np.full(k, np.inf)
    fitting, testing = forest.take(rows[0]), forest.take(rows[1])
    seen, fresh = fitting.scored(fits.calibrators), testing.scored(fits.calibrators)
    kept = {"max_error": levels.max_error / k, "confidence": 1 - levels.doubt / k}
    for number, name in enumerate(forest.skills):
        known, new = fitting.of_skill(number), testing.of_skill(number)
        if name not in fits.calibrators or not new.any():
            continue
        counts = plan(
            seen.scores[known], 1 - fits.wrong[known], n=int(new.sum()), seed=seed, **kept
        ).counts
        found = find_threshold(fresh.scores[new], testing.agrees[new], counts=counts, **kept)
        if found is not None:
            thresholds[number] = found.threshold
    return thresholds
