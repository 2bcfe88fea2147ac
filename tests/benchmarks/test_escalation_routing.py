"""The measures by which routers are compared."""

import numpy as np
import pytest

from benchmarks.escalation.routing import Outcomes, apgr, cpt

WEAK = np.array([True, False, False, True, False, False])
STRONG = np.array([True, True, True, False, False, True])
BOTH = Outcomes(WEAK, STRONG)


def test_a_constant_score_recovers_the_gap_evenly():
    constant = np.zeros(6)
    assert apgr(BOTH, constant) == pytest.approx(0.5)
    assert cpt(BOTH, constant, 0.5) == pytest.approx(0.5)


def test_a_score_that_knows_all_goes_above_the_strong_model():
    gain = STRONG.astype(float) - WEAK
    # By hand: 0, 1/2, 1, 3/2, 3/2, 3/2, 1 of the gap with 0 to 6 calls.
    assert apgr(BOTH, gain) == pytest.approx((0.5 + 1 + 1.5 * 3 + 0.5) / 6)
    assert cpt(BOTH, gain, 0.5) == pytest.approx(1 / 6)
    assert cpt(BOTH, gain, 0.8) == pytest.approx(2 / 6)


def test_equal_scores_are_no_order():
    rows = np.array([3, 4, 5, 0, 1, 2])
    coarse = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    assert apgr(BOTH, coarse) == pytest.approx(apgr(BOTH.take(rows), coarse[rows]))
    assert apgr(BOTH, -coarse) + apgr(BOTH, coarse) == pytest.approx(1.0)
