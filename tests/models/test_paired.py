from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.models.paired import PairedRows


@st.composite
def paired(draw: st.DrawFn) -> PairedRows:
    rows = draw(st.integers(1, 400))
    lost = draw(st.integers(0, rows))
    return PairedRows(rows, lost, draw(st.integers(0, rows - lost)))


@given(paired(), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_the_bound_is_above_the_loss_and_grows_with_confidence(pairs, one, other):
    low, high = sorted((one, other))
    assert pairs.loss <= pairs.upper_loss(low) <= pairs.upper_loss(high) + 1e-8 <= 1 + 1e-7


@pytest.mark.parametrize("rows", [40, 150])
@pytest.mark.parametrize(
    ("lost", "won"), [(0.03, 0), (0.1, 0), (0.05, 0.01), (0.1, 0.05), (0.3, 0.1)]
)
def test_the_bound_holds_as_often_as_it_says(rows: int, lost: float, won: float):
    """Computed over all outcomes there are, not sampled."""
    held = 0.0
    for left in range(rows + 1):
        for right in range(rows + 1 - left):
            chance = _trinomial(rows, left, right, lost, won)
            if chance > 1e-7 and PairedRows(rows, left, right).upper_loss(0.95) >= lost - won:
                held += chance
    assert held > 0.945


def _trinomial(rows: int, left: int, right: int, lost: float, won: float) -> float:
    if right and not won:
        return 0.0
    ways = math.lgamma(rows + 1) - math.lgamma(left + 1) - math.lgamma(right + 1)
    ways -= math.lgamma(rows - left - right + 1)
    logs = left * math.log(lost) + (right * math.log(won) if right else 0.0)
    return math.exp(ways + logs + (rows - left - right) * math.log1p(-lost - won))


def test_no_row_that_differs_is_no_proof_of_no_loss():
    assert PairedRows(300, 0, 0).upper_loss(0.95) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-6)


@pytest.mark.parametrize(("rows", "lost", "won"), [(44, 1, 0), (300, 6, 6), (120, 3, 9)])
def test_the_score_at_the_bound_is_the_quantile(rows: int, lost: int, won: int):
    """With the share of won rows found by a search of the likelihood, not by its equation."""
    bound = PairedRows(rows, lost, won)._score_bound(1.6449)

    def likelihood(share: float) -> float:
        cells = ((lost, share + bound), (won, share), (rows - lost - won, 1 - 2 * share - bound))
        return sum(count * math.log(part) for count, part in cells if count)

    low, high = max(0.0, -bound) + 1e-12, (1 - bound) / 2 - 1e-12
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if likelihood(left) < likelihood(right) else (low, right)
    variance = rows * (2 * low + bound * (1 - bound))
    assert (rows * bound - lost + won) / math.sqrt(variance) == pytest.approx(1.6449, abs=1e-3)


@given(paired(), st.floats(0.005, 0.3))
def test_the_rows_needed_would_settle_it(pairs, max_loss):
    needed = pairs.rows_needed(max_loss, 0.95)
    if needed is None:
        assert pairs.loss >= max_loss
    elif needed < 10_000:
        share = needed / pairs.rows
        more = PairedRows(needed, round(pairs.lost * share), round(pairs.won * share))
        # The deviation at the bound is larger than at the measured loss, hence "about".
        assert more.upper_loss(0.95) <= 1.6 * max_loss + 2 / needed
