"""The strings and numbers inside of a text that is JSON, each with its field, where they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Piece", "looks_like_json", "pieces"]

Back = Callable[[int, int, str], tuple[int, int, str]]

_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[{}\[\]:,]|true|false|null', re.DOTALL
)
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to be redacted, within another.

    Attributes:
        text: As it is meant, without its escapes.
        back: From an edit of it to one of the text it was taken from.
        key: The field it is the value of.
        siblings: The fields beside it, its own included.
        is_key: Whether it is a field's name itself.
    """

    text: str
    back: Back
    key: str = ""
    siblings: tuple[str, ...] = ()
    is_key: bool = False


@dataclass
class _Open:
    """An object or array that is being read."""

    is_object: bool
    key: str = ""
    wants_key: bool = False
    keys: list[str] = field(default_factory=list)


def looks_like_json(text: str) -> bool:
    """Whether a text is one value of JSON, an object or array."""
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def pieces(text: str, *, depth: int = 0) -> Iterator[Piece]:
    """The strings and numbers of a text that is JSON; of strings that are JSON themselves, theirs.

    Args:
        text: Valid JSON; see `looks_like_json`.
        depth: How many texts of JSON are around it.
    """
    waiting: list[tuple[re.Match[str], str, bool, _Open | None]] = []
    stack: list[_Open] = []
    for token in _TOKEN.finditer(text):
        mark = token[0]
        top = stack[-1] if stack else None
        if mark in ("{", "["):
            key = top.key if top is not None and mark == "[" else ""
            stack.append(_Open(mark == "{", key=key, wants_key=mark == "{"))
        elif mark in ("}", "]"):
            stack.pop()
        elif mark == ",":
            if top is not None:
                top.wants_key = top.is_object
        elif mark[0] == '"' and top is not None and top.wants_key:
            top.key, top.wants_key = json.loads(mark), False
            top.keys.append(top.key)
            waiting.append((token, "", True, top))
        elif mark[0] == '"' or mark[0] == "-" or mark[0].isdigit():
            waiting.append((token, top.key if top is not None else "", False, top))
    for token, key, is_key, top in waiting:
        siblings = tuple(top.keys) if top is not None else ()
        yield from _piece(token, key, siblings, is_key, depth)


def _piece(
    token: re.Match[str], key: str, siblings: tuple[str, ...], is_key: bool, depth: int
) -> Iterator[Piece]:
    mark, start = token[0], token.start()
    if mark[0] != '"':
        yield Piece(mark, _moved(start), key, siblings)
        return
    value = json.loads(mark)
    back = _unescaped(mark, start)
    if not is_key and depth < _DEEPEST and looks_like_json(value):
        for inner in pieces(value, depth=depth + 1):
            yield Piece(
                inner.text, _both(inner.back, back), inner.key, inner.siblings, inner.is_key
            )
        return
    yield Piece(value, back, key, siblings, is_key)


def _moved(start: int) -> Back:
    return lambda first, last, new: (start + first, start + last, new)


def _both(inner: Back, outer: Back) -> Back:
    return lambda first, last, new: outer(*inner(first, last, new))


def _unescaped(mark: str, start: int) -> Back:
    """From offsets in the meaning of a string to those in its writing."""
    if "\\" not in mark:
        return lambda first, last, new: (start + 1 + first, start + 1 + last, _escaped(new))
    offsets = _offsets(mark)

    def back(first: int, last: int, new: str) -> tuple[int, int, str]:
        return start + offsets[first], start + offsets[last], _escaped(new)

    return back


def _offsets(mark: str) -> list[int]:
    """Where each character of a string's meaning begins in its writing, and where the last ends."""
    offsets, at = [], 1
    while at < len(mark) - 1:
        offsets.append(at)
        if mark[at] != "\\":
            at += 1
        elif mark[at + 1] != "u":
            at += 2
        elif re.match(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]", mark[at:]):
            at += 12  # two escapes for one character
        else:
            at += 6
    return [*offsets, at]


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
