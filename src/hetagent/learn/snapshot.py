"""Copies of what an application goes on to change, as JSON data.

Texts are not copied, only what holds them, so that a long conversation takes microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import date
from enum import Enum
from typing import Any

__all__ = ["snapshot", "without_vectors"]


def snapshot(value: Any) -> Any:
    """The same as JSON data, independent of the original.

    Pydantic models and dataclass-like objects with ``model_dump`` become dicts; what is no JSON
    data at all is named by its type, because its text may hold anything.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        return {str(key): snapshot(one) for key, one in value.items()}
    if isinstance(value, list | tuple | Set):
        return [snapshot(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return snapshot(dump())
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        # Given as response_format: the schema is what is asked for.
        return {
            "type": "json_schema",
            "json_schema": {"name": value.__name__, "schema": value.model_json_schema()},
        }
    return f"<{type(value).__name__}>"


def without_vectors(response: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of an embeddings API without its vectors, of which only the length is told.

    A text can be guessed back from its vector, and no redaction can take a name out of one.
    """
    data = response.get("data")
    if not isinstance(data, list | tuple):
        return dict(response)
    return {**response, "data": [_without_vector(one) for one in data]}


def _without_vector(one: Any) -> Any:
    if not isinstance(one, Mapping) or "embedding" not in one:
        return one
    vector = one["embedding"]
    kept = {name: value for name, value in one.items() if name != "embedding"}
    return {**kept, "dimensions": len(vector)} if isinstance(vector, list | tuple) else kept
