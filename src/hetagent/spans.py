"""Where each value of a JSON text stands, in bytes."""

from __future__ import annotations

import json

from hetagent.errors import OutputError
from hetagent.scanner import Scanner, Span

__all__ = ["Span", "spans"]


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
