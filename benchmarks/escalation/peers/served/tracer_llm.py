"""tracer-llm's acceptor, threshold and parity gate, as published."""

from __future__ import annotations

import os

# Its regressions are small; threads would only take the other cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np
from tracer.fit import pipeline

from benchmarks.engine.peers.serve import serve

# The same bound for the same counts: asked for thousands of times in a sweep, and again in the
# next draw. It changes no result.
pipeline._cp_lower = lru_cache(maxsize=None)(pipeline._cp_lower)


class Given:
    """Stands in for the surrogate: answers are those of a model that is there already.

    Where tracer-llm has embeddings, this has the answer's place in the population.
    """

    def __init__(self, probabilities: np.ndarray) -> None:
        self._probabilities = probabilities

    def predict_proba(self, places: np.ndarray) -> np.ndarray:
        return self._probabilities[places[:, 0]]

    def predict(self, places: np.ndarray) -> np.ndarray:
        return self.predict_proba(places).argmax(axis=1)


class Acceptor:
    """``choose`` for pairs; ``accepts`` for answers with a probability for each label."""

    evaluated = None

    def __init__(self, population: dict[str, Any], options: dict[str, Any]) -> None:
        self.facts = {"version": metadata.version("tracer-llm")}
        if not population:
            return
        self._right = np.array(population["right"])
        self._places = np.arange(len(self._right))[:, None]
        given = Given(np.array(population["probabilities"]))
        pipeline.search_best_surrogate = lambda *_, **__: (
            given,
            "given",
            {"teacher_f1": 0.0, "teacher_acc": 0.0},
        )
        pipeline._split_buffer = halves

    def warm(self) -> None:
        """Nothing is loaded late."""

    def choose(
        self, scores: list[float], correct: list[bool], alpha: float, delta: float
    ) -> dict[str, Any]:
        """The score as the acceptor's: everything where the whole draw clears, else a threshold."""
        wrong = (~np.array(correct)).astype(int)
        right = np.zeros(len(wrong), int)
        if pipeline._cp_lower(int((wrong == 0).sum()), len(wrong), delta) >= 1 - alpha:
            return {"threshold": 0.0}
        found = pipeline._calibrate_threshold(np.array(scores), wrong, right, 1 - alpha, delta)
        if found is None or found["coverage"] < LEAST_COVERAGE:
            return {"threshold": None}
        return {"threshold": found["threshold"]}

    def accepts(self, draw: list[int], alpha: float, delta: float) -> dict[str, Any]:
        """The whole of its fit, but for the surrogate; then its router over the population."""
        places = np.array(draw)
        frontier, _ = pipeline.fit_frontier(
            places[:, None],
            self._right[places],
            [1 - alpha],
            max_fit_labels=len(draw),
            min_coverage=LEAST_COVERAGE,
            alpha=delta,
        )
        best = frontier[0]["best"]
        if best is None:
            return {"accepted": "", "method": None}
        _, handled, _ = pipeline.route_pipeline(best["stages"], self._places)
        return {"accepted": np.packbits(handled).tobytes().hex(), "method": best["method"]}


LEAST_COVERAGE = 0.05  # its default, `FitConfig.min_deploy_coverage`


def halves(places: np.ndarray, right: np.ndarray, seed: int = 42) -> dict[str, Any]:
    """Half of the draw fits the acceptor and half calibrates, as its 20% and 20% do.

    There is no surrogate to train, which would have had the other 60%; all of the draw stands in
    its place, where it is only counted.
    """
    fit, calibrate = pipeline._holdout_indices(right, 0.5, seed)
    parts = {"train": np.arange(len(right)), "val": fit, "cal": calibrate}
    split: dict[str, Any] = {"n_fit": len(right)}
    for name, part in parts.items():
        split[f"X_{name}"], split[f"y_{name}"] = places[part], right[part]
    return split


if __name__ == "__main__":
    serve(Acceptor)
