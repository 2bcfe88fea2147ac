"""What a program says of the calls it makes besides the calls themselves.

Said for a block of code, or in a call's own metadata under the same names as the gateway's headers
and metadata have them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any

__all__ = ["Marks", "current_marks", "marked", "marks_of"]

_LONGEST = 200

# Names in metadata, ours first; the others are those that LiteLLM's own loggers understand.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "workload": ("hetagent_workload", "workload", "workload_id"),
    "trace": ("hetagent_trace", "trace_id"),
    "conversation": ("hetagent_conversation", "conversation_id", "session_id", "thread_id"),
    "client": ("hetagent_client", "client_id", "user_id", "trace_user_id"),
}
_INTERACTIVE = ("hetagent_interactive", "interactive")
_TAGS = "tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is said of a call; ``None`` where nothing is.

    Attributes:
        workload: The group of calls it belongs to.
        trace: What the calls of one run of the agent share.
        conversation: What the calls of one conversation share.
        client: Whose call it is.
        interactive: Whether a person talks with the model in it.
        tags: Anything else.
    """

    workload: str | None = None
    trace: str | None = None
    conversation: str | None = None
    client: str | None = None
    interactive: bool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def over(self, other: Marks) -> Marks:
        """These, and those of another where these say nothing."""
        mine = {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) is not None
        }
        return replace(other, **{**mine, "tags": {**other.tags, **self.tags}})


current_marks: ContextVar[Marks] = ContextVar("hetagent_marks", default=Marks())  # noqa: B039 - frozen


@contextlib.contextmanager
def marked(marks: Marks) -> Iterator[None]:
    """Calls made inside, in this thread or task and what it starts, are marked so."""
    token = current_marks.set(marks.over(current_marks.get()))
    try:
        yield
    finally:
        current_marks.reset(token)


def marks_of(metadata: Any) -> Marks:
    """What the metadata of a call says."""
    if not isinstance(metadata, Mapping):
        return Marks()
    said = {name: _first(metadata, keys) for name, keys in _NAMES.items()}
    interactive = next((metadata[key] for key in _INTERACTIVE if key in metadata), None)
    return Marks(**said, interactive=_bool(interactive), tags=_tags(metadata.get(_TAGS)))


def _first(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = metadata.get(key)
        if isinstance(value, str) and 0 < len(value) <= _LONGEST:
            return value
    return None


def _bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes")
    return None if value is None else bool(value)


def _tags(value: Any) -> dict[str, str]:
    """A list of tags, each under its own name, or a mapping of them."""
    if isinstance(value, Mapping):
        return {str(key): str(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return {one: "" for one in value if isinstance(one, str) and len(one) <= _LONGEST}
    return {}
