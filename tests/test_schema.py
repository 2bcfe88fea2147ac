"""Python types to closed JSON Schemas, and text back to values."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from hetagent.closing import close
from hetagent.errors import OutputError, UnsupportedTypeError
from hetagent.schema import OutputType, resolve
from tests.support.random_types import output_types


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Guest(BaseModel):
    """A guest."""

    name: str = Field(max_length=20)
    age: int | None = Field(ge=0, le=150, default=None)


@dataclass
class Point:
    x: int
    y: float = 0.5


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    loud: bool


class Tree(BaseModel):
    name: str
    children: list["Tree"]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    from_: str = Field(alias="from")


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("must be even")
        return number


class Span(BaseModel):
    start: int
    end: int

    @model_validator(mode="after")
    def in_order(self) -> "Span":
        if self.end < self.start:
            raise ValueError("ends before it starts")
        return self


# Each with an answer's text and the value it stands for.
ROUND_TRIPS = [
    (Literal["a", "b"], "choice", "b", "b"),
    (Literal[1, 2], "choice", "2", 2),
    (Literal["a", 1, None], "choice", "null", None),
    (Colour, "choice", "red", Colour.RED),
    (Level, "choice", "2", Level.HIGH),
    (Colour | None, "choice", "null", None),
    (bool, "choice", "false", False),
    (bool | None, "choice", "true", True),
    (Literal["a"] | Colour, "choice", "blue", Colour.BLUE),
    (int, "bare", "-12", -12),
    (Annotated[int, Field(ge=1, le=9)], "bare", "7", 7),
    (float, "bare", "2.5", 2.5),
    (Annotated[float, Field(gt=0, lt=1)], "bare", "0.25", 0.25),
    (Decimal, "bare", "0.1", Decimal("0.1")),
    (str, "bare", 'say "hi"', 'say "hi"'),
    (Annotated[str, Field(max_length=3)], "bare", "abc", "abc"),
    (Annotated[str, Field(pattern="^[a-c]+$")], "bare", "cab", "cab"),
    (Annotated[str, Field(pattern="b")], "json", '"abc"', "abc"),
    (Annotated[str, Field(pattern="^a|b$")], "json", '"b"', "b"),
    (date, "json", '"2024-02-29"', date(2024, 2, 29)),
    (datetime, "json", '"2024-02-29T10:00:00"', datetime(2024, 2, 29, 10)),
    (time, "json", '"10:30:00"', time(10, 30)),
    (timedelta, "json", '"P1D"', timedelta(days=1)),
    (UUID, "json", f'"{UUID(int=5)}"', UUID(int=5)),
    (list[int], "json", "[1, 2]", [1, 2]),
    (list[Colour], "json", '["red"]', [Colour.RED]),
    (int | None, "json", "null", None),
    (int | str, "json", '"x"', "x"),
    (tuple[int, str], "json", '[1, "a"]', (1, "a")),
    (Pair, "json", '[1, "a"]', Pair(1, "a")),
    (Options, "json", '{"loud": true}', {"loud": True}),
    (Guest, "json", '{"name": "Ann", "age": null}', Guest(name="Ann")),
    (list[Guest], "json", '[{"name": "Ann", "age": 4}]', [Guest(name="Ann", age=4)]),
    (Point, "json", '{"x": 1, "y": 2.5}', Point(1, 2.5)),
    (Tree, "json", '{"name": "a", "children": []}', Tree(name="a", children=[])),
    (Pet, "json", '{"kind": "cat", "lives": 9}', Cat(kind="cat", lives=9)),
    (Aliased, "json", '{"from": "x"}', Aliased(**{"from": "x"})),
]


@pytest.mark.parametrize(("kind", "form", "text", "value"), ROUND_TRIPS)
def test_types_of_the_issue(kind: Any, form: str, text: str, value: Any):
    output: OutputType[Any] = OutputType.of(kind)
    assert output.form == form
    parsed = output.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert output.parse(output.encode(value)) == value
    assert output.parse_json(output.json_of_text(text)) == value
    jsonschema.Draft202012Validator.check_schema(output.schema)
    jsonschema.Draft202012Validator(output.schema).validate(output.json_of_text(text))


def test_of_an_output_type_is_itself():
    output: OutputType[int] = OutputType.of(int)
    assert OutputType.of(output) is output


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (set[int], "set"),
        (frozenset[str], "set"),
        (dict[str, int], "keys that are not known"),
        (Any, "anything"),
        (object, "anything"),
        (bytes, "binary"),
        (list, "anything"),
        (dict, "keys that are not known"),
        (None, "None only"),
        (type(None), "None only"),
        (complex, "complex"),
        (Callable[[], int], "JSON Schema"),
        (list[set[int]], r"'\[\]' of the output type is a set"),
        (Annotated[str, Field(pattern="(?=a)b")], "not a type pydantic can validate"),
        (Literal["1", 1], "both written '1'"),
        (Literal["null"] | None, "both written 'null'"),
    ],
)
def test_what_cannot_be_constrained_is_refused(kind: Any, words: str):
    with pytest.raises(UnsupportedTypeError, match=words) as caught:
        OutputType.of(kind)
    assert caught.value.hint


def test_refusal_names_the_field():
    class Inner(BaseModel):
        tags: set[str]

    class Outer(BaseModel):
        inner: list[Inner]

    with pytest.raises(UnsupportedTypeError, match=r"'Inner\.tags' of the output type"):
        OutputType.of(Outer)


def test_open_models_are_refused():
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: int

    with pytest.raises(UnsupportedTypeError, match="keys that are not known"):
        OutputType.of(Open)


def test_empty_enums_are_refused():
    with pytest.raises(UnsupportedTypeError):
        OutputType.of(Enum("Empty", {}))


@pytest.mark.parametrize("value", [date(2020, 1, 1), (1, 2)])
def test_enums_whose_values_json_does_not_keep_are_refused(value: Any):
    kind = Enum("Odd", {"A": value, "B": "b"})
    with pytest.raises(UnsupportedTypeError, match="not read back"):
        OutputType.of(list[kind])


def test_recursion_without_an_end_is_refused():
    class Endless(BaseModel):
        next: "Endless"

    class Pointless(BaseModel):
        several: Annotated[list["Pointless"], Field(min_length=1)]

    for kind in (Endless, Pointless):
        with pytest.raises(UnsupportedTypeError, match="always contains itself"):
            OutputType.of(kind)


def test_undefined_names_are_refused():
    class Broken(BaseModel):
        other: "Nowhere"  # noqa: F821

    with pytest.raises(UnsupportedTypeError, match="not fully defined"):
        OutputType.of(Broken)


def test_objects_are_closed_and_every_key_is_required():
    schema = OutputType.of(Guest).schema
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name", "age"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validator = jsonschema.Draft202012Validator(schema)
    assert not validator.is_valid({"name": "a"})
    assert not validator.is_valid({"name": "a", "age": 1, "more": 2})


def test_types_in_a_list_are_a_choice_of_them():
    found = close({"type": ["integer", "null"], "maximum": 3, "description": "x"}, where="it")
    options = [{"type": "integer", "maximum": 3}, {"type": "null"}]
    assert [
        {k: v for k, v in one.items() if k != "description"} for one in found["anyOf"]
    ] == options
    assert close({"type": ["string"]}, where="it")["type"] == "string"
    with pytest.raises(UnsupportedTypeError, match="has the type"):
        close({"type": ["string", "any"]}, where="it")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Literal["a"], "b"),
        (bool, "True"),
        (int, "1.5"),
        (Annotated[int, Field(le=3)], "4"),
        (Guest, "{}"),
        (Guest, '{"name": "a"'),
        (Guest, ""),
        (Pet, '{"kind": "cow"}'),
        (Even, '{"number": 3}'),
        (Span, '{"start": 2, "end": 1}'),
    ],
)
def test_invalid_answers(kind: Any, text: str):
    with pytest.raises(OutputError) as caught:
        OutputType.of(kind).parse(text)
    assert caught.value.text == text


@pytest.mark.parametrize("error", [KeyError("k"), RuntimeError("x"), ZeroDivisionError()])
def test_a_validator_that_breaks_is_an_invalid_answer(error: Exception):
    class Fragile(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def check(cls, _: int) -> int:
            raise error

    with pytest.raises(OutputError, match=f"validator .* failed: {type(error).__name__}"):
        OutputType.of(Fragile).parse('{"a": 1}')


def test_validation_messages_hold_neither_input_nor_links():
    with pytest.raises(OutputError) as caught:
        OutputType.of(Guest).parse('{"name": 5, "age": 999}')
    assert "name:" in str(caught.value)
    assert "age:" in str(caught.value)
    assert "pydantic.dev" not in str(caught.value)


def test_fingerprints_tell_schemas_apart():
    one, same, other = (OutputType.of(kind) for kind in (Guest, Guest, Point))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert OutputType.of(Literal["a"]).fingerprint != OutputType.of(str).fingerprint


@settings(max_examples=150)
@given(output_types())
def test_any_type_gives_a_valid_closed_schema(kind: Any):
    schema = OutputType.of(kind).schema
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in _parts(schema):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        for name in part.get("$ref", "").removeprefix("#/$defs/").split():
            assert name in schema["$defs"]
        assert "oneOf" not in part
        assert not part.get("uniqueItems")
    json.dumps(schema)


def test_resolve_follows_references():
    schema = OutputType.of(Tree).schema
    assert resolve(schema, schema)["type"] == "object"


def _parts(schema: Any):
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)
