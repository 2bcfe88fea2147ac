"""Python types to closed JSON Schemas and back.

`OutputType` is what the rest of the library knows of a skill's return annotation: a JSON Schema
2020-12 in which every object is closed and every key required, the form its answers take as text,
and the validation that turns such text into a Python value.

An answer has one of three forms:

- ``choice``: one of finitely many labels (``Literal``, ``Enum``, ``bool``, optionals of these);
  the text is the bare label.
- ``bare``: a single string or number; the text is the bare value, without quotes.
- ``json``: everything else; the text is JSON with the separators of `json.dumps`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import SchemaError

from hetagent.closing import PydanticSchemas, close
from hetagent.errors import HetagentError, OutputError, UnsupportedTypeError

__all__ = ["Form", "OutputType", "describe_validation", "resolve", "same_json"]

T = TypeVar("T")
Schema = dict[str, Any]
Form = Literal["choice", "bare", "json"]


@dataclass(frozen=True)
class OutputType(Generic[T]):
    """A type of answer: its schema, the form of its text, and validation.

    Build one with `OutputType.of`.

    Attributes:
        annotation: The Python annotation.
        schema: Closed JSON Schema 2020-12 of the value.
        form: The form answers take as text.
        labels: For a choice: each label with the JSON value it stands for, in order.
        wholes: Paths of the fields that answers are told, judged and certified by, each with all
            that is in it; empty where every value within is a field of its own.
    """

    annotation: Any
    schema: Schema
    form: Form
    labels: Mapping[str, Any]
    adapter: TypeAdapter[T] = field(repr=False, compare=False)
    wholes: tuple[str, ...] = ()

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
            raw = adapter.json_schema(schema_generator=PydanticSchemas)
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
        schema = close(raw, where=where)
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


def same_json(first: Any, second: Any) -> bool:
    """Whether two JSON values are the same: numbers by value, and true is no 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same_json(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same_json, first, second))
    return bool(first == second)
