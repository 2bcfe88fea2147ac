"""pydecide 0.2.19: accept where one label survives a split-conformal cut.

`fit_conformal_quantile` takes q, the ⌈(n + 1)(1 - alpha)⌉-th smallest of 1 - p(right label),
rounded to six decimals; `ConformalGate` passes an answer where at most one label has p ≥ 1 - q.
What it promises is that the right label is among the survivors with probability 1 - alpha, over
the draw and the next input together. It says nothing of the error among the answers that pass,
which is what alpha means in this benchmark, and it has no delta.

Both classes run pydecide's own fit and gate in its own environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.peers.worker import VENVS, Peer

__all__ = ["Pydecide", "PydecideLabels"]


class Pydecide:
    """On pairs alone: each is a yes/no answer to "is this right?" whose p(yes) is the score.

    The gate passes a sure "no" as gladly as a sure "yes"; only "yes" is an accepted answer here.

    Args:
        venvs: Folder with the virtual environments.
    """

    name = "pydecide"

    def __init__(self, *, venvs: Path = VENVS) -> None:
        self._peer = Peer("pydecide", module="pydecide", venvs=venvs)
        self.facts = self._peer.facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
    ) -> float | None:
        """The least score accepted; ``None`` where nothing is."""
        reply = self._peer.ask(
            "choose", scores=scores.tolist(), correct=correct.tolist(), alpha=alpha
        )
        threshold: float | None = reply["threshold"]
        return threshold


class PydecideLabels:
    """As it is meant: on the probabilities of all labels of a choice.

    Its gate counts the labels with p ≥ 1 - q, so an answer passes where the second most probable
    label is below that; also where no label reaches it.

    Args:
        probabilities: Of each answer of the population, for each label; shape (answers, labels).
        right: The right label's index for each answer; -1 where it is none of the labels, which
            then has probability 0.
        venvs: Folder with the virtual environments.
    """

    name = "pydecide, all labels"

    def __init__(
        self,
        probabilities: NDArray[np.float64],
        right: NDArray[np.int64],
        *,
        venvs: Path = VENVS,
    ) -> None:
        rows = np.arange(len(right))
        of_right = np.where(right >= 0, probabilities[rows, right], 0.0)
        self._seconds = np.partition(probabilities, -2, axis=1)[:, -2]
        population: dict[str, Any] = {
            "of_right": of_right.tolist(),
            "seconds": self._seconds.tolist(),
        }
        self._peer = Peer("pydecide", module="pydecide", population=population, venvs=venvs)
        self.facts = self._peer.facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def accepts(
        self,
        draw: NDArray[np.int64],
        *,
        alpha: float,
        delta: float,
    ) -> NDArray[np.bool_]:
        """Which of the population it accepts, having seen the labels of those in the draw."""
        second = self._peer.ask("cut", draw=draw.tolist(), alpha=alpha)["second"]
        if second is None:
            return np.zeros(len(self._seconds), bool)
        return self._seconds <= second
