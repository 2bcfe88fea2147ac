"""What a caller gets."""

import pytest

from hetagent import Call, Outcome, Usage


def call(role, seconds, usage=Usage()):  # noqa: B008 - it is frozen
    return Call(role, "m", usage, seconds)


def outcome(*calls: Call, **more) -> Outcome[str]:
    facts = {"value": "x", "confidence": 0.5, "served_by": "slm", "trace_id": "0" * 32}
    return Outcome(skill="s", seconds=2.0, calls=calls, **{**facts, **more})


def test_usage_is_summed():
    total = Usage(1, 2, 3, 0.5) + Usage(10, 20, 30, 0.25)
    assert total == Usage(11, 22, 33, 0.75)


@pytest.mark.parametrize("pair", [(None, 0.5), (0.5, None), (None, None)])
def test_an_unknown_price_makes_the_sum_unknown(pair):
    assert (Usage(cost_usd=pair[0]) + Usage(cost_usd=pair[1])).cost_usd is None


def test_an_outcome_sums_its_calls():
    result = outcome(
        call("slm", {"prefill": 0.1, "decode": 0.2, "total": 0.4}, Usage(5, 2, 3)),
        call("llm", {"total": 1.0}, Usage(7, 0, 4, 0.01)),
        call("llm", {"total": 0.5}, Usage(1, 0, 1, 0.02)),
    )
    assert result.usage == Usage(13, 2, 8, pytest.approx(0.03))
    assert result.cost_usd == pytest.approx(0.03)
    assert result.escalated
    assert result.latency == {
        "slm": 0.4,
        "slm.prefill": 0.1,
        "slm.decode": 0.2,
        "llm": 1.5,
        "total": 2.0,
    }


def test_an_outcome_without_calls():
    result = outcome()
    assert result.usage == Usage()
    assert result.cost_usd == 0.0
    assert not result.escalated
    assert result.latency == {"total": 2.0}


def test_an_unknown_cost_stays_unknown():
    assert outcome(call("llm", {"total": 1.0}, Usage(cost_usd=None))).cost_usd is None
