"""A caller's JSON Schema, made into a type that the answers of a local model are held to.

What the type allows, the schema allows. So where a schema says more than a constraint can express
it is refused, and never silently kept in part; and it may be narrowed: every property that it names
is written, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hetagent.closing import FORMATS, close
from hetagent.constraint import check
from hetagent.errors import HetagentError, UnsupportedTypeError
from hetagent.gateway.apis import Refusal
from hetagent.schema import OutputType

__all__ = ["MOST_VALUES", "any_object", "json_type", "words"]

Schema = dict[str, Any]

_LONGEST = 65_536
"""Characters of an answer in words; the limit in tokens is reached long before."""
MOST_VALUES = 500
"""Values of all enumerations of a schema: each is scored, while other calls wait."""
_MOST_PARTS = 2000
# They narrow what is valid in ways that a constraint does not express.
_REFUSED = frozenset(
    [
        "$dynamicRef",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
# They may stand beside $ref, anyOf and the like without narrowing them.
_SILENT = frozenset(
    [
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "nullable",
        "readOnly",
        "title",
        "writeOnly",
    ]
)
_PYTHON: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def words() -> OutputType[str]:
    """Any text."""
    from pydantic import TypeAdapter

    schema = {"type": "string", "maxLength": _LONGEST}
    return OutputType(str, schema, "bare", {}, TypeAdapter(str))


def any_object() -> OutputType[Any]:
    """Any JSON object."""
    from pydantic import TypeAdapter

    return OutputType(dict, {"type": "object"}, "json", {}, TypeAdapter(Any))


def json_type(schema: Any, *, where: str) -> OutputType[Any]:
    """A JSON Schema as a closed type: every key that it names is written, and no other.

    Args:
        schema: As it came.
        where: Words that name its place in error messages.

    Raises:
        Refusal: It is no JSON Schema, or says what cannot be constrained.
    """
    if not isinstance(schema, Mapping):
        raise _refused(f"{where} is no JSON Schema.")
    try:
        return _closed(json.dumps(schema), where)
    except HetagentError as error:
        raise _refused(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _refused(f"{where} is no valid JSON Schema: {error}.") from error


@lru_cache(maxsize=256)
def _closed(text: str, where: str) -> OutputType[Any]:
    """Agents send the same tools with each call."""
    from pydantic import TypeAdapter

    plain = _Plain(where).root(json.loads(text))
    output: OutputType[Any] = OutputType(
        dict, close(plain, where=where), "json", {}, TypeAdapter(Any)
    )
    check(output, where=where)
    return output


class _Plain:
    """Rewrites a schema into what `close` keeps whole, or refuses it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._defs: dict[str, Any] = {}
        self._parts = self._values = 0

    def root(self, raw: Schema) -> Schema:
        self._defs = {**raw.get("definitions", {}), **raw.get("$defs", {})}
        body = self._plain(raw)
        defs = {name: self._plain(part) for name, part in self._defs.items()}
        return {**body, **({"$defs": defs} if defs else {})}

    def _plain(self, raw: Any) -> Schema:
        if not isinstance(raw, Mapping):
            self._refuse("has a part that may be anything or nothing")
        self._count(raw)
        if strange := sorted(_REFUSED & raw.keys()):
            self._refuse(f"uses {', '.join(strange)}, which cannot be constrained")
        described = {"description": raw["description"]} if "description" in raw else {}
        for key in ("$ref", "allOf", "anyOf", "oneOf"):
            if key in raw:
                return {**self._combined(key, raw), **described}
        kinds = raw.get("type")
        if isinstance(kinds, list):
            options = [self._plain({**raw, "type": kind}) for kind in kinds if kind in _PYTHON]
            fits = [one for one in options if one.get("enum") != []]
            return {"anyOf": fits, **described} if len(fits) != 1 else fits[0]
        plain = {key: value for key, value in raw.items() if key not in ("$defs", "definitions")}
        if "enum" in plain and isinstance(kinds, str):
            plain["enum"] = [value for value in plain["enum"] if _is_of(value, kinds)]
        if kinds == "string" and plain.get("format", "date") not in FORMATS:
            del plain["format"]  # an annotation, where it is not known (JSON Schema, section 7.2)
        if kinds == "object":
            self._object(plain)
        if isinstance(plain.get("items"), Mapping):
            plain["items"] = self._plain(plain["items"])
        if "prefixItems" in plain:
            plain["prefixItems"] = [self._plain(part) for part in plain["prefixItems"]]
        return plain

    def _combined(self, key: str, raw: Mapping[str, Any]) -> Schema:
        if beside := sorted(raw.keys() - _SILENT - {key}):
            self._refuse(f"has {', '.join(beside)} beside {key}, which cannot be constrained")
        if key == "$ref":
            name = str(raw["$ref"]).removeprefix("#/$defs/").removeprefix("#/definitions/")
            if name not in self._defs:
                self._refuse(f"refers to {raw['$ref']!r}, which is not among its $defs")
            return {"$ref": f"#/$defs/{name}"}
        options = [self._plain(part) for part in raw[key]]
        if key == "allOf":
            if len(options) != 1:
                self._refuse("joins several schemas by allOf, which cannot be constrained")
            return options[0]
        return {"anyOf": options}

    def _object(self, plain: Schema) -> None:
        properties = plain.get("properties", {})
        missing = sorted(set(plain.get("required", ())) - properties.keys())
        if missing:
            self._refuse(f"requires {', '.join(missing)} without saying what it is")
        low, high = plain.get("minProperties", 0), plain.get("maxProperties", len(properties))
        if not low <= len(properties) <= high:
            self._refuse("bounds the number of its properties otherwise than it names them")
        if properties:
            # Others are allowed, and not needed.
            plain.pop("additionalProperties", None)
        plain["properties"] = {name: self._plain(part) for name, part in properties.items()}

    def _count(self, raw: Mapping[str, Any]) -> None:
        self._parts += 1
        self._values += len(raw["enum"]) if isinstance(raw.get("enum"), list) else 0
        if self._parts > _MOST_PARTS:
            self._refuse(f"has more than {_MOST_PARTS} parts")
        if self._values > MOST_VALUES:
            self._refuse(f"has more than {MOST_VALUES} values in its enumerations")

    def _refuse(self, what: str) -> None:
        raise UnsupportedTypeError(f"{self._where} {what}.", hint="Simplify it.")


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON.get(kind, (object,)))


def _refused(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_request")
