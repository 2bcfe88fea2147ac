"""What follows from what was said of an answer, and what it was accepted for."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent import Basis, FieldOutcome, Outcome, OutputType
from hetagent.calibrate.correctness import judge
from hetagent.errors import InputError
from hetagent.verdicts import check_fields, on_promises, relied_on


class Address(BaseModel):
    city: str
    street: str


class Guest(BaseModel):
    name: str
    tags: list[str]
    address: Address | None


GUEST = OutputType.of(Guest)
BARE = OutputType.of(Literal["a", "b"])
ADDRESSES = st.builds(Address, city=st.sampled_from("cd"), street=st.just(""))
GUESTS = st.builds(
    Guest,
    name=st.sampled_from("ab"),
    tags=st.lists(st.sampled_from("xy"), max_size=2),
    address=st.none() | ADDRESSES,
)
PATHS = ("name", "tags", "address.city", "address.street")


@pytest.mark.parametrize(
    ("said", "paths", "found"),
    [
        (True, ("",), {"": True}),
        (False, ("",), {"": False}),
        (True, ("name", "tags"), {"name": True, "tags": True}),
        (False, ("name", "tags"), {}),
        (False, ("name",), {}),
        ({"name": False}, ("",), {"": False}),
        ({"name": True}, ("",), {}),
        ({"name": True, "tags": True, "address": True}, ("",), {"": True}),
        ({"name": True, "tags": True, "address.city": True}, ("",), {}),
        ({"name": True, "": False}, ("", "name", "tags"), {"": False, "name": True}),
        ({"": True}, ("name",), {"name": True}),
        ({"tags[0]": True, "tags[1]": False}, ("tags", "name"), {"tags": False}),
        ({"address": False}, ("address.city",), {"address.city": False}),
        ({"address.city": False}, ("address.street",), {}),
    ],
)
def test_a_verdict_is_what_follows(said, paths, found):
    assert on_promises(said, paths, output=GUEST) == found


@given(GUESTS, GUESTS)
def test_a_comparison_settles_every_promise(value: Guest, label: Guest):
    said = judge(GUEST.to_json(value), GUEST.to_json(label))
    found = on_promises(said, ("", "name", "tags"), output=GUEST)
    assert found == {
        "": value == label,
        "name": value.name == label.name,
        "tags": value.tags == label.tags,
    }
    if value.address is not None:
        parts = on_promises(said, ("address.city", "address.street"), output=GUEST)
        expected = label.address is not None and value.address.city == label.address.city
        assert parts["address.city"] is expected


@given(st.dictionaries(st.sampled_from(PATHS), st.booleans(), min_size=1))
def test_no_field_is_wrong_that_nobody_called_wrong(said: dict[str, bool]):
    found = on_promises(said, ("", *PATHS), output=GUEST)
    assert {path for path, right in found.items() if path and not right} == {
        path for path, right in said.items() if not right
    }
    assert found.get("") is not True
    assert (found.get("") is False) == (not all(said.values()))


@pytest.mark.parametrize("fields", [{"names": True}, {"name": 1}, {"tag": True}, {"[0]": True}])
def test_fields_an_answer_cannot_have_are_refused(fields):
    with pytest.raises(InputError):
        check_fields(fields, GUEST)
    with pytest.raises(InputError):
        check_fields({"name": True}, BARE)


def test_fields_an_answer_can_have_are_taken():
    check_fields({"": True, "name": False, "tags[3]": True, "address.city": True}, GUEST)
    check_fields({"": False}, BARE)


def outcome(served_by, reason, promised, **fields) -> Outcome:
    basis = None if promised is None else Basis("c", 0.1, {}, {}, promised=promised)
    known = {path: FieldOutcome(1, 0.9, by) for path, by in fields.items()}
    return Outcome("s", {}, 0.9, served_by, "0", 0.1, known, reason=reason, basis=basis)


@pytest.mark.parametrize(
    ("served_by", "reason", "promised", "fields", "paths"),
    [
        ("slm", None, ("",), {}, ("",)),
        ("slm", None, ("a", "b"), {"a": "slm", "b": "slm"}, ("a", "b")),
        ("slm", None, None, {}, ()),
        ("slm", "budget", ("a",), {"a": "slm"}, ()),
        ("llm", "low_confidence", ("a",), {"a": "llm"}, ()),
        ("none", "low_confidence", ("a",), {}, ()),
        ("both", "low_confidence", ("a", "b"), {"a": "slm", "b": "llm", "c": "slm"}, ("a",)),
        ("both", "low_confidence", ("a",), {"a[0]": "slm", "a[1]": "llm"}, ()),
    ],
)
def test_what_was_relied_on_is_what_the_slm_serves_under_a_promise(
    served_by, reason, promised, fields, paths
):
    assert relied_on(outcome(served_by, reason, promised, **fields)) == paths
