"""Outcomes as Arrow tables: one type for each output type, whatever the answers are."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent.errors import OutputError
from hetagent.integrations.arrow import outcome_schema, outcome_table
from hetagent.outcome import Outcome
from hetagent.schema import OutputType

pa = pytest.importorskip("pyarrow")


class Guest(BaseModel):
    name: str
    age: int | None


class Party(BaseModel):
    guests: list[Guest]
    vip: bool
    share: float


class Tree(BaseModel):
    label: str
    children: list["Tree"]


GUEST = pa.struct({"name": pa.string(), "age": pa.int64()})


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Literal["a", "b"], pa.string()),
        (Literal[1, 2], pa.int64()),
        (Literal["a"] | None, pa.string()),
        (bool, pa.bool_()),
        (str, pa.string()),
        (int | None, pa.int64()),
        (list[float], pa.list_(pa.float64())),
        (
            Party,
            pa.struct({"guests": pa.list_(GUEST), "vip": pa.bool_(), "share": pa.float64()}),
        ),
        # What Arrow has no type for is JSON text.
        (Literal["a", 1], pa.string()),
        (list[int | str], pa.string()),
        (tuple[int, str], pa.string()),
        (Tree, pa.string()),
    ],
)
def test_a_value_has_the_type_of_its_schema(annotation: Any, expected: Any) -> None:
    schema = outcome_schema(OutputType.of(annotation))
    assert schema.field("value").type == expected
    assert schema.field("confidence").type == pa.float64()


def outcome(value: Any, **facts: Any) -> Outcome[Any]:
    given: dict[str, Any] = {"confidence": 0.5, "served_by": "slm", **facts}
    return Outcome("f", value, trace_id="0" * 32, seconds=0.1, **given)


def test_values_are_those_of_the_schema() -> None:
    output: OutputType[Any] = OutputType.of(Party)
    party = Party(guests=[Guest(name="Ann", age=None)], vip=True, share=1)
    table = outcome_table(output, [outcome(party)], outcome_schema(output))
    assert table["value"].to_pylist() == [party.model_dump()]


def test_json_text_stands_for_what_arrow_cannot_hold() -> None:
    output: OutputType[Any] = OutputType.of(list[int | str])
    nothing = outcome(None, served_by="none", confidence=None, reason="low_confidence")
    table = outcome_table(output, [outcome([1, "é"]), nothing], outcome_schema(output))
    assert json.loads(table["value"][0].as_py()) == [1, "é"]
    assert table["value"][1].as_py() is None
    assert table["reason"].to_pylist() == [None, "low_confidence"]


def test_a_batch_without_any_answer_has_the_same_types() -> None:
    output: OutputType[Any] = OutputType.of(Guest)
    schema = outcome_schema(output)
    nothing = outcome(None, served_by="none", error=OutputError("bad"), reason="invalid_output")
    table = outcome_table(output, [nothing], schema)
    assert table.schema == schema
    assert table["error"].to_pylist() == ["bad"]
    assert outcome_table(output, [], schema).schema == schema


def test_a_number_too_large_for_a_column_costs_its_own_row_alone() -> None:
    output: OutputType[Any] = OutputType.of(int)
    table = outcome_table(output, [outcome(2**70), outcome(7)], outcome_schema(output))
    assert table["value"].to_pylist() == [None, 7]
    assert table["served_by"].to_pylist() == ["none", "slm"]
    assert table["reason"].to_pylist() == ["invalid_output", None]
    assert "64-bit" in table["error"][0].as_py()
