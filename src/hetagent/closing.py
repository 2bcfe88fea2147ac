"""Pydantic's JSON Schemas made closed: what a constraint can express, and nothing else.

In a closed schema every object names all of its keys and requires them, a value has one spelling,
and no part may be anything. What cannot be closed is refused with the reason.
"""

from __future__ import annotations

from typing import Any, NoReturn, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from hetagent.errors import UnsupportedTypeError

__all__ = ["PydanticSchemas", "close"]

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What both the constraint compiler and pydantic understand alike.
FORMATS = frozenset({"date", "date-time", "time", "duration", "uuid", "email", "uri"}) | {
    "ipv4",
    "ipv6",
    "hostname",
}
_KEPT = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("minItems", "maxItems"),
}


def close(raw: Schema, *, where: str) -> Schema:
    """Close a schema that pydantic made with `PydanticSchemas`.

    Args:
        raw: The schema.
        where: Words that name the type's place in error messages.

    Raises:
        UnsupportedTypeError: A part of it cannot be constrained.
    """
    return _Closer(where).close_root(raw)


class PydanticSchemas(GenerateJsonSchema):
    """Pydantic's schemas, but with one spelling for each value."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A number; pydantic also offers a string, with a pattern that needs look-around."""
        bounds = {"le": "maximum", "ge": "minimum", "lt": "exclusiveMaximum"}
        bounds |= {"gt": "exclusiveMinimum"}
        given = cast(dict[str, Any], schema)
        limits = {name: float(given[key]) for key, name in bounds.items() if key in given}
        return {"type": "number", **limits}

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """Members whose values JSON has; others could be decoded but never read back."""
        for member in schema["members"]:
            if not isinstance(member.value, str | int | float | bool | None):
                raise UnsupportedTypeError(
                    f"{member} has the value {member.value!r}, which is not read back from JSON.",
                    hint="Give the enum values that are str, numbers, bool or None.",
                )
        return super().enum_schema(schema)

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
        """Refused: there is no such number in JSON."""
        return self.handle_invalid_for_json_schema(schema, "complex numbers")


class _Closer:
    """Rewrites a pydantic schema so that a constraint can express all of it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def close_root(self, raw: Schema) -> Schema:
        defs = {name: self.close(part, f"{name}") for name, part in raw.get("$defs", {}).items()}
        body = self.close({key: value for key, value in raw.items() if key != "$defs"}, "")
        closed = {"$schema": DIALECT, **body}
        if defs:
            closed["$defs"] = defs
        _refuse_endless(closed, self.where)
        return closed

    def close(self, schema: Schema, path: str) -> Schema:
        described = {key: schema[key] for key in ("description",) if key in schema}
        if "$ref" in schema:
            return {"$ref": schema["$ref"], **described}
        if "allOf" in schema and len(schema["allOf"]) == 1:
            return {**self.close(schema["allOf"][0], path), **described}
        for key in ("oneOf", "anyOf"):
            if key in schema:
                return {"anyOf": [self.close(s, path) for s in schema[key]], **described}
        if "const" in schema:
            return {"const": schema["const"], **described}
        if "enum" in schema:
            if not schema["enum"]:
                self.refuse(path, "has no values", "Give the enum at least one member.")
            return {"enum": list(schema["enum"]), **described}
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            # Written by hand, `["string", "null"]` is what pydantic spells as a choice of two.
            options = [self.close({**schema, "type": one}, path) for one in kind]
            return options[0] if len(options) == 1 else {"anyOf": options}
        handler = getattr(self, f"_close_{kind}", None) if isinstance(kind, str) else None
        if handler is None:
            self.refuse(
                path,
                "may be anything" if kind is None else f"has the type {kind!r}",
                "Say what it may be: a str, number, Literal, list or model, not Any or object.",
            )
        return {"type": kind, **cast(Schema, handler(schema, path)), **described}

    def _close_null(self, schema: Schema, path: str) -> Schema:
        return {}

    def _close_boolean(self, schema: Schema, path: str) -> Schema:
        return {}

    def _close_string(self, schema: Schema, path: str) -> Schema:
        if schema.get("format", "date") not in FORMATS:
            self.refuse(
                path, f"has the format {schema['format']!r}", "Use str, with a pattern if you like."
            )
        return _keep(schema, "string")

    def _close_integer(self, schema: Schema, path: str) -> Schema:
        return _keep(schema, "integer")

    def _close_number(self, schema: Schema, path: str) -> Schema:
        return _keep(schema, "number")

    def _close_array(self, schema: Schema, path: str) -> Schema:
        if schema.get("uniqueItems"):
            self.refuse(
                path,
                "is a set, and that its items differ cannot be constrained",
                "Use a list; remove duplicates in a validator.",
            )
        closed = _keep(schema, "array")
        if "prefixItems" in schema:
            items = schema["prefixItems"]
            closed["prefixItems"] = [self.close(s, f"{path}[{i}]") for i, s in enumerate(items)]
            closed["items"] = False
            return closed
        if not closed.get("maxItems", 1):
            return {**closed, "items": False}
        return {**closed, "items": self.close(schema.get("items", {}), f"{path}[]")}

    def _close_object(self, schema: Schema, path: str) -> Schema:
        free = schema.get("additionalProperties", False)
        if free is not False or "patternProperties" in schema:
            self.refuse(
                path,
                "has keys that are not known beforehand",
                "Use a list of records with a key and a value, or a model without extra='allow'.",
            )
        properties = schema.get("properties", {})
        return {
            "properties": {
                name: self.close(part, f"{path}.{name}" if path else name)
                for name, part in properties.items()
            },
            "required": list(properties),
            "additionalProperties": False,
        }

    def refuse(self, path: str, what: str, hint: str) -> NoReturn:
        place = f"{path!r} of {self.where}" if path else self.where
        raise UnsupportedTypeError(f"{place} {what}.", hint=hint)


def _keep(schema: Schema, kind: str) -> Schema:
    return {key: schema[key] for key in _KEPT[kind] if key in schema}


def _refuse_endless(root: Schema, where: str) -> None:
    """Refuse recursion with no way out: no finite value would be valid."""
    defs = root.get("$defs", {})
    finite: set[str] = set()

    def ends(schema: Schema) -> bool:
        if "$ref" in schema:
            return schema["$ref"].removeprefix("#/$defs/") in finite
        if "anyOf" in schema:
            return any(ends(option) for option in schema["anyOf"])
        if schema.get("type") == "object":
            return all(ends(part) for part in schema["properties"].values())
        if schema.get("type") == "array":
            if "prefixItems" in schema:
                return all(ends(part) for part in schema["prefixItems"])
            return not schema.get("minItems") or ends(schema["items"])
        return True

    while new := {name for name, part in defs.items() if name not in finite and ends(part)}:
        finite |= new
    endless = sorted(set(defs) - finite)
    if endless:
        raise UnsupportedTypeError(
            f"{where} contains {', '.join(endless)}, which always contains itself again.",
            hint="Make the recursive field optional or a list.",
        )
