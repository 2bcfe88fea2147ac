"""From what somebody said of an answer to a verdict on each promise it was accepted under. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hetagent.errors import InputError
from hetagent.evidence import top_field
from hetagent.outcome import Outcome
from hetagent.schema import OutputType, resolve

__all__ = ["check_fields", "on_promises", "relied_on"]


def relied_on(outcome: Outcome[Any]) -> tuple[str, ...]:
    """Paths of what was served by the SLM because a certificate vouches for it.

    Returns:
        ``("",)`` for the whole value, paths of fields where these have promises of their own, and
        nothing where no certificate was relied on.
    """
    basis = outcome.basis
    if basis is None:
        return ()
    if outcome.served_by == "slm" and outcome.reason is None:
        return basis.promised
    if outcome.served_by != "both":
        return ()
    by_llm = {top_field(path) for path, one in outcome.fields.items() if one.served_by != "slm"}
    return tuple(path for path in basis.promised if path and path not in by_llm)


def on_promises(
    said: bool | Mapping[str, bool], paths: Iterable[str], *, output: OutputType[Any] | None
) -> dict[str, bool]:
    """A verdict on each promise, as far as it follows from what was said.

    Args:
        said: Whether the whole value is right, or which fields; ``""`` is the whole value. A field
            stands for all within it.
        paths: What was promised: ``""`` for the whole value, or fields.
        output: The type of the answer; ``None`` where it is not known.

    Returns:
        By path. That an answer is wrong says nothing of any one of its fields, and that some of its
        fields are right nothing of the whole: such paths are left out.
    """
    if isinstance(said, bool):
        return {path: said for path in paths if said or not path}
    fields = _by_top_field(said)
    whole = said.get("")
    if whole is None:
        whole = False if not all(fields.values()) else _covered(fields, output) or None
    found = {path: whole if not path else _of_field(path, fields, whole) for path in paths}
    return {path: one for path, one in found.items() if one is not None}


def check_fields(fields: Mapping[str, bool], output: OutputType[Any]) -> None:
    """Refuse what is said of fields that an answer cannot have.

    Raises:
        InputError: There is such a field, or something else than a bool.
    """
    names = _properties(output)
    for path, right in fields.items():
        if path and not any(path == n or path.startswith((f"{n}.", f"{n}[")) for n in names):
            known = f"It has {', '.join(names)}." if names else "Give correct= or value=."
            raise InputError(f"The answer has no field {path!r}.", hint=known)
        if not isinstance(right, bool):
            raise InputError(
                f"Whether the field {path!r} is right is {right!r}.", hint="Give True or False."
            )


def _of_field(path: str, fields: Mapping[str, bool], whole: bool | None) -> bool | None:
    """What was said of a field, or else of what holds it."""
    outer = path
    while outer:
        if outer in fields:
            return fields[outer]
        outer = outer.rpartition(".")[0]
    return True if whole else None


def _by_top_field(said: Mapping[str, bool]) -> dict[str, bool]:
    """A list, with all in it, is one field: right where all that was said of it is."""
    found: dict[str, bool] = {}
    for path, right in said.items():
        if path:
            name = top_field(path)
            found[name] = found.get(name, True) and right
    return found


def _covered(fields: Mapping[str, bool], output: OutputType[Any] | None) -> bool:
    """Whether something was said of every field of a record."""
    names = _properties(output) if output is not None else ()
    return bool(names) and set(names) <= set(fields)


def _properties(output: OutputType[Any]) -> tuple[str, ...]:
    return tuple(resolve(output.schema, output.schema).get("properties", {}))
