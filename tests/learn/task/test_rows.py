"""Recorded calls as labelled rows, and rows in parts of which nothing later was learned."""

import random
from datetime import timedelta
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.learn.cluster import Workloads
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Example, Rows, Task, rows, split
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")


def answered(record: CallRecord, text: str) -> CallRecord:
    return record.with_(response={"choices": [{"message": {"content": text}}]})


def test_rows_are_all_calls_with_a_label_by_time():
    some = calls.shop(40)
    strange = [answered(some[0], "shipping"), answered(some[1], "refund, I think")]
    others = [
        some[2].with_(served_by="slm"),
        some[3].with_(trainable="no-train"),
        some[4].with_(interactive=True),
        some[5].with_(form="openai.embeddings"),
    ]
    every = [*some, some[6], answered(some[6], "complaint"), *strange, *others, *calls.talk(5)]
    every = [one.with_(time=one.time - timedelta(minutes=n)) for n, one in enumerate(every)]
    found = Workloads.fit(calls.shop(40) + calls.orders(20))
    (name,) = {found.assign(one) for one in some}
    task = Task.of(found, name)
    made = rows(task, every, workloads=found)
    assert len(made.examples) == 42
    assert [one.time for one in made.examples] == sorted(one.time for one in made.examples)
    assert [one.label for one in made.strays] == [None, None]
    assert made.left_out == {
        "of no workload": 5, "no value of the type": 2, "served by an SLM": 1,
        "trainable: no-train": 1, "interactive": 1, "not a chat": 1,
    }  # fmt: skip
    same = [one for one in made.examples if one.row == task.row(some[6])]
    assert len(same) >= 3
    assert len({one.group for one in same}) == 1
    assert len({one.label for one in same}) == 2
    assert len({one.group for one in made.examples}) == len(
        {one.row["mail"] for one in made.examples}
    )
    with_people = rows(task, every, workloads=found, interactive=True)
    assert len(with_people.examples) == 43


def example(number: int, asked: int, label: str | None = "x") -> Example:
    time = calls.BEGAN + timedelta(seconds=number)
    return Example({"text": str(asked)}, label, time, f"{number:05}", f"group {asked}")


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 200), st.integers(1, 300), st.integers(0, 9), st.integers(0, 99))
def test_nothing_that_is_certified_or_tested_was_learned(count, kinds, strays, seed):
    generator = random.Random(seed)
    every = [
        example(number, generator.randrange(kinds), None if number % 10 < strays else "x")
        for number in range(count)
    ]
    generator.shuffle(every)
    made = Rows(
        tuple(one for one in every if one.label), tuple(one for one in every if not one.label), {}
    )
    found = split(made, least=0)
    later = chain(found.calibrate, found.test, *found.strays.values())
    groups = {one.group for one in later}
    assert groups.isdisjoint(one.group for one in (*found.train, *found.validate))
    assert {one.group for one in found.train}.isdisjoint(one.group for one in found.validate)
    parts = (found.train, found.validate, found.calibrate, found.test)
    for one, other in pairwise(part for part in parts if part):
        assert max(row.time for row in one) < min(row.time for row in other)
    # The later parts are all calls of their time, with the shares that these have.
    for name, part in (("calibrate", found.calibrate), ("test", found.test)):
        whole = [*part, *found.strays[name]]
        assert abs(len(whole) - 0.15 * len(every)) <= 1
        first, last = (pick(one.time for one in whole) for pick in (min, max))
        assert len(whole) == sum(first <= one.time <= last for one in every)
    kept = sum(map(len, parts)) + sum(found.dropped.values())
    early = sum(one.label is None for one in every) - sum(map(len, found.strays.values()))
    assert kept + sum(map(len, found.strays.values())) + early == len(every)
    assert split(made, least=0) == found


def test_too_few_rows_are_told():
    few = Rows(tuple(example(n, n) for n in range(60)), (), {})
    with pytest.raises(InputError, match="6 are left to validate, and 10 are needed"):
        split(few)
    assert len(split(few, least=6).validate) == 6
    none = {"train": 0.7, "validate": 0.0, "calibrate": 0.15, "test": 0.15}
    assert split(few, shares=none, least=9).validate == ()
    alike = Rows(tuple(example(n, n % 5) for n in range(200)), (), {})
    with pytest.raises(InputError, match=r"0 are left to train \(120 were dropped"):
        split(alike)


@pytest.mark.parametrize(
    "shares",
    [
        {"train": 1.0},
        {"train": 0.6, "validate": 0.1, "calibrate": 0.3, "test": 0.0},
        {"train": 0.6, "validate": 0.1, "calibrate": 0.15, "test": 0.3},
        {"train": 0.8, "validate": -0.1, "calibrate": 0.15, "test": 0.15},
    ],
)
def test_shares_that_are_none_are_told(shares):
    with pytest.raises(InputError, match="do not part rows"):
        split(Rows((), (), {}), shares=shares)
