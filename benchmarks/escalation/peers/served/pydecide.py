"""pydecide's split-conformal gate: its fit and its gate, as published."""

from __future__ import annotations

import math
from importlib import metadata
from typing import Any

from decide import ChoiceAnswer, NoulAnswer, Response
from decide.calibration import fit_conformal_quantile
from decide.policies import ConformalGate
from decide.types import Meta

from benchmarks.engine.peers.serve import serve

ROUNDINGS = 64  # 1 - p may round up to the cut
META = Meta(backend="given", model=None, latency_ms=0.0)


class Gates:
    """``choose`` for pairs; ``cut`` for answers with a probability for each label."""

    evaluated = None

    def __init__(self, population: dict[str, Any], options: dict[str, Any]) -> None:
        self._of_right = population.get("of_right", [])
        self._seconds = sorted(set(population.get("seconds", [])))
        self.facts = {"version": metadata.version("pydecide")}

    def warm(self) -> None:
        """Nothing is loaded late."""

    def choose(self, scores: list[float], correct: list[bool], alpha: float) -> dict[str, Any]:
        """The least score of a "yes, this answer is right" that the gate passes."""
        rows = [
            ((score, 1.0 - score), 0 if right else 1)
            for score, right in zip(scores, correct, strict=True)
        ]
        quantile = fit_conformal_quantile(rows, alpha=alpha)
        gate = ConformalGate(quantile=quantile)
        # "Yes" alone survives above the quantile; below 0.5 the answer is "no".
        least = 0.5 if quantile < 0.5 else math.nextafter(quantile, 2.0)
        for _ in range(ROUNDINGS):
            if least > 1.0 or passes(gate, NoulAnswer(noul=least)):
                break
            least = math.nextafter(least, 2.0)
        usable = least <= 1.0 and passes(gate, NoulAnswer(noul=least))
        return {"quantile": quantile, "threshold": least if usable else None}

    def cut(self, draw: list[int], alpha: float) -> dict[str, Any]:
        """The greatest probability of a second label with which an answer still passes."""
        rows = [((self._of_right[index],), 0) for index in draw]
        quantile = fit_conformal_quantile(rows, alpha=alpha)
        gate = ConformalGate(quantile=quantile)
        low, high = 0, len(self._seconds)
        while low < high:
            middle = (low + high) // 2
            second = self._seconds[middle]
            answer = ChoiceAnswer(choice="a", probabilities={"a": 1.0 - second, "b": second})
            low, high = (middle + 1, high) if passes(gate, answer) else (low, middle)
        return {"quantile": quantile, "second": self._seconds[low - 1] if low else None}


def passes(gate: ConformalGate, answer: ChoiceAnswer | NoulAnswer) -> bool:
    return gate.passes(Response(answers={"answer": answer}, meta=META))[0]


if __name__ == "__main__":
    serve(Gates)
