"""Tools as others define them: a JSON Schema in OpenAI's form or bare, or a Python function."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from hetagent.closing import PydanticSchemas
from hetagent.errors import InputError, SkillError
from hetagent.json_shape import NO_TOOL, PAIRS, Shape
from hetagent.json_types import items, mapping
from hetagent.prompt import in_notation
from hetagent.tools import ToolCall, arguments_of, summary_of

__all__ = ["Tool", "tool_of"]

Schema = dict[str, Any]

# Names that Python and common collections of tools have for JSON Schema's types.
_TYPES = {
    "bool": "boolean",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "list": "array",
    "str": "string",
    "tuple": "array",
}
_SIMPLE: tuple[Schema, ...] = ({"type": "string"}, {"type": "number"}, {"type": "boolean"})
_ANYTHING: Schema = {"anyOf": [*_SIMPLE, {"type": "array", "items": {"anyOf": list(_SIMPLE)}}]}
"""What stands for a value of any type: a constraint needs to know which."""


@dataclass(frozen=True)
class Tool:
    """A tool that is offered.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: JSON Schema of its arguments, in plain words of JSON Schema.
        function: The function that it is; ``None`` where it is only described.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = field(default=None, compare=False)

    @functools.cached_property
    def shape(self) -> Shape:
        """Its arguments, as they are written and as they are told."""
        return Shape(self.parameters, f"the parameters of the tool {self.name}")

    @property
    def definition(self) -> dict[str, Any]:
        """It as JSON data; `tool_of` reads it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }

    @functools.cached_property
    def text(self) -> str:
        """What a model is told of it."""
        about = f": {self.description}" if self.description else ""
        return f"{self.name}{about}\n{in_notation(self.shape.unbounded)}"

    def call(self, arguments: Mapping[str, Any]) -> ToolCall[Any]:
        """A call with arguments that fit its shape, as JSON data without what is left out.

        Raises:
            ValueError: A validator of the function's own types refuses them.
        """
        if self.function is None:
            return ToolCall(self.name, dict(arguments))
        model, names = _model_of(self.function)
        value = model.model_validate_json(json.dumps(arguments))
        named = {names[key]: getattr(value, key) for key in names if key in value.model_fields_set}
        return ToolCall(self.name, named, self.function)


def tool_of(given: Any) -> Tool:
    """A tool as it is defined.

    Python's names of types are read as JSON Schema's. What may be anything becomes a text, a
    number, a truth value or a list of these; an object whose keys are not known becomes a list of
    keys and values while it is written, and is an object again in the call. A default is told.

    Args:
        given: ``{"name": …, "description": …, "parameters": {…}}``, the same within
            ``{"type": "function", "function": …}``, or a Python function.

    Raises:
        InputError: It is none of these, or its name cannot be written.
    """
    if callable(given):
        return _of_function(given)
    found = mapping(given)
    found = mapping(found.get("function")) or found
    name = found.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{_short(given)} is no definition of a tool.",
            hint='Give {"name": …, "description": …, "parameters": {…}}, or a Python function.',
        )
    _check_name(name)
    described = found.get("description")
    about = " ".join(described.split()) if isinstance(described, str) else ""
    # Some servers are sent no schema for a tool that takes nothing.
    parameters = found.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise InputError(
            f"The parameters of the tool {name} are no JSON Schema.",
            hint='Give {"type": "object", "properties": {…}, "required": […]}.',
        )
    plain = {"properties": {}, **parameters, "type": "object"}
    try:
        made = _plain(plain)
        json.dumps(made)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"The tool {name} is not JSON data: {error}.") from None
    return Tool(name, about, made)


@functools.lru_cache(maxsize=256)
def _of_function(function: Callable[..., Any]) -> Tool:
    name = getattr(function, "__name__", "")
    if not inspect.isroutine(function):
        raise InputError(
            f"{_short(function)} is no function.", hint="Give a function, or describe the tool."
        )
    _check_name(name)
    try:
        model, _ = _model_of(function)
        schema = TypeAdapter(model).json_schema(schema_generator=PydanticSchemas)
    except (SkillError, PydanticInvalidForJsonSchema) as error:
        reason = getattr(error, "message", str(error).splitlines()[0])
        raise InputError(f"The function {name} cannot be offered: {reason}") from error
    return Tool(name, " ".join(summary_of(function).split()), _plain(schema), function)


@functools.lru_cache(maxsize=256)
def _model_of(function: Callable[..., Any]) -> tuple[type[BaseModel], dict[str, str]]:
    return arguments_of(function, defaults=True)


def _check_name(name: str) -> None:
    if name == NO_TOOL or not name.isprintable():
        raise InputError(
            f"{name!r} is no name for a tool.",
            hint=f"Name it with printable signs; {NO_TOOL!r} stands for no tool at all.",
        )


def _plain(schema: Any) -> Any:
    """A copy in which types have JSON Schema's names, and nothing may be anything."""
    if not isinstance(schema, Mapping):
        return schema
    found = dict(schema)
    kinds = found.get("type")
    if isinstance(kinds, str):
        found["type"] = _TYPES.get(kinds, kinds)
    elif isinstance(kinds, list):
        found["type"] = [_TYPES.get(kind, kind) for kind in kinds]
    _say_default(found)
    if found.get("type") == "any":
        return _ANYTHING | _described(found)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in found:
            found[key] = [_plain(part) for part in items(found[key])]
    for key in ("$defs", "definitions", "properties"):
        if key in found:
            found[key] = {name: _plain(part) for name, part in mapping(found[key]).items()}
    if "items" in found:
        found["items"] = _plain(found["items"])
    if found.get("type") == "object" and "properties" not in found:
        return _pairs(found)
    return found


def _pairs(schema: Schema) -> Schema:
    """A list of keys and values, in place of an object whose keys are not known."""
    inner = schema.get("additionalProperties")
    value = _plain(inner) if isinstance(inner, Mapping) and inner else _ANYTHING
    properties = {"key": {"type": "string"}, "value": value}
    pair = {"type": "object", "properties": properties, "required": ["key", "value"]}
    return {"type": "array", "items": pair, PAIRS: True} | _described(schema)


def _described(schema: Schema) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


def _say_default(found: Schema) -> None:
    """Put a default into the description, which is all that a model is told, unless it is there."""
    if found.get("default") in (None, ""):
        return
    about = str(found.get("description", ""))
    if "default" not in about.lower():
        told = json.dumps(found["default"], ensure_ascii=False)
        found["description"] = f"{about} (default: {told})".strip()


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
