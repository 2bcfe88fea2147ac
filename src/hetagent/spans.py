"""Where each value of a JSON text stands, in bytes: to tell which field a token belongs to."""

from __future__ import annotations

import json
from typing import Any

from hetagent.errors import OutputError
from hetagent.scanner import Scanner, Span

__all__ = ["Span", "field_at", "spans"]


def spans(text: str) -> list[Span]:
    """All values of a JSON text, containers before what they contain.

    Raises:
        OutputError: It is not JSON.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"The answer is not JSON: {error}.", text=text) from error
    scanner = Scanner()
    # Offsets are wanted in bytes, since tokens are bytes.
    found = scanner.feed(text.encode("utf-8", "surrogatepass")) + scanner.finish()
    return sorted(found, key=lambda span: span.start)


def field_at(tree: list[Span], offset: int) -> str:
    """Path of the value that a byte decides: the innermost one that holds it.

    The byte behind a number ends it, and so belongs to it; other bytes between values belong to
    the object or list around them.
    """
    best: Span | None = None
    for span in tree:
        if span.start <= offset < span.end and (best is None or span.start >= best.start):
            best = span
    if best is None or not best.is_leaf:
        for span in tree:
            if span.end == offset and _is_number(span.value):
                return span.path
    return best.path if best else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
