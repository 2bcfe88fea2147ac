"""JSON Schemas that others wrote, closed: what answers can be held to, and nothing else.

What the closed schema allows, the schema allows. So where a schema says more than a constraint can
express it is refused, and never silently kept in part; and it may be narrowed: every property that
it names is written, and no other.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hetagent.closing import FORMATS, close
from hetagent.errors import HetagentError, UnsupportedTypeError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["MOST_VALUES", "closed_schema", "items", "mapping", "misfit"]

Schema = dict[str, Any]

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


def closed_schema(schema: Any, *, where: str) -> Schema:
    """A JSON Schema, closed: every key that it names is written, and no other.

    Args:
        schema: As it came.
        where: Words that name its place in error messages.

    Raises:
        UnsupportedTypeError: It is no JSON Schema, or says what cannot be constrained.
    """
    if not isinstance(schema, Mapping):
        raise UnsupportedTypeError(f"{where} is no JSON Schema.")
    try:
        return close(_Plain(where).root(dict(schema)), where=where)
    except HetagentError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnsupportedTypeError(f"{where} is no valid JSON Schema: {error}.") from error


def misfit(value: Any, schema: Mapping[str, Any], *, sound: bool = False) -> str | None:
    """How a value does not fit a schema; ``None`` where it does.

    Args:
        value: JSON data.
        schema: It.
        sound: Whether it is known to be a JSON Schema, as closed ones are; else that is checked,
            which takes most of the time.
    """
    validator = _validator(json.dumps(schema, sort_keys=True, separators=(",", ":")), sound)
    if validator is None:
        return "the schema is broken"
    try:
        return None if validator.is_valid(value) else "not as the schema has it"
    except (RecursionError, ValueError, re.error):
        return "the schema cannot be applied"
    except Exception as error:  # what the referencing library raises of a `$ref` has many types
        if type(error).__module__.startswith(("referencing", "jsonschema")):
            return "the schema refers elsewhere"
        raise


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list | tuple) else ()


@functools.lru_cache(maxsize=512)
def _validator(schema: str, sound: bool) -> Validator | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    data = json.loads(schema)
    kind = validator_for(data, default=Draft202012Validator)
    try:
        if not sound:
            kind.check_schema(data)
    except (SchemaError, RecursionError):
        return None
    # An empty registry: a schema out of a log must not make this machine fetch anything.
    return kind(data, registry=Registry())


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
