"""Skills that choose one of several functions, or none."""

import json
from datetime import date
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field

from hetagent import Answer, LlamaCpp, Orchestrator, Scripted, ToolCall, constraint, skill, tools
from hetagent.errors import OutputError, SkillError, UnsupportedTypeError


def weather(city: str, day: date | None = None) -> str:
    """Tell the weather of a city.

    More that the model is not told.
    """
    return f"{city} {day}"


def add(a: int, b: Annotated[int, Field(ge=0)]) -> int:
    """Add two numbers."""
    return a + b


def awkward(schema: str, model_config: bool, _private: int) -> str:
    """Names pydantic keeps for itself."""
    return f"{schema} {model_config} {_private}"


def nothing() -> str:
    return "nothing"


@skill(
    output=tools(weather, add, awkward, nothing),
    max_tokens=80,
    examples=[
        ("2 and 3", ToolCall("add", {"a": 2, "b": 3}, add)),
        ("hello", None),
        ("Paris", {"tool": "weather", "arguments": {"city": "Paris", "day": None}}),
    ],
)
def act(message: str):
    """Choose a tool for the message."""


CALLS: list[tuple[Any, str, dict[str, Any]]] = [
    ({"tool": "add", "arguments": {"a": 2, "b": 3}}, "add", {"a": 2, "b": 3}),
    (
        {"tool": "weather", "arguments": {"city": "Rome", "day": "2024-02-29"}},
        "weather",
        {"city": "Rome", "day": date(2024, 2, 29)},
    ),
    ({"tool": "nothing", "arguments": {}}, "nothing", {}),
    (
        {"tool": "awkward", "arguments": {"schema": "s", "model_config": True, "_private": 1}},
        "awkward",
        {"schema": "s", "model_config": True, "_private": 1},
    ),
]


@pytest.mark.parametrize(("data", "name", "arguments"), CALLS)
def test_calls(data: Any, name: str, arguments: dict[str, Any]):
    text = json.dumps(data)
    call = act.output.parse(text)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == (name, arguments)
    assert act.output.encode(call) == text
    jsonschema.Draft202012Validator(act.schema).validate(data)


def test_running_a_call():
    call = act.output.parse('{"tool": "add", "arguments": {"a": 2, "b": 3}}')
    assert call() == 5
    assert call.function is add
    odd = {"tool": "awkward", "arguments": {"schema": "s", "model_config": True, "_private": 1}}
    assert act.output.parse_json(odd)() == "s True 1"


def test_no_tool():
    assert act.output.parse('{"tool": "none"}') is None
    assert act.output.encode(None) == '{"tool": "none"}'


@pytest.mark.parametrize(
    "text",
    [
        '{"tool": "fly"}',
        '{"tool": "add", "arguments": {"a": 1}}',
        '{"tool": "add", "arguments": {"a": 1, "b": -1}}',
        '{"tool": "none", "arguments": {}}',
        "",
    ],
)
def test_calls_that_are_not_valid(text: str):
    with pytest.raises(OutputError):
        act.output.parse(text)


def test_the_schema_is_closed_and_compiles():
    jsonschema.Draft202012Validator.check_schema(act.schema)
    constraint.check(act.output)
    validator = jsonschema.Draft202012Validator(act.schema)
    assert not validator.is_valid({"tool": "add", "arguments": {"a": 1, "b": 1, "c": 1}})


def test_the_model_is_told_of_each_tool():
    system = act.messages[0].content
    for words in ('"weather"', "Tell the weather", "Add two numbers", '"model_config"', "no tool"):
        assert words in system
    assert "More that the model" not in system


def test_examples():
    shown = [m.content for m in act.messages if m.role == "assistant"]
    assert [json.loads(text)["tool"] for text in shown] == ["add", "none", "weather"]


def test_in_an_orchestrator():
    agent = Orchestrator(slm=Scripted(Answer({"tool": "add", "arguments": {"a": 1, "b": 1}})))
    outcome = agent.run(act, "1 and 1")
    assert outcome.value is not None
    assert outcome.value() == 2
    assert set(outcome.fields) == {"tool", "arguments.a", "arguments.b"}


def test_on_the_real_model(smol: LlamaCpp):
    outcome = Orchestrator(slm=smol, policy=0.0).run(act, "What is 20 and 22?")
    assert outcome.served_by == "slm"
    assert outcome.value is None or outcome.value.name in ("weather", "add", "awkward", "nothing")


def test_declarations_that_cannot_work():
    def variadic(*args: int) -> None: ...

    def positional(a: int, /) -> None: ...

    def untyped(a) -> None: ...

    def none() -> None: ...

    def undefined(a: "Nowhere") -> None: ...  # noqa: F821

    for functions, words in [
        ((), "no function"),
        ((add, add), "'add'"),
        ((none,), "'none'"),
        ((variadic,), "takes .args"),
        ((positional,), "takes a"),
        ((untyped,), "'a' of the tool untyped has no type"),
        ((undefined,), "not defined"),
    ]:
        with pytest.raises(SkillError, match=words):
            tools(*functions)


def test_arguments_that_cannot_be_constrained():
    def collect(tags: set[str]) -> None: ...

    def choose(kind: Literal[1, "1"]) -> None: ...

    with pytest.raises(UnsupportedTypeError, match="set"):
        tools(collect)
