"""Reading JSON that others wrote: what has not the expected form reads as empty, never fails."""

from __future__ import annotations

from typing import Any

from hetagent.json_types import items, mapping

__all__ = ["count", "items", "mapping"]


def count(value: Any) -> int | None:
    """A whole number, which a truth value is not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
