"""Reading JSON that others wrote: what has not the expected form reads as empty, never fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["count", "items", "mapping"]


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list | tuple) else ()


def count(value: Any) -> int | None:
    """A whole number, which a truth value is not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
