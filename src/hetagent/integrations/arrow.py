"""Outcomes as an Arrow table, with the same columns and types for every batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from hetagent.errors import OutputError
from hetagent.outcome import Outcome
from hetagent.schema import OutputType, resolve

__all__ = ["outcome_schema", "outcome_table"]

Schema = dict[str, Any]


def outcome_schema(output: OutputType[Any]) -> Any:
    """The ``pyarrow.Schema`` of a skill's outcomes."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        {
            "value": _type_of(output.schema, output.schema) or text,
            "confidence": real,
            "outside": real,
            "served_by": text,
            "reason": text,
            "error": text,
            "fields": text,
            "choices": text,
            "prompt_tokens": whole,
            "cached_tokens": whole,
            "completion_tokens": whole,
            "cost_usd": real,
            "seconds": real,
            "trace_id": text,
        }
    )


def outcome_table(output: OutputType[Any], outcomes: Sequence[Outcome[Any]], schema: Any) -> Any:
    """A ``pyarrow.Table`` with one row for each outcome."""
    import pyarrow as pa

    as_text = _type_of(output.schema, output.schema) is None
    kind = schema.field("value").type
    values = []
    rows = []
    for outcome in outcomes:
        value = None if outcome.served_by == "none" else output.to_json(outcome.value)
        if as_text and outcome.served_by != "none":
            value = json.dumps(value, ensure_ascii=False)
        if not _fits(value, kind):
            outcome, value = _without_value(outcome), None  # noqa: PLW2901
        values.append(value)
        rows.append(_row(outcome))
    arrays = [pa.array(values, kind)]
    arrays += [
        pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names[1:]
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _row(outcome: Outcome[Any]) -> dict[str, Any]:
    usage = outcome.usage
    fields = {path: asdict(one) for path, one in outcome.fields.items()}
    return {
        "confidence": outcome.confidence,
        "outside": outcome.outside,
        "served_by": outcome.served_by,
        "reason": outcome.reason,
        "error": None if outcome.error is None else str(outcome.error),
        "fields": json.dumps(fields, ensure_ascii=False) if fields else None,
        "choices": None if outcome.choices is None else json.dumps(dict(outcome.choices)),
        **asdict(usage),
        "seconds": outcome.seconds,
        "trace_id": outcome.trace_id,
    }


def _without_value(outcome: Outcome[Any]) -> Outcome[Any]:
    error = OutputError(
        "The answer holds a number that no 64-bit column can.",
        hint="Bound the output type's integers with Field(ge=..., le=...).",
    )
    return replace(
        outcome, value=None, confidence=None, served_by="none", reason="invalid_output", error=error
    )


def _fits(value: Any, kind: Any) -> bool:
    import pyarrow as pa

    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _type_of(schema: Schema, root: Schema, within: frozenset[str] = frozenset()) -> Any:
    """The Arrow type of a JSON Schema; ``None`` where Arrow has none for all of its values.

    Args:
        schema: The schema, or a part of it.
        root: The whole schema.
        within: References this part is within; one of them again is a recursive type.
    """
    import pyarrow as pa

    if "$ref" in schema:
        if schema["$ref"] in within:
            return None
        within |= {schema["$ref"]}
        schema = resolve(schema, root)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return _one_type({_type_of_value(value) for value in values})
    if "anyOf" in schema:
        return _one_type({_type_of(part, root, within) for part in schema["anyOf"]})
    kind = schema.get("type")
    if kind == "array" and "prefixItems" not in schema:
        items = _type_of(schema.get("items", {}), root, within)
        return None if items is None else pa.list_(items)
    if kind == "object" and schema.get("properties") and not schema.get("additionalProperties"):
        parts = {n: _type_of(part, root, within) for n, part in schema["properties"].items()}
        return None if None in parts.values() else pa.struct(list(parts.items()))
    simple = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    simple |= {"boolean": pa.bool_(), "null": pa.null()}
    return simple.get(str(kind))


def _type_of_value(value: Any) -> Any:
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return types.get(type(value), pa.null())


def _one_type(types: set[Any]) -> Any:
    """The type of a union; a null beside another type is that type."""
    import pyarrow as pa

    others = types - {pa.null()}
    return others.pop() if len(others) == 1 else pa.null() if not others else None
