"""How much accuracy one model may have lost against another, on the same labelled rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["PairedRows"]

_PRECISION = 1e-9


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Rows on which two models were both judged right or wrong.

    Attributes:
        rows: How many there are.
        lost: Rows the first one has right and the second one wrong.
        won: Rows the first one has wrong and the second one right.
    """

    rows: int
    lost: int
    won: int

    @property
    def loss(self) -> float:
        """Accuracy of the first less that of the second, as measured."""
        return (self.lost - self.won) / self.rows

    def upper_loss(self, confidence: float) -> float:
        """An upper bound of the loss that holds with a given probability.

        It is the upper end of the one-sided score interval for a difference of paired proportions
        (Tango, Statistics in Medicine 17, 1998, 891-908), which keeps its level with few rows that
        differ, where a bootstrap would claim certainty from none. It is never below the exact
        binomial bound (Clopper and Pearson, 1934) on a loss without any gain, which is what is left
        with no row that differs: about 3 / rows at 95%.

        Args:
            confidence: From 0.5 up to, not including, 1.
        """
        score = self._score_bound(NormalDist().inv_cdf(confidence))
        return max(score, _binomial_bound(max(self.lost - self.won, 0), self.rows, 1 - confidence))

    def rows_needed(self, max_loss: float, confidence: float) -> int | None:
        """About how many rows would show a loss within a bound, if it stays as measured.

        Returns:
            The number; ``None`` where the measured loss is over the bound, so that none would.
        """
        room = max_loss - self.loss
        if room <= 0:
            return None
        spread = (self.lost + self.won) / self.rows - self.loss**2
        by_score = NormalDist().inv_cdf(confidence) ** 2 * spread / room**2
        # Where nothing differs: (1 - max_loss) ** rows must fall to 1 - confidence.
        by_count = math.log(1 - confidence) / math.log1p(-max_loss) if max_loss < 1 else 1
        return math.ceil(max(by_score, by_count))

    def _score_bound(self, z: float) -> float:
        """The loss above the measured one that is z standard errors, at that loss, away."""
        low, high = self.loss, 1.0
        while high - low > _PRECISION:
            middle = (low + high) / 2
            if (middle - self.loss) * self.rows < z * self._deviation(middle):
                low = middle
            else:
                high = middle
        return high

    def _deviation(self, loss: float) -> float:
        """Standard deviation of ``lost - won``, were ``loss`` the true one.

        The share of won rows is estimated by maximum likelihood under that loss: the larger root of
        2 n q² - (lost + won + (lost - won - 2 n) loss) q - won loss (1 - loss) = 0.
        """
        n = self.rows
        linear = self.lost + self.won + (self.lost - self.won - 2 * n) * loss
        root = math.sqrt(max(0.0, linear**2 + 8 * n * self.won * loss * (1 - loss)))
        won = (linear + root) / (4 * n)
        return math.sqrt(max(0.0, n * (2 * won + loss * (1 - loss))))


def _binomial_bound(count: int, rows: int, error: float) -> float:
    """The probability at which ``count`` or fewer of ``rows`` has probability ``error``."""
    low, high = count / rows, 1.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if _at_most(count, rows, middle) > error:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, rows: int, probability: float) -> float:
    """The binomial distribution function."""
    if probability >= 1:
        return float(count >= rows)
    yes, no = math.log(probability or 1e-300), math.log1p(-probability)
    whole = math.lgamma(rows + 1)
    return sum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(rows - k + 1) + k * yes + (rows - k) * no)
        for k in range(count + 1)
    )
