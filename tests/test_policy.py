"""Thresholds: what is accepted, what is escalated, and for which fields."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent import Decision, Scored, Threshold
from hetagent.errors import SkillError

ACCEPT = Decision("accept")


def test_a_number_compares_the_whole_value():
    policy = Threshold(0.8)
    assert policy.decide(Scored("s", 0.8)) == ACCEPT
    assert policy.decide(Scored("s", 0.79)) == Decision("escalate", "low_confidence")


def test_numbers_by_skill():
    policy = Threshold(0.9, {"easy": 0.1})
    assert policy.decide(Scored("easy", 0.2)) == ACCEPT
    assert policy.decide(Scored("other", 0.2)).action == "escalate"


def test_numbers_by_field():
    policy = Threshold(0.9, {"s": {"a": 0.2, "b": 0.5}})
    assert policy.decide(Scored("s", 0.1, {"a": 0.3, "b": 0.6})) == ACCEPT
    weak = policy.decide(Scored("s", 0.1, {"a": 0.1, "b": 0.6, "c": 0.89}))
    assert weak == Decision("escalate", "low_confidence", ("a", "c"))


def test_the_empty_field_is_the_whole_value():
    policy = Threshold(0.0, {"s": {"": 0.5}})
    assert policy.decide(Scored("s", 0.4, {"a": 0.9})).action == "escalate"
    assert policy.decide(Scored("s", 0.5, {"a": 0.9})) == ACCEPT
    bare = Threshold(0.9, {"s": {"a": 0.1}})
    assert bare.decide(Scored("s", 0.5)).action == "escalate", "a bare value has the default"
    assert bare.decide(Scored("s", 0.95)) == ACCEPT


def test_above_one_always_escalates_and_asks_no_slm():
    assert not Threshold(1.1).asks_slm("s")
    assert Threshold(1.0).asks_slm("s")
    assert Threshold(1.1).decide(Scored("s", 1.0)).action == "escalate"
    policy = Threshold(2, {"s": 0.5, "t": {"": 1.5}, "u": {"a": 1.5}})
    assert policy.asks_slm("s")
    assert not policy.asks_slm("t")
    assert policy.asks_slm("u"), "the other fields may be confident"
    assert not policy.asks_slm("other")


def test_one_certain_field_is_enough_for_one():
    assert Threshold(1.0).decide(Scored("s", 1.0, {"a": 1.0})) == ACCEPT


@pytest.mark.parametrize(
    "make",
    [
        lambda: Threshold(-0.1),
        lambda: Threshold(math.nan),
        lambda: Threshold(0.5, {"s": -1}),
        lambda: Threshold(0.5, {"s": {"a": math.nan}}),
    ],
)
def test_thresholds_out_of_range(make: Any):
    with pytest.raises(SkillError, match="threshold of") as caught:
        make()
    assert caught.value.hint


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1),
    st.floats(0.01, 1),
)
def test_weak_fields_are_as_few_as_leave_the_rest_sure(fields: dict[str, float], limit: float):
    decision = Threshold(limit).decide(Scored("s", math.prod(fields.values()), fields))
    rest = [value for path, value in fields.items() if path not in decision.fields]
    if decision.action == "accept":
        assert math.prod(fields.values()) >= limit
        return
    assert len(decision.fields) == len(fields) or math.prod(rest) >= limit
    assert list(decision.fields) == [path for path in fields if path in decision.fields]
    # One fewer would not do: the most confident of the weak ones is needed.
    strongest = max(fields[path] for path in decision.fields)
    assert math.prod([*rest, strongest]) < limit
    assert all(value >= strongest for value in rest)


def test_a_field_takes_the_threshold_of_what_holds_it():
    policy = Threshold(0.1, skills={"order": {"guest": 0.9, "guest.age": 0.2, "tags[]": 0.8}})

    def weak(path):
        return policy.decide(Scored("order", 0.5, {path: 0.5})).fields == (path,)

    assert weak("guest.name")
    assert weak("guest")
    assert weak("guest.names[3].first")
    assert not weak("guest.age")
    assert weak("tags[7]")
    assert not weak("tags")
    assert not weak("note")
    assert not weak("odd]key")
