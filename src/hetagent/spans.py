"""Where each value of a JSON text stands, in bytes: to tell which field a token belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hetagent.errors import OutputError

__all__ = ["Span", "field_at", "spans"]

_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Span:
    """One value of a JSON text.

    Attributes:
        path: Such as ``"guest.names[0]"``; empty for the root.
        start: Offset of its first byte; for a member of an object, of its key's.
        end: Offset behind its last byte.
        value: The JSON value.
        is_leaf: Whether it is no object and no list, or an empty one.
    """

    path: str
    start: int
    end: int
    value: Any
    is_leaf: bool


def spans(text: str) -> list[Span]:
    """All values of a JSON text, containers before what they contain.

    Raises:
        OutputError: It is not JSON.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"The answer is not JSON: {error}.", text=text) from error
    return _Scanner(text).scan()


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


class _Scanner:
    """A JSON reader that notes positions; the text is known to be valid."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans: list[Span] = []
        # Offsets are wanted in bytes, since tokens are bytes.
        self._bytes = [0]
        for character in text:
            self._bytes.append(self._bytes[-1] + len(character.encode("utf-8", "surrogatepass")))

    def scan(self) -> list[Span]:
        self._value("", self._skip(0), start=None)
        return self._spans

    def _value(self, path: str, at: int, *, start: int | None) -> int:
        """Note the value at a position; return the position behind it."""
        index = len(self._spans)
        self._spans.append(Span(path, 0, 0, None, True))
        opening = self._text[at]
        if opening in "{[":
            value, end = _DECODER.raw_decode(self._text, at)
            if opening == "{":
                self._members(path, at)
            else:
                self._items(path, at)
        else:
            value, end = _DECODER.raw_decode(self._text, at)
        begin = self._bytes[at if start is None else start]
        leaf = not isinstance(value, dict | list) or not value
        self._spans[index] = Span(path, begin, self._bytes[end], value, leaf)
        return end

    def _members(self, path: str, at: int) -> None:
        at = self._skip(at + 1)
        while self._text[at] != "}":
            key, behind = _DECODER.raw_decode(self._text, at)
            value_at = self._skip(self._skip(behind) + 1)
            end = self._value(f"{path}.{key}" if path else key, value_at, start=at)
            at = self._skip(end)
            if self._text[at] == ",":
                at = self._skip(at + 1)

    def _items(self, path: str, at: int) -> None:
        at = self._skip(at + 1)
        number = 0
        while self._text[at] != "]":
            at = self._skip(self._value(f"{path}[{number}]", at, start=None))
            number += 1
            if self._text[at] == ",":
                at = self._skip(at + 1)

    def _skip(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in _SPACE:
            at += 1
        return at
