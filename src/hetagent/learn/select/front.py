"""Which entrants nothing else beats in every way, and which one is to serve the skill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from hetagent.models.paired import PairedRows

__all__ = ["Finalist", "choose", "on_front", "wilson"]


@dataclass(frozen=True, slots=True)
class Finalist:
    """An entrant that was not dropped.

    Attributes:
        name: Its name.
        right: Whether it has each row right; the rows of all finalists begin alike.
        calls_per_second: Its speed.
    """

    name: str
    right: tuple[bool, ...]
    calls_per_second: float

    @property
    def quality(self) -> float:
        """Share of its rows that it has right."""
        return sum(self.right) / len(self.right)


def wilson(right: int, rows: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval for a proportion (Wilson, JASA 22, 1927, 209-212); all for no rows."""
    if not rows:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, unit = right / rows, z * z / rows
    middle = (share + unit / 2) / (1 + unit)
    reach = z * math.sqrt(share * (1 - share) / rows + unit / (4 * rows)) / (1 + unit)
    # At no or all right the ends are exactly 0 and 1, which rounding would miss.
    low = 0.0 if right == 0 else max(0.0, middle - reach)
    return low, 1.0 if right == rows else min(1.0, middle + reach)


def on_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other one is at least as good as in all, and better in one (Pareto).

    Args:
        points: In each dimension more is better.
    """
    return [not any(_beats(other, one) for other in points) for one in points]


def choose(
    finalists: Sequence[Finalist], *, margin: float = 0.01, confidence: float = 0.95
) -> tuple[str, str]:
    """The fastest finalist that is shown to lose little against the best, or else the best.

    The loss is that of paired proportions on the rows that both answered; its upper bound is
    `PairedRows.upper_loss`, with the error shared among all that are faster than the best
    (Bonferroni). The best is the one with the most right of those that answered most rows; of equal
    ones the fastest.

    Args:
        finalists: At least one.
        margin: The loss of quality that speed is worth: 0.01 is one point.
        confidence: How surely it is within the margin.

    Returns:
        Its name, and why, in a sentence.
    """
    most = max(len(one.right) for one in finalists)
    full = [one for one in finalists if len(one.right) == most]
    best = max(full, key=lambda one: (sum(one.right), one.calls_per_second))
    faster = [one for one in finalists if one.calls_per_second > best.calls_per_second]
    faster.sort(key=lambda one: -one.calls_per_second)
    sure = 1 - (1 - confidence) / max(1, len(faster))
    near: tuple[Finalist, PairedRows] | None = None
    for one in faster:
        pairs = _paired(best, one)
        upper = pairs.upper_loss(sure)
        if upper <= margin:
            return one.name, (
                f"It is {_times(one, best)} as fast as {best.name}, the best, and loses at most "
                f"{_points(upper)} against it, with confidence {confidence:g}."
            )
        if near is None and pairs.loss <= margin:
            near = one, pairs
    why = f"It has the most right, {best.quality:.1%} of {most:,} rows"
    if not faster:
        return best.name, f"{why}, and nothing in the race is faster."
    if near is None:
        return best.name, f"{why}; what is faster loses more than {_points(margin)}."
    one, pairs = near
    needed = pairs.rows_needed(margin, sure)
    enough = f"; about {needed:,} might" if needed is not None else ""
    return best.name, (
        f"{why}. {one.name} is {_times(one, best)} as fast, and {pairs.rows:,} rows do not show "
        f"that it loses at most {_points(margin)}{enough}."
    )


def _paired(best: Finalist, other: Finalist) -> PairedRows:
    pairs = list(zip(best.right, other.right, strict=False))
    lost = sum(ours and not theirs for ours, theirs in pairs)
    return PairedRows(len(pairs), lost, sum(theirs and not ours for ours, theirs in pairs))


def _beats(other: Sequence[float], one: Sequence[float]) -> bool:
    pairs = list(zip(other, one, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _times(one: Finalist, best: Finalist) -> str:
    times = one.calls_per_second / best.calls_per_second
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"


def _points(share: float) -> str:
    number = round(100 * share, 1)
    return f"{number:g} point{'' if number == 1 else 's'}"
