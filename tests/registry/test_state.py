"""Which binding serves a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.registry import Binding, ModelRef, State, arm, in_trial

MODEL = ModelRef("llamacpp", "smol", "a" * 64)
LIVE = Binding("intent", MODEL, facts={"name": "live"})
TRIALS = [Binding("intent", MODEL, facts={"name": name}) for name in ("one", "two")]
KEYS = [f"conversation {number}" for number in range(5_000)]


def state(mode, share=1.0, *, live=LIVE, trial=TRIALS[0]) -> State:
    return State("intent", live, trial, mode, share, "2026-01-01T00:00:00+00:00", "")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_canary_serves_its_share(share):
    switched = state("canary", share)
    served = sum(arm(switched, key) is TRIALS[0] for key in KEYS)
    # Five standard deviations of a binomial.
    assert abs(served - share * len(KEYS)) < 5 * (share * (1 - share) * len(KEYS)) ** 0.5


@given(st.text(), st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_min=True))
def test_a_conversation_stays_on_its_side_and_in_a_larger_share(key, one, two):
    small, large = sorted((one, two))
    assert arm(state("canary", small), key) is arm(state("canary", small), key)
    if in_trial(state("canary", small), key):
        assert in_trial(state("canary", large), key)
    assert in_trial(state("canary", 1.0), key)


def test_another_trial_draws_anew():
    both = [{key for key in KEYS if in_trial(state("canary", 0.5, trial=t), key)} for t in TRIALS]
    assert abs(len(both[0] & both[1]) - 0.25 * len(KEYS)) < 5 * (0.1875 * len(KEYS)) ** 0.5


def test_a_shadow_serves_nobody():
    switched = state("shadow", 0.5)
    assert all(arm(switched, key) is LIVE for key in KEYS[:100])
    assert 20 < sum(in_trial(switched, key) for key in KEYS[:100]) < 80


def test_without_a_trial_what_is_live_serves_or_the_llm():
    assert arm(state("live", trial=None), "x") is LIVE
    assert not in_trial(state("live", trial=None), "x")
    assert arm(state("off", live=None, trial=None), "x") is None
    assert arm(state("shadow", live=None), "x") is None
    alone = [arm(state("canary", 0.5, live=None), key) for key in KEYS[:100]]
    assert 20 < alone.count(None) < 80
