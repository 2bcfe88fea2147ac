"""The fixed part of a prompt, and how inputs are written."""

from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent.errors import InputError
from hetagent.prompt import check_text, describe_output, render_inputs
from hetagent.schema import OutputType


class Guest(BaseModel):
    """Who eats."""

    name: str = Field(description="full\nname", max_length=30)
    age: int | None = Field(ge=0, le=120)


class Order(BaseModel):
    guest: Guest = Field(description="who pays")
    when: date
    dishes: list[Guest]
    size: Literal["small", "large"]


class Tree(BaseModel):
    value: int
    children: list["Tree"]


class A(BaseModel):
    b: list["B"]


class B(BaseModel):
    a: A | None


def described(kind: Any) -> str:
    return describe_output(OutputType.of(kind))


def test_choices_are_listed():
    assert described(Literal["a", "b c"]).splitlines()[1:] == ["a", "b c"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "one string,"),
        (Annotated[str, Field(max_length=5)], "string of at most 5 characters"),
        (Annotated[str, Field(pattern="^a+$")], "string matching ^a+$"),
        (int, "one integer,"),
        (Annotated[int, Field(ge=1, le=9)], "integer from 1 to 9"),
        (Annotated[int, Field(gt=1)], "integer of at least 1"),
        (Annotated[float, Field(lt=9)], "number of at most 9"),
        (date, "date string"),
        (list[int], "list of integer"),
        (tuple[int, str], "[integer, string]"),
        (int | None, "integer or null"),
        (list[Literal["a", "b"]], 'list of "a" or "b"'),
    ],
)
def test_types_in_words(kind: Any, words: str):
    assert words in described(kind)


def test_records_are_shown_with_descriptions():
    text = described(Order)
    assert '"guest": {' in text
    assert "// who pays" in text
    assert "// full name" in text, "a description stays on its line"
    assert '"age": integer from 0 to 120 or null' in text
    assert '"size": "small" or "large"' in text


def test_records_that_contain_themselves_are_named_once():
    text = described(Tree)
    assert text.count("where Tree is") == 1
    assert "list of Tree" in text
    mutual = described(A)
    assert "where A is" in mutual
    assert len(mutual) < 500


def test_one_input_stands_alone_and_several_are_named():
    assert render_inputs({"text": "hello"}) == "hello"
    assert render_inputs({"n": 0}) == "0"
    assert render_inputs({"flag": False}) == "false"
    assert render_inputs({"data": {"é": [1, None]}}) == '{"é": [1, null]}'
    assert render_inputs({"a": "x", "b": None}) == "a: x\nb: null"


@pytest.mark.parametrize(
    "values", [{"a": ""}, {"a": " \n\t"}, {"a": None}, {"a": []}, {"a": {}}, {"a": "", "b": []}]
)
def test_empty_inputs_are_refused(values: dict[str, Any]):
    with pytest.raises(InputError, match="empty") as caught:
        render_inputs(values)
    assert caught.value.hint


def test_one_filled_input_is_enough():
    assert render_inputs({"a": "", "b": 0}) == "a: \nb: 0"


@pytest.mark.parametrize(
    ("text", "words"),
    [("ab\0c", "NUL byte at character 2"), ("x\ud800", "surrogate at character 1")],
)
def test_characters_no_model_can_be_given(text: str, words: str):
    with pytest.raises(InputError, match=words) as caught:
        check_text(text)
    assert "replace" in caught.value.hint
    with pytest.raises(InputError, match=words):
        render_inputs({"only": text})


def test_the_repairs_that_hints_name_work():
    check_text("ab\0c".replace("\0", ""))
    check_text("x\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
