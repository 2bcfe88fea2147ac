"""Skills whose tools come with the call: one skill for calls of whatever is offered.

    @skill
    def act(request: str, tools: Offered) -> ToolCall:
        \"\"\"Call the one tool that does what the request asks for.\"\"\"

Its general output type is any call of a tool. Each request has an output type of its own, the
choice among just the tools that it offers. As JSON data a call is ``{"tool": …, "arguments": {…}}``
without the arguments that are left out. While it is written every argument has its place, and is
null where it is left out; so the text of an answer is known to the request's type alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import AfterValidator, PlainSerializer, PlainValidator, TypeAdapter
from pydantic_core import to_jsonable_python

from hetagent import constraint
from hetagent.errors import HetagentError, InputError, SkillError, UnsupportedTypeError
from hetagent.json_shape import NO_TOOL, choice_of_tools
from hetagent.prompt import check_text
from hetagent.schema import OutputType
from hetagent.tool_schemas import Tool, tool_of
from hetagent.tools import ToolCall

__all__ = ["Offered", "any_call", "call_of", "describe_calls", "offered_input", "told"]

WHOLES = ("tool", "arguments")
_NO_CALL: Mapping[str, Any] = {"tool": NO_TOOL, "arguments": {}}
_Call: TypeAlias = ToolCall[Any] | None


def _tools(given: Any) -> tuple[Tool, ...]:
    """The tools that a call offers, as they are defined.

    Raises:
        InputError: There are none, two have one name, or one is no tool.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise InputError("The tools are no list.", hint="Give a list of definitions or functions.")
    found = tuple(map(tool_of, given))
    names = [tool.name for tool in found]
    if not names:
        raise InputError("No tool is offered.", hint="Give at least one.")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two tools are named {name!r}.", hint="Rename one of them.")
    return found


class _Mark:
    """Tells the input of the tools from others."""


_MARK = _Mark()

Offered: TypeAlias = Annotated[
    Sequence[Mapping[str, Any] | Callable[..., Any]],
    _MARK,
    PlainValidator(_tools),
    PlainSerializer(lambda tools: [tool.definition for tool in tools]),
]
"""Tools that a call offers: their definitions, in OpenAI's form or bare, or Python functions."""


@dataclass(frozen=True)
class _CallType(OutputType[_Call]):
    """The type of a call of some tools.

    Attributes:
        tools: By name.
    """

    tools: Mapping[str, Tool] = field(default_factory=dict)

    def text_of_json(self, value: Any) -> str:
        """The text of a call that is given as JSON data: with a null for what it leaves out."""
        return json.dumps(_filled(value, self.tools), ensure_ascii=False)

    def json_of_text(self, text: str) -> Any:
        """The call that a text is, as JSON data: without what it leaves out."""
        value = super().json_of_text(text)
        tool = self.tools.get(value.get("tool", "")) if _is_call(value) else None
        if tool is None or not tool.shape.fits(value["arguments"]):
            return value
        return {"tool": tool.name, "arguments": tool.shape.stripped(value["arguments"])}


def offered_input(hints: Mapping[str, Any], *, where: str) -> str | None:
    """The name of the input that is the tools; ``None`` where there is none.

    Args:
        hints: Annotations of a function's parameters, and of what it returns.
        where: The function's name, for error messages.

    Raises:
        SkillError: There are several, or nothing else, or what is returned is no call.
    """
    inputs = {name: kind for name, kind in hints.items() if name != "return"}
    found = [name for name, kind in inputs.items() if _MARK in getattr(kind, "__metadata__", ())]
    if not found:
        return None
    if len(found) > 1 or len(inputs) == 1:
        raise SkillError(
            f"{where} has {len(found)} inputs of tools, and {len(inputs) - len(found)} others.",
            hint="Give it one input of the type Offered, and others that say what is to be done.",
        )
    return found[0]


def any_call(annotation: Any, *, where: str) -> OutputType[Any]:
    """The type of calls of whatever tools.

    Args:
        annotation: ``ToolCall``, or ``ToolCall | None`` where no tool may fit.
        where: Words that name the skill in error messages.

    Raises:
        SkillError: It is another type.
    """
    options = get_args(annotation) if get_origin(annotation) is not ToolCall else (annotation,)
    options = options or (annotation,)
    kinds = {get_origin(one) or one for one in options}
    if ToolCall not in kinds or kinds - {ToolCall, type(None)}:
        raise SkillError(
            f"{where} is offered tools, and does not return a call of one.",
            hint="Annotate it with -> ToolCall, or -> ToolCall | None where none may fit.",
        )
    none = type(None) in kinds
    named = "name of a tool that is offered" + (f", or {NO_TOOL}" if none else "")
    schema = {
        "type": "object",
        "properties": {
            "tool": {"type": "string", "description": named},
            "arguments": {"type": "object", "additionalProperties": True},
        },
        "required": list(WHOLES),
        "additionalProperties": False,
    }

    def read(given: Any) -> _Call:
        data = _as_json(given, none=none)
        if data == _NO_CALL and none:
            return None
        if not _is_call(data) or data["tool"] == NO_TOOL:
            raise ValueError('a call is {"tool": …, "arguments": {…}}')
        return given if isinstance(given, ToolCall) else ToolCall(data["tool"], data["arguments"])

    return _CallType(annotation, schema, "json", {}, _adapter(read), WHOLES)


def describe_calls(output: OutputType[Any]) -> str:
    """Words that tell a model what to answer with, whatever tools it will be offered."""
    form = '{"tool": its name, "arguments": {…}}'
    lines = [f"Answer with JSON of this form, and nothing else, null for what is left out:\n{form}"]
    if _allows_none(output):
        lines.append(f"Where no tool fits:\n{json.dumps(_NO_CALL)}")
    return "\n".join(lines)


def told(definitions: Sequence[Mapping[str, Any]]) -> str:
    """What a model is told of the tools that are offered.

    Args:
        definitions: As the input is as JSON data.

    Raises:
        InputError: One of them cannot be offered.
    """
    text = "\n".join(["Tools:", *_texts(json.dumps(list(definitions)))])
    check_text(text)
    return text


def call_of(output: OutputType[Any], given: Any) -> OutputType[Any]:
    """The type of a call of the tools that one request offers.

    Args:
        output: That of the skill, of `any_call`.
        given: The input, as the user gave it.

    Raises:
        InputError: There is no tool, two have one name, or one cannot be offered: it is named.
    """
    tools = _tools(given)
    text = json.dumps([tool.definition for tool in tools])
    functions = tuple(tool.function for tool in tools)
    return _call_type(text, functions, _allows_none(output))


def _allows_none(output: OutputType[Any]) -> bool:
    return bool(type(None) in get_args(output.annotation))


@lru_cache(maxsize=256)
def _texts(text: str) -> tuple[str, ...]:
    try:
        return tuple(tool_of(one).text for one in json.loads(text))
    except UnsupportedTypeError as error:
        raise _unusable(error) from error


@lru_cache(maxsize=256)
def _call_type(
    text: str, functions: tuple[Callable[..., Any] | None, ...], none: bool
) -> OutputType[Any]:
    known = zip(map(tool_of, json.loads(text)), functions, strict=True)
    tools = {tool.name: replace(tool, function=function) for tool, function in known}
    try:
        shapes = [(tool.name, tool.description, tool.shape) for tool in tools.values()]
        schema = choice_of_tools(shapes, none=none, arguments_of_none=True)
    except UnsupportedTypeError as error:
        raise _unusable(error) from error

    def read(given: Any) -> _Call:
        data = _filled(_as_json(given, none=none), tools)
        if data == _NO_CALL and none:
            return None
        tool = tools.get(data["tool"]) if _is_call(data) else None
        if tool is None:
            raise ValueError(f"tool: it is one of {', '.join(tools)}")
        if not tool.shape.fits(data["arguments"]):
            raise ValueError(f"arguments: they do not fit the parameters of {tool.name}")
        return tool.call(tool.shape.stripped(data["arguments"]))

    made = _CallType(_Call, schema, "json", {}, _adapter(read), WHOLES, tools)
    _check(made, tools.values())
    return made


def _check(made: OutputType[Any], tools: Any) -> None:
    """Raise where a tool cannot be constrained, and say which."""
    try:
        constraint.check(made, where="the choice of tools")
    except UnsupportedTypeError as error:
        for tool in tools:
            alone = replace(made, schema=choice_of_tools([("", "", tool.shape)], none=False))
            try:
                constraint.check(alone, where=tool.shape.where)
            except UnsupportedTypeError as named:
                raise _unusable(named) from named
        raise _unusable(error) from error


def _unusable(error: HetagentError) -> InputError:
    return InputError(
        f"A tool cannot be offered: {error.message}", hint=error.hint or "Simplify its parameters."
    )


def _adapter(read: Callable[[Any], _Call]) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[Any, AfterValidator(read), PlainSerializer(_to_json)])


def _as_json(given: Any, *, none: bool) -> Any:
    if isinstance(given, ToolCall) or (given is None and none):
        return _to_json(given)
    return given


def _to_json(call: _Call) -> dict[str, Any]:
    if call is None:
        return dict(_NO_CALL)
    return {"tool": call.name, "arguments": to_jsonable_python(dict(call.arguments))}


def _is_call(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == set(WHOLES)
        and isinstance(value["tool"], str)
        and isinstance(value["arguments"], Mapping)
    )


def _filled(value: Any, tools: Mapping[str, Tool]) -> Any:
    """JSON data of a call with a null for what is left out; of anything else, as it is."""
    tool = tools.get(value["tool"]) if _is_call(value) else None
    if tool is None:
        return value
    return {"tool": tool.name, "arguments": tool.shape.filled(value["arguments"])}
