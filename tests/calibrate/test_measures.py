"""Calibration error, ranking, risk and coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.calibrate.measures import (
    aurc,
    auroc,
    calibration_error,
    log_loss,
    reliability,
    risk_coverage,
)
from hetagent.errors import InputError

answers = st.lists(st.tuples(st.sampled_from([i / 8 for i in range(9)]), st.booleans()), min_size=1)


def test_bins_have_equal_mass():
    p = np.linspace(0, 1, 30)
    table = reliability(p, p > 0.5, bins=3)
    assert [one.n for one in table] == [10, 10, 10]
    assert [one.accuracy for one in table] == [0.0, 0.5, 1.0]
    assert table[0].confidence == pytest.approx(p[:10].mean())


@given(answers, st.integers(1, 20))
def test_equal_confidences_are_in_one_bin(pairs, bins):
    p, y = zip(*pairs, strict=True)
    table = reliability(p, y, bins=bins)
    assert sum(one.n for one in table) == len(p)
    assert sum(one.n * one.accuracy for one in table) == pytest.approx(sum(y))
    assert sum(one.n * one.confidence for one in table) == pytest.approx(sum(p))
    assert len(table) <= len(set(p))


def test_the_plain_error_of_a_constant():
    assert calibration_error([0.7] * 10, [True] * 5 + [False] * 5, debiased=False) == (
        pytest.approx(0.2)
    )


def test_debiasing_takes_off_what_chance_adds():
    random = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(40):
        p = random.random(600)
        y = random.random(600) < p
        plain.append(calibration_error(p, y, debiased=False))
        debiased.append(calibration_error(p, y))
    assert np.mean(plain) > 0.04, "perfect confidences look wrong by this much"
    assert np.mean(debiased) < 0.65 * np.mean(plain)


def test_debiasing_keeps_a_real_gap():
    random = np.random.default_rng(0)
    p = random.random(4000)
    y = random.random(4000) < np.clip(p - 0.15, 0, 1)
    assert calibration_error(p, y) == pytest.approx(0.15 - 0.15**2 / 2, abs=0.02)


def test_log_loss_is_that_of_the_bernoulli_distribution():
    expected = -(math.log(0.8) + math.log(0.7)) / 2
    assert log_loss([0.8, 0.3], [True, False]) == pytest.approx(expected)
    assert math.isfinite(log_loss([1.0], [False]))


@given(answers)
def test_auroc_counts_pairs(pairs):
    right = [p for p, y in pairs if y]
    wrong = [p for p, y in pairs if not y]
    found = auroc(*zip(*pairs, strict=True))
    if not right or not wrong:
        assert math.isnan(found)
        return
    wins = sum((a > b) + (a == b) / 2 for a in right for b in wrong)
    assert found == pytest.approx(wins / (len(right) * len(wrong)))


@given(answers)
def test_risk_and_coverage_are_those_of_each_threshold(pairs):
    p, y = map(np.array, zip(*pairs, strict=True))
    for threshold, coverage, risk in zip(*risk_coverage(p, y), strict=True):
        accepted = p >= threshold
        assert coverage == pytest.approx(accepted.mean())
        assert risk == pytest.approx((~y[accepted]).mean())


@given(answers)
@settings(max_examples=50)
def test_the_area_is_the_mean_over_random_orders_of_ties(pairs):
    p, y = map(np.array, zip(*pairs, strict=True))
    random = np.random.default_rng(0)
    areas = []
    for _ in range(300):
        order = np.lexsort((random.random(len(p)), -p))
        areas.append(np.mean(np.cumsum(~y[order]) / np.arange(1, len(p) + 1)))
    assert aurc(p, y) == pytest.approx(np.mean(areas), abs=0.08)


def test_the_area_of_a_perfect_order_is_the_least():
    y = np.array([True] * 6 + [False] * 4)
    best = aurc(np.linspace(1, 0, 10), y)
    assert best == pytest.approx(sum((k - 6) / k for k in range(7, 11)) / 10)
    assert aurc(np.full(10, 0.5), y) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("p", "y"), [([], []), ([0.5], []), ([[0.5]], [[True]]), ([1.5], [True]), ([math.nan], [True])]
)
def test_what_cannot_be_measured(p, y):
    with pytest.raises(InputError):
        log_loss(p, y)
