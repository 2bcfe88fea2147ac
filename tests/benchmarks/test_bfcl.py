"""BFCL's rule of what is right, its split and its files, on questions made up here."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bfcl
from benchmarks.report import CannotMeasureError
from hetagent import ToolCall

PARAMETERS = {
    "type": "dict",
    "properties": {
        "city": {"type": "string"},
        "height": {"type": "float"},
        "stops": {"type": "array", "items": {"type": "string"}},
        "who": {"type": "dict", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "night": {"type": "boolean"},
    },
    "required": ["city", "height"],
}
POSSIBLE = {
    "city": ["New York, NY", "NYC"],
    "height": [2.0],
    "stops": ["", ["First Street", "b"]],
    "who": ["", {"name": ["Ada"]}],
    "night": ["", True],
}
GIVEN: dict[str, Any] = {"city": "new york ny", "height": 2}


def case(*names: str, number: int = 0) -> bfcl.Case:
    functions = [{"name": name, "description": "", "parameters": PARAMETERS} for name in names]
    return bfcl.Case(f"multiple_{number}", "How?", tuple(functions), {names[0]: POSSIBLE})


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (GIVEN, True),
        ({**GIVEN, "stops": ["FIRST-street", "B"], "who": {"name": "ada"}, "night": True}, True),
        ({**GIVEN, "stops": ["b", "First Street"]}, False),
        ({**GIVEN, "stops": [1, 2]}, False),
        ({**GIVEN, "night": False}, False),
        ({**GIVEN, "who": {"name": "Ada", "age": 3}}, False),
        ({**GIVEN, "who": {}}, False),
        ({**GIVEN, "city": "Boston"}, False),
        ({**GIVEN, "height": "2"}, False),
        ({**GIVEN, "colour": "red"}, False),
        ({"city": "NYC"}, False),
    ],
)
def test_what_is_right(arguments: dict[str, Any], right: bool):
    assert bfcl.right(ToolCall("ride", arguments), case("ride", "walk")) is right
    assert not bfcl.right(ToolCall("walk", arguments), case("ride", "walk"))


def test_a_possible_answer_can_be_written():
    assert bfcl.answer_of(case("ride")) == {
        "tool": "ride",
        "arguments": {"city": "New York, NY", "height": 2.0},
    }
    assert bfcl.expressible(case("ride", "walk"))
    assert not bfcl.right(None, case("ride"))


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=3, unique=True)))
def test_no_function_is_in_both_parts(offered: list[list[str]]):
    some = [case(*names, number=place) for place, names in enumerate(offered)]
    parts = bfcl.split_by_function(some)
    assert parts == bfcl.split_by_function(some)
    assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in some)
    first, second = ({f["name"] for one in part for f in one.functions} for part in parts)
    assert not first & second


def test_an_unpacked_package_is_read(tmp_path: Path):
    with pytest.raises(CannotMeasureError, match="pip download bfcl-eval --no-deps"):
        bfcl.cases(tmp_path)
    data = tmp_path / "bfcl_eval" / "data"
    (data / "possible_answer").mkdir(parents=True)
    for kind in bfcl.BFCL_KINDS:
        function = {"name": "ride", "description": "", "parameters": PARAMETERS}
        asked = [[{"role": "user", "content": "How?"}]]
        question = {"id": f"{kind}_0", "question": asked, "function": [function]}
        (data / f"BFCL_v4_{kind}.json").write_text(json.dumps(question))
        answer = {"id": f"{kind}_0", "ground_truth": [{"ride": POSSIBLE}]}
        (data / "possible_answer" / f"BFCL_v4_{kind}.json").write_text(json.dumps(answer))
    found = bfcl.cases(tmp_path)
    assert [one.id for one in found] == ["simple_python_0", "multiple_0"]
    assert found[1].row["request"] == "How?"
    assert bfcl.right(ToolCall("ride", GIVEN), found[0])
