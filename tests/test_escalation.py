"""What the LLM is asked when some fields of a record are not sure enough."""

import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from hetagent.escalation import FieldQuestion, field_question
from hetagent.models.base import Message, Request
from hetagent.schema import OutputType


class Guest(BaseModel):
    name: str
    phone: str | None


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]


class Dish(BaseModel):
    name: str
    count: int


class Order(BaseModel):
    guest: Guest
    vip: Guest | None
    dishes: list[Dish]
    pay: Annotated[Card | Cash, Field(discriminator="kind")]
    note: str = Field(alias="the.note")


class Node(BaseModel):
    value: int
    next: "Node | None"


DRAFT: dict[str, Any] = {
    "guest": {"name": "Ann", "phone": None},
    "vip": {"name": "Bo", "phone": "1"},
    "dishes": [{"name": "soup", "count": 1}, {"name": "tea", "count": 2}],
    "pay": {"kind": "card", "number": "12"},
    "the.note": "none",
}


def ask(kind: Any, draft: Any, *weak: str) -> FieldQuestion | None:
    messages = (Message("system", "old"), Message("user", "Soup for Ann"))
    request = Request(messages, OutputType.of(kind), 77)
    return field_question(request, instructions="Read the order.", draft=draft, weak=weak)


def known_of(question: FieldQuestion) -> Any:
    text = question.request.messages[-1].content
    return json.loads(text.split("Already known to be right: ")[1].split("\nGive only")[0])


@pytest.mark.parametrize(
    ("weak", "paths"),
    [
        (["the.note"], [("the.note",)]),
        (["guest.phone"], [("guest", "phone")]),
        (["guest.phone", "guest.name"], [("guest", "name"), ("guest", "phone")]),
        (["vip.name"], [("vip",)]),
        (["dishes[1].count"], [("dishes",)]),
        (["dishes[0].name", "dishes"], [("dishes",)]),
        (["pay.number"], [("pay",)]),
        (["guest", "guest.name"], [("guest",)]),
    ],
)
def test_only_weak_fields_are_asked_for(weak: list[str], paths: list[tuple[str, ...]]):
    question = ask(Order, DRAFT, *weak)
    assert question is not None
    assert list(question.paths) == paths
    schema = question.request.output.schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == {keys[0] for keys in paths}
    known = known_of(question)
    for keys in paths:
        inner = known
        for key in keys[:-1]:
            inner = inner.get(key, {})
        assert keys[-1] not in inner
    assert question.request.max_tokens == 77
    for keys in paths:
        assert ".".join(keys) in question.request.messages[-1].content.rsplit("Give only", 1)[1]


def test_the_question_holds_instructions_input_and_what_is_known():
    question = ask(Order, DRAFT, "guest.phone")
    assert question is not None
    system, user = question.request.messages
    assert system.content.startswith("Read the order.")
    assert '"phone"' in system.content
    assert '"dishes"' not in system.content
    assert user.content.startswith("Soup for Ann")
    assert known_of(question) == {**DRAFT, "guest": {"name": "Ann"}}


def test_records_without_anything_left_are_not_shown_as_known():
    question = ask(Order, DRAFT, "guest.name", "guest.phone")
    assert question is not None
    assert "guest" not in known_of(question)


def test_merging_leaves_draft_and_answer_alone():
    question = ask(Order, DRAFT, "guest.phone", "pay.number")
    assert question is not None
    before = json.dumps(DRAFT)
    answer = {"guest": {"phone": "5"}, "pay": {"kind": "cash"}}
    merged = question.merge(DRAFT, answer)
    assert merged["guest"] == {"name": "Ann", "phone": "5"}
    assert merged["pay"] == {"kind": "cash"}
    assert merged["dishes"] == DRAFT["dishes"]
    assert json.dumps(DRAFT) == before


def test_covering():
    question = ask(Order, DRAFT, "dishes[0].name", "guest.phone")
    assert question is not None
    for path in ("dishes", "dishes[7]", "dishes[0].name", "guest.phone"):
        assert question.covers(path)
    for path in ("guest", "guest.name", "guest.phonebook", "dish", "pay.kind"):
        assert not question.covers(path)


@pytest.mark.parametrize(
    ("kind", "draft", "weak"),
    [
        (Order, DRAFT, []),
        (Order, DRAFT, [""]),
        (Order, DRAFT, ["nowhere"]),
        (Guest, {"name": "Ann", "phone": None}, ["name", "phone"]),
        (list[Dish], [{"name": "a", "count": 1}], ["[0].name"]),
        (Card | Cash, {"kind": "cash"}, ["kind"]),
        (bool, True, [""]),
    ],
)
def test_where_nothing_would_be_known_the_llm_answers_whole(kind: Any, draft: Any, weak: list[str]):
    assert ask(kind, draft, *weak) is None


def test_recursive_records():
    draft = {"value": 1, "next": {"value": 2, "next": None}}
    question = ask(Node, draft, "next.value")
    assert question is not None
    assert question.paths == (("next",),)
    assert known_of(question) == {"value": 1}
    schema = question.request.output.schema
    jsonschema.Draft202012Validator(schema).validate({"next": {"value": 3, "next": None}})
    assert question.merge(draft, {"next": None}) == {"value": 1, "next": None}


def test_one_of_several_questions_gives_only_what_is_sure():
    messages = (
        Message("system", "old"),
        Message("user", "Tea for Bo"),
        Message("assistant", json.dumps({**DRAFT, "guest": {"name": "Bo", "phone": "1"}})),
        Message("user", "Soup for Ann"),
    )
    request = Request(messages, OutputType.of(Order), 77)

    def several(draft: Any, weak: list[str], others: list[str]) -> FieldQuestion | None:
        return field_question(request, instructions="Read.", draft=draft, weak=weak, others=others)

    begun = {"guest": {"name": "Ann", "phone": None}}
    question = several(begun, ["guest.phone"], ["guest.phone"])
    assert question is not None
    assert known_of(question) == {"guest": {"name": "Ann"}}
    example = question.request.messages[1].content
    assert "Bo" in example
    assert "soup" not in example, "an example shows what the question can show"

    question = several(begun, ["guest.phone"], ["guest.phone", "guest.name", "dishes[0].name"])
    assert question is not None
    assert "known" not in question.request.messages[-1].content
    assert question.paths == (("guest", "phone"),)
    assert several([], [""], []) is None
