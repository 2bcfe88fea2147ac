"""JSON of a schema that others wrote as an output type: closed, bounded, null where left out.

A skill writes every key of an object. So a key that the schema lets an answer leave out may be null
in what the skill writes, and is left out again where the value is told as the schema has it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter

from hetagent import constraint
from hetagent.json_types import closed_schema, items, mapping, misfit
from hetagent.schema import OutputType, resolve

__all__ = ["NO_TOOL", "PAIRS", "Shape", "Sizes", "choice_of_tools", "output_of"]

Schema = dict[str, Any]

NO_TOOL = "none"
"""Name that stands for no tool."""
PAIRS = "x-pairs"
"""Keyword of a list of keys and values that stands for an object whose keys are not known."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bounds of what a schema leaves unbounded.

    Attributes:
        characters: Of a string.
        items: Of a list.
    """

    characters: int = 1024
    items: int = constraint.DEFAULT_MAX_ITEMS

    @classmethod
    def of(cls, values: Iterable[Any]) -> Sizes:
        """Twice what the largest of some values has, and no less than the defaults."""
        characters, longest = 0, 0
        waiting = list(values)
        while waiting:
            one = waiting.pop()
            if isinstance(one, str):
                characters = max(characters, len(one))
            elif isinstance(one, Mapping):
                waiting += one.values()
            elif isinstance(one, list):
                longest = max(longest, len(one))
                waiting += one
        least = cls()
        return cls(max(least.characters, 2 * characters), max(least.items, 2 * longest))


@dataclass(frozen=True)
class Shape:
    """Values of a JSON Schema, as a skill has them and as models write them.

    Attributes:
        schema: As it came.
        where: Words that name its place in error messages.
        sizes: Bounds of what it leaves unbounded.
    """

    schema: Mapping[str, Any]
    where: str
    sizes: Sizes = Sizes()

    @cached_property
    def unbounded(self) -> Schema:
        """The schema of the skill's values, without the bounds of `sizes`.

        Raises:
            UnsupportedTypeError: It cannot be constrained.
        """
        return closed_schema(self._nullable(self.schema), where=self.where)

    @cached_property
    def closed(self) -> Schema:
        """The schema of the skill's values.

        Raises:
            UnsupportedTypeError: It cannot be constrained.
        """
        found = copy.deepcopy(self.unbounded)
        for part in constraint.parts(found):
            if part.get("type") == "string" and "format" not in part:
                most = max(self.sizes.characters, part.get("minLength", 0))
                part.setdefault("maxLength", most)
            elif part.get("type") == "array" and isinstance(part.get("items"), Mapping):
                part.setdefault("maxItems", max(self.sizes.items, part.get("minItems", 0)))
        return found

    def fits(self, value: Any) -> bool:
        """Whether a value is one of the skill's."""
        return misfit(value, self.closed, sound=True) is None

    def filled(self, written: Any) -> Any:
        """The skill's value of JSON that a model wrote.

        Keys are in the schema's order, and those that were left out are null. What does not fit
        the schema does not fit it afterwards either.
        """
        return self._filled(written, self.closed)

    def stripped(self, value: Any) -> Any:
        """A skill's value as a model would have written it: without what may be left out."""
        return self._stripped(value, self.schema)

    def _nullable(self, schema: Any) -> Any:
        """A copy in which what may be left out may be null."""
        if not isinstance(schema, Mapping):
            return schema
        found = dict(schema)
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            if key in found:
                found[key] = [self._nullable(part) for part in items(found[key])]
        for key in ("$defs", "definitions"):
            if key in found:
                found[key] = {n: self._nullable(part) for n, part in mapping(found[key]).items()}
        if "items" in found:
            found["items"] = self._nullable(found["items"])
        if "properties" in found:
            found["properties"] = {
                name: self._property(part, needed=name in items(found.get("required")))
                for name, part in mapping(found["properties"]).items()
            }
        return found

    def _property(self, part: Any, *, needed: bool) -> Any:
        inner = self._nullable(part)
        if needed or not isinstance(inner, Mapping) or self._valid(None, part):
            return inner
        described = {"description": inner["description"]} if "description" in inner else {}
        return {"anyOf": [inner, {"type": "null"}], **described}

    def _filled(self, value: Any, schema: Schema) -> Any:
        schema = resolve(schema, self.closed)
        if "anyOf" in schema:
            for option in schema["anyOf"]:
                found = self._filled(value, option)
                whole = {**option, "$defs": self.closed.get("$defs", {})}
                if misfit(found, whole, sound=True) is None:
                    return found
            return value
        kind = schema.get("type")
        if kind == "object" and isinstance(value, Mapping):
            properties = schema["properties"]
            if not value.keys() <= properties.keys():
                return value
            return {name: self._filled(value.get(name), one) for name, one in properties.items()}
        if kind == "array" and isinstance(value, Mapping) and _is_pairs(schema):
            value = [{"key": key, "value": one} for key, one in value.items()]
        if kind == "array" and isinstance(value, list):
            parts = schema.get("prefixItems")
            if parts is not None:
                pairs = zip(value, parts, strict=False)
                return [self._filled(*pair) for pair in pairs] + value[len(parts) :]
            inner = schema.get("items")
            return [self._filled(one, inner) for one in value] if inner else value
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    def _stripped(self, value: Any, schema: Any) -> Any:
        schema = self._resolved(schema)
        for key in ("anyOf", "oneOf", "allOf"):
            for option in items(schema.get(key)):
                found = self._stripped(value, option)
                if self._valid(found, option):
                    return found
        if schema.get(PAIRS) and isinstance(value, list):
            pairs = [self._stripped(one, schema["items"]) for one in value]
            return {one["key"]: one["value"] for one in pairs}
        if isinstance(value, list):
            inner = items(schema.get("prefixItems")) or [schema.get("items")] * len(value)
            return [self._stripped(one, part) for one, part in zip(value, inner, strict=True)]
        if not isinstance(value, Mapping):
            return value
        properties, needed = mapping(schema.get("properties")), items(schema.get("required"))
        return {
            name: self._stripped(one, properties.get(name))
            for name, one in value.items()
            if one is not None or name in needed or self._valid(None, properties.get(name, {}))
        }

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        found = mapping(schema)
        seen = 0
        while "$ref" in found and seen < len(self._defs) + 1:
            name = str(found["$ref"]).removeprefix("#/$defs/").removeprefix("#/definitions/")
            found, seen = mapping(self._defs.get(name)), seen + 1
        return found

    @cached_property
    def _defs(self) -> Mapping[str, Any]:
        return {**mapping(self.schema.get("definitions")), **mapping(self.schema.get("$defs"))}

    def _valid(self, value: Any, part: Any) -> bool:
        """Whether a value is valid by a part of the schema as it came."""
        if not isinstance(part, Mapping):
            return part is not False
        kind = part.get("type")
        if value is None and isinstance(kind, str) and kind != "null":
            return False
        return misfit(value, {**part, "$defs": self._defs, "definitions": self._defs}) is None


def choice_of_tools(
    shapes: Sequence[tuple[str, str, Shape]],
    *,
    none: bool = True,
    arguments_of_none: bool = False,
) -> Schema:
    """The schema of a choice among tools, or none, as `hetagent.tools.tools` has it.

    Args:
        shapes: Of each tool its name, what it is for, and its arguments.
        none: Whether none may be chosen.
        arguments_of_none: Whether that, too, has arguments, which are empty.
    """
    options: list[Schema] = []
    defs: Schema = {}
    for place, (name, about, shape) in enumerate(shapes):
        arguments = _renamed(shape.closed, f"{place}_")
        defs |= arguments.pop("$defs", {})
        arguments.pop("$schema", None)
        told = {"description": about} if about else {}
        tool = {"const": name, **told}
        options.append(_object({"tool": tool, "arguments": arguments}) | told)
    if none:
        nothing = {"tool": {"const": NO_TOOL, "description": "where no tool fits"}}
        options.append(_object(nothing | ({"arguments": _object({})} if arguments_of_none else {})))
    found: Schema = {"anyOf": options}
    return {**found, "$defs": defs} if defs else found


def output_of(schema: Schema, *, where: str) -> OutputType[Any]:
    """The type of JSON data that a closed schema has.

    Args:
        schema: It.
        where: Words that name its place in error messages.

    Raises:
        UnsupportedTypeError: It cannot be constrained.
    """

    def checked(value: Any) -> Any:
        fault = misfit(value, schema)
        if fault is not None:
            raise ValueError(fault)
        return value

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Any, AfterValidator(checked)])
    output: OutputType[Any] = OutputType(dict, schema, "json", {}, adapter)
    constraint.check(output, where=where)
    return output


def _is_pairs(schema: Schema) -> bool:
    return set(mapping(mapping(schema.get("items")).get("properties"))) == {"key", "value"}


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _renamed(schema: Any, prefix: str) -> Any:
    """A closed schema whose definitions have names of their own."""
    if isinstance(schema, list):
        return [_renamed(one, prefix) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: Schema = {}
    for key, part in schema.items():
        if key == "$ref":
            found[key] = f"#/$defs/{prefix}{part.removeprefix('#/$defs/')}"
        elif key == "$defs":
            found[key] = {f"{prefix}{name}": _renamed(one, prefix) for name, one in part.items()}
        elif key in ("enum", "const"):
            found[key] = part
        elif key == "properties":
            found[key] = {name: _renamed(one, prefix) for name, one in part.items()}
        else:
            found[key] = _renamed(part, prefix)
    return found
