"""Units are never parted, later ones are the test, and common classes weigh less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.learn.curate.groups import Groups
from hetagent.learn.curate.recipe import Balance, Recipe, Split
from hetagent.learn.curate.split import join_conversations, late_likes, over_the_cap, part, weights

ROWS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), min_size=1, max_size=60)


def parted(split, rows):
    rows = sorted(rows, key=lambda one: one[1])
    groups = Groups(len(rows))
    groups.join_equal(np.array([unit + 1 for unit, _ in rows], np.uint64))
    times = np.array([time for _, time in rows], np.int64)
    keys = np.random.default_rng(0).integers(0, 2**63, (len(rows), 2), dtype=np.uint64)
    return rows, part(split, groups.roots(), times, keys)


@given(ROWS, st.sampled_from(["time", "conversation"]), st.floats(0, 0.4), st.floats(0, 0.4))
def test_no_unit_is_in_two_splits(rows, by, validation, test):
    rows, parting = parted(Split(by=by, validation=validation, test=test), rows)
    where = {}
    for (unit, _), split in zip(rows, parting.splits.tolist(), strict=True):
        assert where.setdefault(unit, split) == split


@given(ROWS, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_all_of_a_later_split_is_later_than_any_earlier_units_beginning(rows, validation, test):
    rows, parting = parted(Split(validation=validation, test=test), rows)
    begun = {unit: min(t for u, t in rows if u == unit) for unit, _ in rows}
    for code in (1, 2):
        later = [t for (_, t), s in zip(rows, parting.splits, strict=True) if s >= code]
        earlier = [begun[u] for (u, _), s in zip(rows, parting.splits, strict=True) if s < code]
        assert earlier
        assert not later or max(earlier) < min(later)


def test_shares_are_about_what_was_asked_for():
    _, parting = parted(Split(validation=0.2, test=0.1), [(at, at) for at in range(1000)])
    assert np.bincount(parting.splits).tolist() == [700, 200, 100]
    assert parting.cuts == {"validation": 700, "test": 900}


def test_parting_by_conversation_has_about_the_shares():
    _, parting = parted(
        Split(by="conversation", validation=0.2, test=0.1), [(at, 5) for at in range(5000)]
    )
    counts = np.bincount(parting.splits) / 5000
    assert counts == pytest.approx([0.7, 0.2, 0.1], abs=0.02)


def test_records_of_one_time_cannot_be_parted_by_it():
    _, parting = parted(Split(), [(at, 5) for at in range(100)])
    assert not parting.splits.any()


def facts(rows, **named):
    empty = dict.fromkeys(("conversation", "trace", "own", "last", "first"))
    return {name: np.array(named.get(name, [0] * rows), np.uint64) for name in empty}


def units(rows, limit=5, **named):
    groups = Groups(rows)
    join_conversations(groups, facts(rows, **named), limit=limit)
    return groups.roots().tolist()


def test_conversations_and_traces_join():
    assert units(5, conversation=[1, 0, 1, 0, 2], trace=[0, 9, 9, 0, 8]) == [0, 0, 0, 3, 4]


def test_a_call_that_goes_on_with_another_is_of_its_conversation():
    assert units(4, own=[11, 12, 13, 14], last=[0, 11, 12, 0], first=[0, 11, 11, 0]) == [0, 0, 0, 3]


def test_a_conversation_whose_middle_is_missing_is_still_one():
    assert units(3, own=[11, 13, 14], last=[0, 12, 13], first=[0, 11, 11]) == [0, 0, 0]


def test_examples_in_every_prompt_make_no_conversation():
    own = [100 + at for at in range(20)]
    assert units(20, own=own, last=[7] * 20, first=[7] * 20) == list(range(20))


def test_likes_in_a_later_split_are_found():
    splits = np.array([0, 2, 1, 2, 2], np.int8)
    near = np.array([0, 0, 2, 2, 4], np.int32)
    assert late_likes(splits, near).tolist() == [False, True, False, True, False]


def test_a_cap_takes_the_same_rows_in_any_order():
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**63, (500, 2), dtype=np.uint64)
    classes = rng.integers(1, 4, 500).astype(np.uint64)
    exempt = classes == 3
    over = over_the_cap(Balance(how="cap", cap=20), classes, keys, exempt=exempt)
    assert [(~over & (classes == c)).sum() for c in (1, 2)] == [20, 20]
    assert not over[exempt].any()
    order = rng.permutation(500)
    again = over_the_cap(
        Balance(how="cap", cap=20), classes[order], keys[order], exempt=exempt[order]
    )
    assert (again == over[order]).all()


def test_common_classes_weigh_less_and_the_mean_is_1():
    classes = np.repeat(np.array([1, 2], np.uint64), [900, 100])
    found = weights(Balance(power=0.5), classes)
    assert found.mean() == pytest.approx(1)
    assert found[-1] / found[0] == pytest.approx(3, abs=1e-3)
    bounded = weights(Balance(power=1, most=4), classes)
    assert bounded[-1] / bounded[0] == pytest.approx(4, abs=1e-3)


def test_rare_classes_weigh_as_one():
    classes = np.array([1] * 100 + list(range(2, 27)), np.uint64)
    found = weights(Balance(power=1, rare=5), classes)
    assert found[-1] / found[0] == pytest.approx(4, abs=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        {"split": {"test": 0.6, "validation": 0.5}},
        {"split": {"by": "turn"}},
        {"near": {"threshold": 0}},
        {"near": {"threshold": "high"}},
        {"balance": {"how": "cap"}},
        {"trainable": ["maybe"]},
        {"refusals": ["("]},
        {"unknown": 1},
        {"interactive": 1},
        3,
    ],
)
def test_a_recipe_that_cannot_be_is_refused(data):
    with pytest.raises(InputError):
        Recipe.from_dict(data)


def test_a_recipe_survives_json():
    recipe = Recipe(near=None, against=("a.txt",), balance=Balance(how="cap", cap=3))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict({}) == Recipe()
