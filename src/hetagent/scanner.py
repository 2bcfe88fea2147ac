"""Reads a JSON text while it grows: what each piece completes, and where the next value begins."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NoReturn

from hetagent.errors import OutputError

__all__ = ["Scanner", "Span"]

_DECODER = json.JSONDecoder()
# One byte more than these means that the string or the scalar is over.
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
_SPACE = re.compile(rb"[ \t\n\r]*+")
_LITERALS = (b"true", b"false", b"null")
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_BRACE, _END_BRACE, _BRACKET, _END_BRACKET = b"{}[]"


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


class _Next(Enum):
    """What the text so far ends before, or within."""

    VALUE = auto()
    FIRST_ITEM = auto()  # or the end of the list
    FIRST_KEY = auto()  # or the end of the object
    KEY = auto()
    COLON = auto()
    COMMA = auto()  # or the end of the list or object
    IN_KEY = auto()
    IN_STRING = auto()
    IN_SCALAR = auto()
    NOTHING = auto()


@dataclass(slots=True)
class _Open:
    """A list or object that is not complete."""

    path: str
    start: int
    value: dict[str, Any] | list[Any]
    key: str = ""  # of the member that is being read
    key_start: int = 0

    def copy(self) -> _Open:
        return _Open(self.path, self.start, self.value.copy(), self.key, self.key_start)

    def step(self) -> str | int:
        return len(self.value) if isinstance(self.value, list) else self.key

    def child_path(self) -> str:
        if isinstance(self.value, list):
            return f"{self.path}[{len(self.value)}]"
        return f"{self.path}.{self.key}" if self.path else self.key


class Scanner:
    """Notes the values of a JSON text that is fed to it in pieces, cut anywhere.

    A piece costs time in proportion to its length, whatever came before.

    Example:
        >>> from hetagent.scanner import Scanner
        >>> scanner = Scanner()
        >>> [span.path for span in scanner.feed(b'{"city": "Lund", "guests": 1')]
        ['city']
        >>> [(span.path, span.value) for span in scanner.feed(b'2}')]
        [('guests', 12), ('', {'city': 'Lund', 'guests': 12})]
    """

    __slots__ = ("_escaped", "_next", "_offset", "_open", "_piece", "_root", "_start")

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._next = _Next.VALUE
        self._offset = 0  # of the piece that is fed, in the text
        self._start = 0  # of the string or scalar that is being read
        self._piece = b""  # of it, as far as it is read
        self._escaped = False  # whether a backslash ends that
        self._root: Any = None  # once it is complete

    def feed(self, data: bytes) -> list[Span]:
        """Read the next piece.

        Args:
            data: Its bytes; they may begin and end within a character or an escape.

        Returns:
            The values it completes, in order of completion: what a container holds before the
            container. A number is complete only with the byte behind it.

        Raises:
            OutputError: The text is not JSON. Not every error is found.
        """
        done: list[Span] = []
        at, end = 0, len(data)
        while at < end:
            at = self._read(data, at, done)
        self._offset += end
        return done

    def finish(self) -> list[Span]:
        """End the text.

        Returns:
            The root where it is a number, which nothing else completes; otherwise nothing.

        Raises:
            OutputError: The text ends too early.
        """
        done: list[Span] = []
        if self._next is _Next.IN_SCALAR and not self._open:
            self._scalar(self._offset, done)
        if self._next is not _Next.NOTHING:
            self._fail(self._offset)
        return done

    @property
    def awaiting(self) -> tuple[str | int, ...] | None:
        """Keys and indices of the value that begins next, where the text ends just before one.

        ``()`` at the very start; ``None`` within a key or value, where a key, comma or colon comes
        first, and at the end. Right after ``[`` it is the first item, though the list may end.
        """
        if self._next is _Next.VALUE or self._next is _Next.FIRST_ITEM:
            return tuple(level.step() for level in self._open)
        return None

    @property
    def partial(self) -> Any:
        """The record so far as JSON data: what is complete of it, and of the record within it.

        A list that may go on is left out, and so is a record that holds nothing yet. ``None``
        where the root is no record and not complete. What it holds must not be changed.
        """
        if not self._open:
            return self._root
        inner: dict[str, Any] | None = None
        for level in reversed(self._open):
            if isinstance(level.value, list):
                inner = None
            else:
                inner = {**level.value, level.key: inner} if inner else level.value.copy()
        return inner

    def copy(self) -> Scanner:
        """An independent scanner at the same place; costs what the open containers hold."""
        other = Scanner.__new__(Scanner)
        other._open = [level.copy() for level in self._open]
        other._next = self._next
        other._offset = self._offset
        other._start = self._start
        other._piece = self._piece
        other._escaped = self._escaped
        other._root = self._root
        return other

    def _read(self, data: bytes, at: int, done: list[Span]) -> int:
        """Read on from one position; return the position behind what was read."""
        state = self._next
        if state is _Next.IN_STRING or state is _Next.IN_KEY:
            return self._within_string(data, at, done)
        if state is _Next.IN_SCALAR:
            return self._within_scalar(data, at, done)
        at = _end_of(_SPACE, data, at)
        if at == len(data):
            return at
        byte = data[at]
        if state is _Next.VALUE or state is _Next.FIRST_ITEM:
            if state is _Next.FIRST_ITEM and byte == _END_BRACKET:
                self._close(at + 1, done)
                return at + 1
            return self._begin(byte, at)
        if byte == _QUOTE and (state is _Next.KEY or state is _Next.FIRST_KEY):
            self._start = self._offset + at
            self._piece = b'"'
            self._next = _Next.IN_KEY
        elif byte == _COLON and state is _Next.COLON:
            self._next = _Next.VALUE
        elif byte == _END_BRACE and state is _Next.FIRST_KEY:
            self._close(at + 1, done)
        elif state is _Next.COMMA:
            self._after_value(byte, at, done)
        else:
            self._fail(self._offset + at)
        return at + 1

    def _begin(self, byte: int, at: int) -> int:
        """The first byte of a value; a scalar's is left to be read with the others."""
        start = self._offset + at
        if byte in (_BRACE, _BRACKET):
            path, begin = "", start
            if self._open:
                path, begin = self._place(start)
            self._open.append(_Open(path, begin, {} if byte == _BRACE else []))
            self._next = _Next.FIRST_KEY if byte == _BRACE else _Next.FIRST_ITEM
            return at + 1
        self._start = start
        if byte == _QUOTE:
            self._piece = b'"'
            self._next = _Next.IN_STRING
            return at + 1
        if not _SCALAR.fullmatch(bytes((byte,))):
            self._fail(start)
        self._piece = b""
        self._next = _Next.IN_SCALAR
        return at

    def _within_string(self, data: bytes, at: int, done: list[Span]) -> int:
        begin = at
        if self._escaped:
            self._escaped = False
            at += 1
        at = _end_of(_STRING, data, at)
        if at == len(data):
            self._piece += data[begin:]
            return at
        if data[at] == _BACKSLASH:  # the last byte: what it escapes is in the next piece
            self._escaped = True
            self._piece += data[begin:]
            return at + 1
        text = self._decode(self._piece + data[begin : at + 1])
        if self._next is _Next.IN_KEY:
            level = self._open[-1]
            level.key, level.key_start = text, self._start
            self._next = _Next.COLON
        else:
            self._complete(text, self._offset + at + 1, done)
        return at + 1

    def _within_scalar(self, data: bytes, at: int, done: list[Span]) -> int:
        end = _end_of(_SCALAR, data, at)
        self._piece += data[at:end]
        if end < len(data) or self._piece in _LITERALS:
            self._scalar(self._offset + end, done)
        return end

    def _scalar(self, end: int, done: list[Span]) -> None:
        self._complete(self._decode(self._piece), end, done)

    def _after_value(self, byte: int, at: int, done: list[Span]) -> None:
        is_list = isinstance(self._open[-1].value, list)
        if byte == _COMMA:
            self._next = _Next.VALUE if is_list else _Next.KEY
        elif byte == (_END_BRACKET if is_list else _END_BRACE):
            self._close(at + 1, done)
        else:
            self._fail(self._offset + at)

    def _close(self, at: int, done: list[Span]) -> None:
        level = self._open.pop()
        end = self._offset + at
        done.append(Span(level.path, level.start, end, level.value, not level.value))
        self._put(level.value)

    def _complete(self, value: Any, end: int, done: list[Span]) -> None:
        path, start = self._place(self._start) if self._open else ("", self._start)
        done.append(Span(path, start, end, value, True))
        self._put(value)

    def _place(self, start: int) -> tuple[str, int]:
        """Path and start of the value that begins at an offset, in what holds it."""
        level = self._open[-1]
        return level.child_path(), level.key_start if isinstance(level.value, dict) else start

    def _put(self, value: Any) -> None:
        if not self._open:
            self._root = value
            self._next = _Next.NOTHING
            return
        level = self._open[-1]
        if isinstance(level.value, list):
            level.value.append(value)
        else:
            level.value[level.key] = value
        self._next = _Next.COMMA

    def _decode(self, piece: bytes) -> Any:
        try:
            text = piece.decode("utf-8", "surrogatepass")
            value, end = _DECODER.raw_decode(text)
        except ValueError as error:
            raise OutputError(f"The answer is not JSON: {error}.", text=repr(piece)) from error
        if end != len(text):
            self._fail(self._start + end)
        return value

    def _fail(self, offset: int) -> NoReturn:
        raise OutputError(f"The answer is not JSON: it fails at byte {offset}.")


def _end_of(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at
