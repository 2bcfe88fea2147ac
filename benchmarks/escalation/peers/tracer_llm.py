"""tracer-llm 0.3.3: an acceptor over a surrogate's answers, with a parity gate.

Its threshold: of 70% of the pairs, every score t with at least 10 pairs at or above it is a
candidate where the Clopper-Pearson lower bound, at 1 - delta, of the share that is right is at
least 1 - alpha; the lowest candidate is taken for which of the other 30% at least 10 are at or
above it and at least 1 - alpha of these are right. A bound for each t says nothing of the t that
is the best of hundreds. Its parity gate accepts everything where the bound over all pairs is at
least 1 - alpha, and nothing where less than 5% would be accepted. Equal scores are accepted or
refused together.

It trains its surrogate on embeddings. That would be another model than the one whose escalation is
measured, so its answers are replaced by the model's; all else is its own code, in its own
environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.peers.worker import VENVS, Peer

__all__ = ["Tracer", "TracerLabels"]


class Tracer:
    """On pairs alone: the score stands for the acceptor's, and all pairs go to the threshold.

    Args:
        venvs: Folder with the virtual environments.
    """

    name = "tracer-llm"

    def __init__(self, *, venvs: Path = VENVS) -> None:
        self._peer = Peer("tracer-llm", module="tracer_llm", venvs=venvs)
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
        """The least score accepted, 0 for all of them; ``None`` where nothing is."""
        reply = self._peer.ask(
            "choose", scores=scores.tolist(), correct=correct.tolist(), alpha=alpha, delta=delta
        )
        threshold: float | None = reply["threshold"]
        return threshold


class TracerLabels:
    """With its acceptor: a logistic regression on what the probabilities of all labels tell.

    Its features are the two greatest probabilities, the margin between them, and the entropy over
    that of a flat distribution. Half of the draw fits it and half calibrates. Of its three
    families (all, one acceptor, a second acceptor on what the first refuses) it takes the one that
    accepts the most of the calibration half.

    Args:
        probabilities: Of each answer of the population, for each label; shape (answers, labels).
        right: The right label's index for each answer; -1 where it is none of the labels.
        venvs: Folder with the virtual environments.
    """

    name = "tracer-llm, all labels"

    def __init__(
        self,
        probabilities: NDArray[np.float64],
        right: NDArray[np.int64],
        *,
        venvs: Path = VENVS,
    ) -> None:
        population: dict[str, Any] = {
            "probabilities": probabilities.tolist(),
            "right": right.tolist(),
        }
        self._count = len(right)
        self._peer = Peer("tracer-llm", module="tracer_llm", population=population, venvs=venvs)
        self.facts = self._peer.facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def accepts(self, draw: NDArray[np.int64], *, alpha: float, delta: float) -> NDArray[np.bool_]:
        """Which of the population it accepts, having seen the labels of those in the draw."""
        reply = self._peer.ask("accepts", draw=draw.tolist(), alpha=alpha, delta=delta)
        packed = np.frombuffer(bytes.fromhex(reply["accepted"]), np.uint8)
        if not len(packed):
            return np.zeros(self._count, bool)
        return np.unpackbits(packed, count=self._count).astype(bool)
