"""Exact intervals: that they hold as often as they say, and what a check can show."""

import math

import pytest

from hetagent.calibrate.bounds import interval, noticeable_rate


def chance(errors: int, n: int, rate: float) -> float:
    return math.comb(n, errors) * rate**errors * (1 - rate) ** (n - errors)


@pytest.mark.parametrize(
    ("errors", "n", "low", "high"),
    [
        # Tables of the Clopper-Pearson interval at 95%.
        (10, 100, 0.0490, 0.1762),
        (0, 20, 0.0, 0.1684),
        (20, 20, 0.8316, 1.0),
        (1, 10, 0.0025, 0.4450),
    ],
)
def test_the_interval_is_that_of_clopper_and_pearson(errors, n, low, high):
    assert interval(errors, n, confidence=0.95) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("rate", [0.01, 0.08, 0.1, 0.37, 0.5, 0.92])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_holds_at_least_as_often_as_it_says(rate, confidence):
    n = 31
    held = sum(
        chance(errors, n, rate)
        for errors in range(n + 1)
        if (ends := interval(errors, n, confidence=confidence))[0] <= rate <= ends[1]
    )
    assert held >= confidence


def test_without_answers_any_rate_is_possible():
    assert interval(0, 0, confidence=0.95) == (0.0, 1.0)
    assert noticeable_rate(0, rate=0.1, confidence=0.95) == 1.0


def test_the_noticeable_rate_is_shown_to_be_too_high_in_four_of_five_draws():
    n, allowed = 77, 0.1
    rate = noticeable_rate(n, rate=allowed, confidence=0.95)

    def shown(true: float) -> float:
        return sum(
            chance(errors, n, true)
            for errors in range(n + 1)
            if interval(errors, n, confidence=0.95)[0] > allowed
        )

    assert shown(rate) == pytest.approx(0.8)
    assert shown(rate - 0.02) < 0.8
    assert shown(allowed) <= 0.025


def test_more_answers_notice_a_smaller_rise():
    rates = [noticeable_rate(n, rate=0.1, confidence=0.95) for n in (20, 80, 320, 1280)]
    assert rates == sorted(rates, reverse=True)
    assert 0.1 < rates[-1] < 0.13
