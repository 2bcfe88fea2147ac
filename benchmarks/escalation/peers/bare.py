"""The bare threshold: what is done where nothing is calibrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BareThreshold"]


class BareThreshold:
    """Accept where the score says that the error is at most alpha; labels are not looked at."""

    name = "bare threshold"

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
    ) -> float | None:
        """1 - alpha, whatever the labels say."""
        return 1 - alpha
