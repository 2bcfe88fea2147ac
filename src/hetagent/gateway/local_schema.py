"""A caller's JSON Schema, made into a type that the answers of a local model are held to."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from hetagent.constraint import check
from hetagent.errors import HetagentError
from hetagent.gateway.apis import Refusal
from hetagent.json_types import MOST_VALUES, closed_schema
from hetagent.schema import OutputType

__all__ = ["MOST_VALUES", "any_object", "json_type", "words"]

_LONGEST = 65_536
"""Characters of an answer in words; the limit in tokens is reached long before."""


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

    output: OutputType[Any] = OutputType(
        dict, closed_schema(json.loads(text), where=where), "json", {}, TypeAdapter(Any)
    )
    check(output, where=where)
    return output


def _refused(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_request")
