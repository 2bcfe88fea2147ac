"""The front and the choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.select.front import Finalist, choose, on_front, wilson

numbers = st.integers(0, 4).map(float)
points = st.lists(st.tuples(numbers, numbers, numbers), max_size=12)


@given(points)
def test_the_front_is_what_brute_force_says(some):
    for one, best in zip(some, on_front(some), strict=True):
        beaten = False
        for other in some:
            worse = sum(a < b for a, b in zip(other, one, strict=True))
            better = sum(a > b for a, b in zip(other, one, strict=True))
            beaten = beaten or (worse == 0 and better > 0)
        assert best is not beaten


@given(points.filter(bool))
def test_some_point_is_on_the_front(some):
    assert any(on_front(some))


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(counts):
    right, rows = counts
    low, high = wilson(right, rows)
    assert 0 <= low <= right / rows <= high <= 1
    # Where a normal test of the ends would just not refuse them (the interval's definition).
    for end in (low, high):
        if 0 < end < 1:
            z = abs(right / rows - end) / (end * (1 - end) / rows) ** 0.5
            assert z == pytest.approx(1.959964, abs=1e-4)


def test_the_fastest_that_is_as_good_is_chosen():
    best = Finalist("large", (True,) * 1980 + (False,) * 20, 1.0)
    near = Finalist("small", (True,) * 1978 + (False,) * 22, 10.0)
    far = Finalist("plain", (True,) * 1000 + (False,) * 1000, 1000.0)
    name, why = choose([best, near, far])
    assert name == "small"
    assert "10 times as fast as large" in why
    assert choose([best, far])[0] == "large"
    assert "loses more than 1 point" in choose([best, far])[1]


def test_what_too_few_rows_cannot_show_is_not_chosen():
    best = Finalist("large", (True,) * 99 + (False,), 1.0)
    near = Finalist("small", (True,) * 99 + (False,), 10.0)
    slower = Finalist("huge", (True,) * 98 + (False,) * 2, 0.1)
    # Of equal ones the faster is the best, and nothing need be shown.
    assert choose([best, near, slower]) == (
        "small",
        "It has the most right, 99.0% of 100 rows, and nothing in the race is faster.",
    )
    lead = Finalist("lead", (True,) * 100, 1.0)
    name, why = choose([lead, near])
    assert name == "lead"
    assert "small is 10 times as fast, and 100 rows do not show" in why


def test_only_rows_that_both_answered_are_compared():
    best = Finalist("large", (True,) * 1000, 1.0)
    bounded = Finalist("plain", (True,) * 400, 50.0)
    assert choose([best, bounded])[0] == "plain"
    # Fewer rows, all right, make no best.
    assert choose([best, Finalist("plain", (True,) * 40, 0.5)])[0] == "large"
