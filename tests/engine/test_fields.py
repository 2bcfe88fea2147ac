"""Fields with a fixed set of values: which they are, where they begin, and their tries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp
from hetagent.engine.fields import FieldChoice, FieldChoices, finite_literals
from hetagent.scanner import Scanner
from hetagent.schema import OutputType


class Cat(BaseModel):
    kind: Literal["cat"]
    mood: Literal["calm", "cross"]


class Dog(BaseModel):
    kind: Literal["dog"]
    mood: Literal["calm", "wild"]
    loud: bool


class Node(BaseModel):
    colour: Literal["red", "rosé"] | None
    children: list[Node] = Field(max_length=2)


class Record(BaseModel):
    flag: bool
    maybe: bool | None
    number: Literal[1, 2, 10]
    constant: Literal["x"]
    text: str
    either: Literal["a", "b"] | int
    pair: tuple[bool, int]
    marks: list[Literal["a", "b"]] = Field(max_length=1)
    tree: Node
    inner: Annotated[Cat | Dog, Field(discriminator="kind")]


SCHEMA = OutputType.of(Record).schema


@pytest.mark.parametrize(
    ("keys", "literals"),
    [
        (("flag",), ("true", "false")),
        (("maybe",), ("true", "false", "null")),
        (("number",), ("1", "2", "10")),
        (("constant",), ('"x"',)),
        (("text",), None),
        (("either",), None),
        (("pair",), None),
        (("pair", 0), ("true", "false")),
        (("pair", 1), None),
        (("pair", 2), None),
        (("marks", 0), ('"a"', '"b"')),
        (("tree", "colour"), ('"red"', '"rosé"', "null")),
        (("tree", "children", 1, "children", 0, "colour"), ('"red"', '"rosé"', "null")),
        (("inner", "loud"), ("true", "false")),
        # Of a union only what one of its options alone has is known before it is decided.
        (("inner", "kind"), None),
        (("inner", "mood"), None),
        (("inner",), None),
        (("nothing",), None),
        ((), None),
    ],
)
def test_values_of_a_field(keys: Any, literals: Any):
    assert finite_literals(SCHEMA, keys) == literals


class Parts:
    """The model's tokens and a type's constraint."""

    def __init__(self, model: LlamaCpp, kind: Any) -> None:
        assert model._engine is not None
        assert model._decoder is not None
        self.vocabulary = model._engine.vocabulary
        constraint = model._decoder._compiler.compile(OutputType.of(kind))
        self.matcher = constraint.start()
        self.fields = FieldChoices.of(constraint.schema, self.vocabulary)

    def after(self, text: str) -> FieldChoice | None:
        """The value to score behind a text."""
        assert self.fields is not None
        matcher, scanner = self.matcher.copy(), Scanner()
        assert matcher.consume(self.vocabulary.encode(text)) or not text
        scanner.feed(text.encode())
        before = scanner.awaiting
        found = self.fields.next(matcher, scanner, matcher.forced_tokens())
        assert scanner.awaiting == before
        return found

    def write(self, tokens: Any) -> str:
        return b"".join(map(self.vocabulary.piece, tokens)).decode(errors="replace")


def test_types_without_such_fields_are_not_looked_at(smol: LlamaCpp):
    class Plain(BaseModel):
        name: str
        one: Literal["only"]
        people: int | None

    assert Parts(smol, Plain).fields is None
    assert Parts(smol, Record).fields is not None


def test_a_value_begins_within_the_forced_bytes(smol: LlamaCpp):
    class Booking(BaseModel):
        day: Literal["today", "tomorrow"]
        people: int

    parts = Parts(smol, Booking)
    choice = parts.after("")
    assert choice is not None
    forced = parts.matcher.forced_tokens()
    assert parts.write(forced[: choice.after]) == '{"day":'
    assert choice.literals == ('"today"', '"tomorrow"')
    assert [parts.write(path) for path in choice.trie.paths] == [' "today",', ' "tomorrow",']
    for path, free in zip(choice.trie.paths, choice.free, strict=True):
        decided = {depth for depth, _ in choice.trie.branching_steps(choice.trie.paths.index(path))}
        for depth, token in enumerate(path):
            size = len(parts.vocabulary.piece(token))
            assert free[depth] <= size
            assert (free[depth] == size) == (depth not in decided)
    assert parts.after('{"day": "today", "people": ') is None


def test_a_list_that_may_end_is_not_forced_to_go_on(smol: LlamaCpp):
    class Marked(BaseModel):
        marks: list[Literal["a", "b"]] = Field(max_length=1)
        sure: list[Literal["a", "b"]] = Field(min_length=1, max_length=1)

    parts = Parts(smol, Marked)
    assert parts.after("") is None
    assert parts.after('{"marks": [') is None
    choice = parts.after('{"marks": [], "sure":')
    assert choice is not None
    assert choice.literals == ('"a"', '"b"')


def test_what_follows_is_another_decision(smol: LlamaCpp):
    """Behind an item comes a comma or the end, which may merge with the item's last token."""

    class Flags(BaseModel):
        flags: list[bool] = Field(min_length=1, max_length=3)

    parts = Parts(smol, Flags)
    assert parts.after("") is None
    last = parts.after('{"flags": [true, false, ')
    assert last is None or last.literals == ("true", "false")


def test_characters_the_vocabulary_lacks_are_escaped(smol: LlamaCpp):
    """SmolLM2 has no token for this control character; JSON writes it otherwise."""

    class Odd(BaseModel):
        odd: Literal["yes", "yes\x16"]

    choice = Parts(smol, Odd).after("")
    assert choice is not None
    assert choice.literals == ('"yes"', '"yes\\u0016"')


def test_what_is_found_once_is_remembered(smol: LlamaCpp):
    parts = Parts(smol, Node)
    assert parts.fields is not None
    first = parts.after("")
    assert first is not None
    assert parts.after("") is first
    inner = parts.after('{"colour": "red", "children": [')
    assert inner is None or inner is not first
    for _ in range(3):
        parts.after('{"colour": null, "children": [{"colour":')
    assert len(parts.fields._known) <= 4
