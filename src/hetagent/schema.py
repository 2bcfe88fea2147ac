"""Python types to closed JSON Schemas and back.

`OutputType` is what the rest of the library knows of a skill's return annotation: a JSON Schema
2020-12 in which every object is closed and every key required, the form its answers take as text,
and the validation that turns such text into a Python value.

An answer has one of three forms:

- ``choice``: one of finitely many labels (``Literal``, ``Enum``, ``bool``, optionals of these);
  the text is the bare label.
- ``bare``: a single string, number or date; the text is the bare value, without quotes.
- ``json``: everything else; the text is JSON with the separators of `json.dumps`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import SchemaError, core_schema

from hetagent.errors import HetagentError, OutputError, UnsupportedTypeError

__all__ = ["Form", "OutputType", "describe_validation", "resolve"]

T = TypeVar("T")
Schema = dict[str, Any]
Form = Literal["choice", "bare", "json"]

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


@dataclass(frozen=True)
class OutputType(Generic[T]):
    """A type of answer: its schema, the form of its text, and validation.

    Build one with `OutputType.of`.

    Attributes:
        annotation: The Python annotation.
        schema: Closed JSON Schema 2020-12 of the value.
        form: The form answers take as text.
        labels: For a choice: each label with the JSON value it stands for, in order.
    """

    annotation: Any
    schema: Schema
    form: Form
    labels: Mapping[str, Any]
    adapter: TypeAdapter[T] = field(repr=False, compare=False)

    @classmethod
    def of(cls, annotation: Any, *, where: str = "the output type") -> OutputType[T]:
        """Describe a Python type.

        Args:
            annotation: Any annotation pydantic understands, or an `OutputType`.
            where: Words that name the type's place in error messages.

        Raises:
            UnsupportedTypeError: The type, or a part of it, cannot be constrained.
        """
        if isinstance(annotation, OutputType):
            return annotation
        try:
            adapter: TypeAdapter[T] = TypeAdapter(annotation)
            raw = adapter.json_schema(schema_generator=_Schemas)
        except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema) as error:
            raise UnsupportedTypeError(
                f"{where} cannot be described as JSON Schema: {str(error).splitlines()[0]}",
                hint="Use str, numbers, bool, dates, Literal, Enum, lists, optionals, pydantic "
                "models or dataclasses.",
            ) from error
        except SchemaError as error:
            raise UnsupportedTypeError(
                f"{where} is not a type pydantic can validate: {' '.join(str(error).split())}",
                hint="Simplify the pattern or bound it names, and check the rest in a validator.",
            ) from error
        except PydanticUserError as error:
            raise UnsupportedTypeError(
                f"{where} is not fully defined: {str(error).splitlines()[0]}",
                hint="Define it at module level, before the skill.",
            ) from error
        schema = _Closer(where).close_root(raw)
        labels = _labels(schema, where)
        form: Form = "choice" if labels else "bare" if _is_bare(schema) else "json"
        return cls(annotation, schema, form, labels, adapter)

    def parse(self, text: str) -> T:
        """Turn an answer's text into a value.

        Raises:
            OutputError: The text is not a valid value; the message says where and why.
        """
        if self.form == "choice" and text not in self.labels:
            raise OutputError(
                f"{text!r} is not one of the labels {', '.join(map(repr, self.labels))}.", text=text
            )
        try:
            if self.form == "choice":
                return self.adapter.validate_python(self.labels[text])
            if self.form == "bare" and self.schema["type"] == "string":
                return self.adapter.validate_python(text)
            return self.adapter.validate_json(text)
        except ValidationError as error:
            raise OutputError(
                f"The answer is not valid: {describe_validation(error)}", text=text
            ) from error
        except HetagentError:
            raise
        except Exception as error:  # a validator of the user's own may raise anything
            raise OutputError(
                f"A validator of the output type failed: {type(error).__name__}: {error}",
                text=text,
                hint="Validators should raise ValueError for a value they refuse.",
            ) from error

    def parse_json(self, value: Any) -> T:
        """Turn a JSON value (as of `json.loads`) into a value of the type.

        Raises:
            OutputError: It is not valid.
        """
        return self.parse(self.text_of_json(value))

    def text_of_json(self, value: Any) -> str:
        """The text an answer has whose JSON value is ``value``."""
        if self.form == "choice":
            for label, known in self.labels.items():
                if type(known) is type(value) and known == value:
                    return label
        if self.form == "bare" and isinstance(value, str):
            return value
        if self.form == "choice" and isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False)

    def encode(self, value: T) -> str:
        """The text of an answer that has this value; the inverse of `parse`."""
        return self.text_of_json(self.to_json(value))

    def to_json(self, value: T) -> Any:
        """The value as JSON data (dicts, lists, str, numbers, bool, ``None``)."""
        return self.adapter.dump_python(value, mode="json", by_alias=True)

    def json_of_text(self, text: str) -> Any:
        """The JSON value of an answer's text, without validation.

        Raises:
            OutputError: It is not JSON where it should be.
        """
        if self.form == "choice":
            return self.labels.get(text, text)
        if self.form == "bare" and self.schema["type"] == "string":
            return text
        try:
            return json.loads(text)
        except ValueError as error:
            raise OutputError(f"The answer is not JSON: {error}.", text=text) from error

    @cached_property
    def fingerprint(self) -> str:
        """A string equal for equal schemas, to key caches with."""
        return json.dumps([self.form, self.schema], sort_keys=True)


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow ``$ref`` until there is none."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def describe_validation(error: ValidationError) -> str:
    """What pydantic found wrong, on one line, without the input or links."""
    parts = []
    for item in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in item["loc"])
        parts.append(f"{path}: {item['msg']}" if path else item["msg"])
    return "; ".join(parts)


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas, but with one spelling for each value."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        bounds = {"le": "maximum", "ge": "minimum", "lt": "exclusiveMaximum"}
        bounds |= {"gt": "exclusiveMinimum"}
        given = cast(dict[str, Any], schema)
        limits = {name: float(given[key]) for key, name in bounds.items() if key in given}
        return {"type": "number", **limits}

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        for member in schema["members"]:
            if not isinstance(member.value, str | int | float | bool | None):
                raise UnsupportedTypeError(
                    f"{member} has the value {member.value!r}, which is not read back from JSON.",
                    hint="Give the enum values that are str, numbers, bool or None.",
                )
        return super().enum_schema(schema)

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
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


def _labels(root: Schema, where: str) -> dict[str, Any]:
    """The labels of a choice, or none where the type is not one."""
    values = _finite_values(root, root)
    if not values:
        return {}
    if values == [None]:
        raise UnsupportedTypeError(f"{where} is None only.", hint="Say what the skill answers.")
    labels: dict[str, Any] = {}
    for value in values:
        label = value if isinstance(value, str) else json.dumps(value)
        if label in labels:
            raise UnsupportedTypeError(
                f"{where} has two values that are both written {label!r}.",
                hint="Rename one of them.",
            )
        labels[label] = value
    return labels


def _finite_values(schema: Schema, root: Schema) -> list[Any]:
    schema = resolve(schema, root)
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return list(schema["enum"])
    if "anyOf" in schema:
        parts = [_finite_values(option, root) for option in schema["anyOf"]]
        return [value for part in parts for value in part] if all(parts) else []
    finite: dict[Any, list[Any]] = {"boolean": [True, False], "null": [None]}
    return finite.get(schema.get("type"), [])


def _is_bare(schema: Schema) -> bool:
    """Whether an answer is written without JSON's quotes.

    Strings with a format, or a pattern that is not anchored as a whole, stay JSON: only the JSON
    compiler knows formats and search semantics.
    """
    if schema.get("type") == "string":
        return "format" not in schema and _is_anchored(schema.get("pattern", "^$"))
    return schema.get("type") in ("integer", "number")


def _is_anchored(pattern: str) -> bool:
    body = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern, flags=re.DOTALL)
    while body != (body := re.sub(r"\([^()]*\)", "x", body)):
        pass
    return bool(re.fullmatch(r"\^[^|^$]*\$", body, flags=re.DOTALL))
