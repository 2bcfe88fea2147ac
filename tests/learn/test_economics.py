"""When a conversion pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.economics import UTILISATIONS, Economics

KNOWN = Economics(llm_usd=0.002, llm_tokens=500.0, coverage=0.8, calls_per_second=10.0)


def test_what_the_machine_may_cost():
    # 0.8 of the calls save $0.002 each, and there are 10 * 3,600 of them in an hour.
    assert KNOWN.machine_usd_per_hour(1.0) == pytest.approx(57.6)
    assert KNOWN.machine_usd_per_hour(0.2) == pytest.approx(11.52)


@given(st.floats(1e-6, 1), st.floats(0, 1), st.floats(0.01, 1e4), st.sampled_from(UTILISATIONS))
def test_at_that_price_both_cost_the_same(price, coverage, rate, utilisation):
    known = Economics(price, None, coverage, rate)
    even = known.machine_usd_per_hour(utilisation)
    assert even is not None
    cost = known.usd_per_1000(utilisation, machine_usd_per_hour=even)
    assert cost == pytest.approx(1000 * price)


def test_nothing_is_made_up_where_no_price_is_known():
    unknown = Economics(None, None, 0.8, 10.0)
    assert unknown.machine_usd_per_hour(0.5) is None
    assert unknown.usd_per_1000(0.5, machine_usd_per_hour=1.0) is None
    (said,) = unknown.explain()
    assert "not known" in said
    assert "80.0%" in said


def test_it_says_when_it_pays():
    first, second = KNOWN.explain()
    assert "$2 by the LLM alone" in first
    assert "$0.4 where the skill answers first" in first
    assert "$11.52 an hour at 20%" in second


def test_it_survives_its_data():
    assert Economics.from_dict(KNOWN.to_dict()) == KNOWN
