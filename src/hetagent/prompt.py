"""What a model is told: the fixed part of a skill's prompt, and the rendering of its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hetagent.errors import InputError
from hetagent.schema import OutputType, resolve

__all__ = ["check_text", "describe_output", "in_notation", "render_inputs"]

Schema = dict[str, Any]


def describe_output(output: OutputType[Any]) -> str:
    """Words that tell a model what to answer with.

    Records are shown in a short typed notation, which small models follow better than JSON Schema
    and which takes a third of its tokens.
    """
    if output.form == "choice":
        return "Answer with exactly one of these, and nothing else:\n" + "\n".join(output.labels)
    if output.form == "bare":
        return f"Answer with one {_scalar(output.schema)}, and nothing else."
    return f"Answer with JSON of this form, and nothing else:\n{in_notation(output.schema)}"


def in_notation(schema: Schema) -> str:
    """A closed schema in the short typed notation."""
    return _Notation(schema).text()


def render_inputs(values: Mapping[str, Any]) -> str:
    """The user's turn: the inputs, by name where there is more than one.

    Args:
        values: JSON values by parameter name, in order.

    Raises:
        InputError: The inputs are empty, or hold characters no model can be given.
    """
    if all(value is None or _is_blank(value) for value in values.values()):
        raise InputError(
            "The input is empty.", hint="Give the skill something to work on, or do not call it."
        )
    if len(values) == 1:
        text = _render(next(iter(values.values())))
    else:
        text = "\n".join(f"{name}: {_on_one_line(value)}" for name, value in values.items())
    check_text(text)
    return text


def check_text(text: str) -> None:
    """Refuse text that tokenisers cut short or cannot encode.

    Raises:
        InputError: The text holds a NUL byte or half of a surrogate pair.
    """
    if "\0" in text:
        raise InputError(
            f"The input holds a NUL byte at character {text.index(chr(0))}.",
            hint="Remove it: text.replace('\\0', '').",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The input holds an invalid surrogate at character {error.start}.",
            hint="Repair it: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace').",
        ) from None


def _is_blank(value: Any) -> bool:
    return (isinstance(value, str) and not value.strip()) or value in ([], {})


def _on_one_line(value: Any) -> str:
    """As `_render`, but an input of several lines is quoted: it could pose as other inputs."""
    text = _render(value)
    return text if len(text.splitlines()) <= 1 else json.dumps(text, ensure_ascii=False)


def _render(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Notation:
    """A schema in short typed notation; records that contain themselves are named, not inlined."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._open: list[str] = []
        self._named: dict[str, str] = {}

    def text(self) -> str:
        body = self._type(self._root, "")
        # Naming one record may name further ones.
        named = "".join(f"\nwhere {name} is {text}" for name, text in self._named.items())
        return body + named

    def _type(self, schema: Schema, indent: str) -> str:
        if "$ref" in schema:
            return self._reference(schema["$ref"].removeprefix("#/$defs/"), indent)
        if "anyOf" in schema:
            return " or ".join(self._type(option, indent) for option in schema["anyOf"])
        if "const" in schema:
            return json.dumps(schema["const"], ensure_ascii=False)
        if "enum" in schema:
            return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
        if schema["type"] == "object":
            return self._object(schema, indent)
        if schema["type"] == "array":
            return self._array(schema, indent)
        return _scalar(schema)

    def _reference(self, name: str, indent: str) -> str:
        target = self._root["$defs"][name]
        if name in self._open:
            self._named.setdefault(name, "")
            return name
        self._open.append(name)
        text = self._type(target, indent)
        self._open.pop()
        if self._named.get(name) == "":
            self._open.append(name)
            self._named[name] = self._type(target, "")
            self._open.pop()
            return name
        return name if name in self._named else text

    def _object(self, schema: Schema, indent: str) -> str:
        if not schema["properties"]:
            return "{}"
        inner = indent + "  "
        lines = ["{"]
        for name, part in schema["properties"].items():
            note = part.get("description") or resolve(part, self._root).get("description")
            comment = f"  // {' '.join(note.split())}" if note else ""
            lines.append(f"{inner}{json.dumps(name)}: {self._type(part, inner)},{comment}")
        return "\n".join([*lines, indent + "}"])

    def _array(self, schema: Schema, indent: str) -> str:
        if "prefixItems" in schema:
            return f"[{', '.join(self._type(part, indent) for part in schema['prefixItems'])}]"
        if schema["items"] is False:
            return "[]"
        return f"list of {self._type(schema['items'], indent)}"


def _scalar(schema: Schema) -> str:
    kind = schema["type"]
    if kind == "string":
        if "format" in schema:
            return f"{schema['format']} string"
        if "pattern" in schema:
            return f"string matching {schema['pattern']}"
        if "maxLength" in schema:
            return f"string of at most {schema['maxLength']} characters"
        return "string"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    if low is not None:
        return f"{kind} of at least {low}"
    return f"{kind} of at most {high}" if high is not None else str(kind)
