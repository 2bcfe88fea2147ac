"""Answers are read from records and written as the LLM writes them, whatever they hold."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import OutputError, UnsupportedTypeError
from hetagent.json_shape import Shape, Sizes
from hetagent.learn.chat import Said, Wanted
from hetagent.learn.cluster.actions import undecorated
from hetagent.learn.task.answers import Answers, Style

WORDS = st.text(max_size=8)
NAMES = st.sampled_from(["a", "b c", "$ref", "enum", "properties", "tool", "né"])
LEAVES: list[tuple[dict[str, Any], st.SearchStrategy[Any]]] = [
    ({"type": "string"}, WORDS),
    ({"type": "integer"}, st.integers(-(2**40), 2**40)),
    ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
    ({"type": "boolean"}, st.booleans()),
    ({"type": ["string", "null"]}, st.none() | WORDS),
    ({"enum": ["x", "y", 3]}, st.sampled_from(["x", "y", 3])),
]


def objects(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of objects, each with a strategy of values as the skill has them."""

    def made(given_: dict[str, tuple[Any, bool]]) -> Any:
        properties = {name: schema for name, ((schema, _), _) in given_.items()}
        needed = [name for name, (_, needed) in given_.items() if needed]
        schema = {"type": "object", "properties": properties, "required": needed}
        values = {
            name: value if needed else st.none() | value
            for name, ((_, value), needed) in given_.items()
        }
        return schema, st.fixed_dictionaries(values)

    return st.dictionaries(NAMES, st.tuples(parts, st.booleans()), max_size=4).map(made)


def lists(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return parts.map(lambda one: ({"type": "array", "items": one[0]}, st.lists(one[1], max_size=3)))


SCHEMAS = objects(
    st.recursive(st.sampled_from(LEAVES), lambda inner: objects(inner) | lists(inner), max_leaves=4)
)
STYLES = st.sampled_from([
    Style(), Style("```json\n", "\n```"), Style("[CONTENT]\n", "\n[/CONTENT]", indent=2),
    Style("<answer>", "</answer>", compact=True), Style("[A]\n```\n", "\n```\n[/A]", indent=4),
    Style(indent=2), Style(compact=True),
])  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(SCHEMAS, STYLES, st.data())
def test_json_that_is_written_reads_as_the_value(made, style, data):
    schema, values = made
    value = data.draw(values)
    answers = Answers("json", schema=schema, style=style)
    said = answers.write(value)
    read = answers.read(said)
    assert read == value
    assert list(read) == list(schema["properties"])
    assert Style.of_json([said.text] * 3).before == style.before
    loaded = Answers.from_dict(json.loads(json.dumps(answers.to_dict())))
    assert (loaded, loaded.output.schema) == (answers, answers.output.schema)


@settings(max_examples=25, deadline=None)
@given(st.lists(SCHEMAS, min_size=1, max_size=3), STYLES, st.data())
def test_a_tools_call_that_is_written_reads_as_the_value(made, style, data):
    tools = tuple(
        {"name": f"tool.{place}", "description": "", "parameters": schema}
        for place, (schema, _) in enumerate(made)
    )
    place = data.draw(st.integers(0, len(made) - 1))
    value = {"tool": f"tool.{place}", "arguments": data.draw(made[place][1])}
    spacing = Style(indent=style.indent, compact=style.compact)
    answers = Answers("tools", tools=tools, style=spacing)
    said = answers.write(value)
    assert answers.read(said) == value
    assert said.calls[0].arguments == spacing.json(json.loads(said.calls[0].arguments))


@settings(max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=6).filter(str.strip).map(str.strip), min_size=2,
             max_size=4, unique=True),
    st.sampled_from([Style(), Style('"', '"'), Style("**", "**\n"), Style("", ".")]),
    st.data(),
)  # fmt: skip
def test_a_label_that_is_written_reads_as_the_label(labels, style, data):
    label = data.draw(st.sampled_from(labels))
    answers = Answers("labels", tuple(labels), style=style)
    assert answers.read(answers.write(label)) == label


@settings(max_examples=100)
@given(st.text(), st.sampled_from(["{}", "```json\n{}\n```", "[A]{}[/A]", "<b>\n{}</b>"]))
def test_what_stands_around_an_answer_is_taken_apart_whole(text, around):
    written = around.replace("{}", text)
    assert "".join(undecorated(written)) == written


def test_the_style_is_that_of_most_answers():
    texts = ['```json\n{"a": 1}\n```'] * 3 + ['{"a":1}'] * 2 + ["no json"] * 9
    assert Style.of_json(texts) == Style("```json\n", "\n```")
    assert Style.of_json(['{"a":1,"b":2}']) == Style(compact=True)
    assert Style.of_json(['{\n    "a": 1\n}']) == Style(indent=4)
    assert Style.of_json([]) == Style.of_labels([], ["x"]) == Style()
    assert Style.of_labels(['"x"', '"y"', "x"], ["x", "y"]) == Style('"', '"')


def test_what_is_no_value_is_none():
    answers = Answers("json", schema={"type": "object", "properties": {"a": {"type": "integer"}},
                                      "required": ["a"]})  # fmt: skip
    for text in ("words", '{"a": "1"}', "{}", '{"a": 1, "b": 2}', "[1]", '{"a": NaN}'):
        with pytest.raises(OutputError):
            answers.read(Said("assistant", text))
    assert answers.read(Said("assistant", '{"a": 1.0}')) == {"a": 1}
    with pytest.raises(OutputError):
        answers.write({"a": "1"})
    tools = Answers("tools", tools=({"name": "f", "description": "", "parameters": {}},))
    assert tools.read(Said("assistant", "", (Wanted("f", ""),))) == {"tool": "f", "arguments": {}}
    for calls in ([Wanted("g", "{}")], [Wanted("f", "{}")] * 2, [Wanted("f", "[]")]):
        with pytest.raises(OutputError):
            tools.read(Said("assistant", "", tuple(calls)))


def test_references_and_unions_are_filled_and_stripped():
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            "size": {"type": "integer"},
        },
        "required": ["name", "next"],
    }
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    shape = Shape(schema, "x")
    written = {"next": {"size": 2, "name": "b", "next": None}, "name": "a"}
    value = shape.filled(written)
    inner = {"name": "b", "next": None, "size": 2}
    assert value == {"name": "a", "next": inner, "size": None}
    assert shape.fits(value)
    assert shape.stripped(value) == {"name": "a", "next": inner}
    tools = Answers("tools", tools=(
        {"name": "f", "description": "one", "parameters": node | {"$defs": {"Node": node}}},
        {"name": "g", "description": "two", "parameters": node | {"$defs": {"Node": node}}},
    ))  # fmt: skip
    assert set(tools.output.schema["$defs"]) == {"0_Node", "1_Node"}
    call = {"tool": "g", "arguments": value}
    assert tools.read(tools.write(call)) == call


def test_bounds_have_room_for_what_was_recorded():
    sizes = Sizes.of([{"a": ["x" * 3000, *range(50)]}])
    assert sizes == Sizes(6000, 102)
    assert Sizes.of([]) == Sizes()
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}},
              "required": ["a"]}  # fmt: skip
    closed = Shape(schema, "x", sizes).closed["properties"]["a"]
    assert closed["maxItems"] == 102
    assert closed["items"]["maxLength"] == 6000


def test_what_cannot_be_constrained_is_told():
    for schema in ({"type": "object", "additionalProperties": {"type": "string"}}, {"not": {}}):
        answers = Answers("json", schema=schema)
        with pytest.raises(UnsupportedTypeError):
            _ = answers.output
