"""Exact binomial tests and bounds. Needs SciPy, which comes with ``hetagent[calibrate]``."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from hetagent.errors import MissingExtraError

__all__ = ["allowed_errors", "interval", "noticeable_rate", "p_value", "upper_bound"]

_MOSTLY = 0.8


def p_value(errors: Any, n: Any, rate: float) -> Any:
    """P(at most this many errors among n) if the error rate were ``rate``, or more.

    It is the p-value of the exact binomial test of the hypothesis that the true rate is above
    ``rate``. Arrays are taken element by element; it is 1 for n = 0.
    """
    errors, n = np.asarray(errors, dtype=float), np.asarray(n, dtype=int)
    tail = _scipy("special").bdtr(np.minimum(errors, n), np.maximum(n, 1), rate)
    return np.where(n > 0, tail, 1.0)


def allowed_errors(n: Any, *, rate: float, level: float) -> Any:
    """The most errors among n for which `p_value` is at most ``level``; -1 for none at all."""
    n = np.asarray(n, dtype=int)
    # Of all numbers the first whose tail reaches the level; the one before is below it.
    reached = _scipy("stats").binom.ppf(level, n, rate)
    exactly = p_value(reached, n, rate) <= level
    return np.where(n > 0, np.where(exactly, reached, reached - 1), -1).astype(int)


def upper_bound(errors: int, n: int, *, confidence: float) -> float:
    """Upper end of the one-sided interval for a binomial proportion (Clopper and Pearson 1934)."""
    if errors >= n:
        return 1.0
    return float(_scipy("stats").beta.ppf(confidence, errors + 1, n - errors))


def interval(errors: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Two-sided interval for a binomial proportion (Clopper and Pearson 1934); all for n = 0."""
    side = 1 - (1 - confidence) / 2
    low = 1 - upper_bound(n - errors, n, confidence=side)
    return low, upper_bound(errors, n, confidence=side)


def noticeable_rate(n: int, *, rate: float, confidence: float) -> float:
    """The least true rate for which n trials mostly show that it is above ``rate``.

    They show it where the lower end of `interval` is above ``rate``; mostly means in 80% of draws.
    It is 1 where n trials never do.
    """
    for errors in range(n + 1):
        if interval(errors, n, confidence=confidence)[0] > rate:
            # P(X >= k) for X binomial(n, p) is the regularised incomplete beta function of p.
            return float(_scipy("stats").beta.ppf(_MOSTLY, errors, n - errors + 1))
    return 1.0


def _scipy(module: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{module}")
    except ImportError as error:
        raise MissingExtraError("scipy", extra="calibrate") from error
