"""Whether an answer is right: against its label, field by field, or by the user's own rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from hetagent.errors import InputError
from hetagent.schema import OutputType, resolve, same_json

__all__ = ["Correct", "is_partial", "judge", "label_of"]

Correct: TypeAlias = Callable[[Any, Any], "bool | Mapping[str, bool]"]
"""Given an answer and its label, both as JSON data: whether the whole is right, or which fields."""


def judge(
    value: Any, label: Any, *, correct: Correct | None = None, wholes: Collection[str] = ()
) -> dict[str, bool]:
    """Compare an answer with its label.

    Numbers are equal by value, texts and everything else exactly. A record is right where all
    fields of its label are; a label may leave fields out, which then are not judged. A list is
    one field.

    Args:
        value: The answer as JSON data.
        label: What it should be, as JSON data.
        correct: The user's own rule instead.
        wholes: Paths of records that are one field, as in `hetagent.schema.OutputType`.

    Returns:
        By path, with ``""`` for the whole value.

    Raises:
        InputError: The user's rule gave something else than it should.
    """
    if correct is None:
        return _equal(value, label, wholes=wholes)
    found = correct(value, label)
    if isinstance(found, bool):
        return {"": found}
    if isinstance(found, Mapping) and all(
        isinstance(path, str) and isinstance(one, bool) for path, one in found.items()
    ):
        return {"": all(found.values()), **found}
    raise InputError(
        f"The correctness function returned {found!r}.",
        hint="It must return a bool for the whole value, or a dict of bools by field path.",
    )


def label_of(output: OutputType[Any], given: Any) -> Any:
    """A label as JSON data: given as a value of the output type, as JSON data, or some fields.

    Raises:
        InputError: It is none of these.
    """
    partial = isinstance(given, Mapping) and output.form == "json"
    try:
        value = output.to_json(output.adapter.validate_python(given))
    except ValueError:
        if partial and all(isinstance(name, str) for name in given):
            return dict(given)
        raise InputError(
            f"The label {given!r} is no value of the output type.",
            hint="Give a value that the skill could answer, or a dict of some of its fields.",
        ) from None
    # Defaults that the label does not name would be judged as if somebody had labelled them.
    return {name: value[name] for name in given if name in value} if partial else value


def is_partial(output: OutputType[Any], label: Any) -> bool:
    """Whether a label leaves fields of the record out, so that the whole cannot be judged."""
    schema = resolve(output.schema, output.schema)
    return isinstance(label, Mapping) and not set(schema.get("properties", {})) <= set(label)


def _equal(
    value: Any, label: Any, path: str = "", *, wholes: Collection[str] = ()
) -> dict[str, bool]:
    if path in wholes:
        return {path: same_json(value, label)}
    if not isinstance(label, Mapping):
        return {path: _same(value, label)}
    found: dict[str, bool] = {}
    for name, part in label.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Mapping) and name in value:
            found |= _equal(value[name], part, inner, wholes=wholes)
        else:
            found[inner] = False
    if not path:
        found = {"": all(found.values()), **found}
    return found


def _same(value: Any, label: Any) -> bool:
    if isinstance(value, bool) or isinstance(label, bool):
        return value is label
    return bool(value == label)
