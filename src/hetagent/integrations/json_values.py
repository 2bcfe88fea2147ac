"""Reads the JSON values of a file one after the other, with the line that each begins on.

Logs come as one value a line, as one list of values, or as values that go over several lines; all
are read in memory bounded by the largest value.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hetagent.errors import InputError

__all__ = ["At", "Fault", "open_text", "read_values"]

Fault = Callable[[InputError], None]
"""Told what cannot be read; it raises, or returns to have it skipped."""

_CHUNK = 1 << 16
_LOOKED_AT = 20  # lines
_LONGEST_WORD = 16
_LARGEST = 1 << 28  # characters of one value
_SPACE = " \t\r\n"
_decoder = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class At:
    """A value and where it is.

    Attributes:
        line: The line it begins on, from 1.
        value: The value.
    """

    line: int
    value: Any


def open_text(path: Path) -> IO[str]:
    """Open a file of text, compressed by gzip or not.

    Raises:
        InputError: There is no such file, or it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        opener: Any = gzip.open if packed else open
        text: IO[str] = opener(path, "rt", encoding="utf-8-sig", newline="")
        return text
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened: {error.strerror or error}.", hint="Give a file of a log."
        ) from error


def read_values(path: Path, *, fault: Fault) -> Generator[At, None, None]:
    """Read the values of a file.

    Args:
        path: The file.
        fault: Told of each line that is no JSON.
    """
    with open_text(path) as file:
        try:
            start = _first(file)
            file.seek(0)
            if start == "[":
                yield from _Scanner(file, path, fault).values(listed=True)
            elif _is_lines(file):
                yield from _lines(file, path, fault)
            else:
                yield from _Scanner(file, path, fault).values(listed=False)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            fault(InputError(f"{path} is no text in UTF-8: {error}.", hint="Convert it first."))


def _first(file: IO[str]) -> str:
    while char := file.read(1):
        if char not in _SPACE:
            return char
    return ""


def _is_lines(file: IO[str]) -> bool:
    """Whether one of the first lines is a value of its own; some may be broken."""
    first = list(itertools.islice(file, _LOOKED_AT))
    file.seek(0)
    return any(line.startswith("{") and _whole(line) for line in first)


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(file: IO[str], path: Path, fault: Fault) -> Iterator[At]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            fault(_broken(path, number, error))
            continue
        yield At(number, value)


class _Scanner:
    """Decodes values from a text that is read as it is needed."""

    def __init__(self, file: IO[str], path: Path, fault: Fault) -> None:
        self._file = file
        self._path = path
        self._fault = fault
        self._text = ""
        self._place = 0
        self._line = 1

    def values(self, *, listed: bool) -> Iterator[At]:
        """The values, which are items of a list or stand one after the other."""
        if listed:
            self._skip(_SPACE)
            self._place += 1
        while self._skip(_SPACE + ("," if listed else "")):
            if listed and self._text[self._place] == "]":
                return
            found = self._value()
            if found is None:
                return
            yield found
        if listed:
            self._fault(
                InputError(
                    f"Line {self._line} of {self._path}: the list has no end.",
                    hint="The file was cut off; what is before it was read.",
                )
            )

    def _value(self) -> At | None:
        line = self._line
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._place)
            except (json.JSONDecodeError, RecursionError) as error:
                if self._may_go_on(error) and self._more():
                    continue
                self._fault(_broken(self._path, line, error))
                return None
            if end == len(self._text) and self._more():
                continue  # the digits of a number may go on
            self._line += self._text.count("\n", self._place, end)
            self._place = end
            return At(line, value)

    def _may_go_on(self, error: Exception) -> bool:
        """Whether a value only seems broken because not all of it was read."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        size = len(self._text) - self._place
        near_end = error.pos >= len(self._text) - _LONGEST_WORD
        return size < _LARGEST and (near_end or error.msg.startswith("Unterminated string"))

    def _skip(self, chars: str) -> bool:
        """Go to the next character that is none of these; false at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in chars:
                self._line += self._text[self._place] == "\n"
                self._place += 1
            if self._place < len(self._text):
                return True
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on: as much again as is there, so that a large value is not begun too often."""
        kept = self._text[self._place :]
        new = self._file.read(max(_CHUNK, len(kept)))
        self._text, self._place = kept + new, 0
        return bool(new)


def _broken(path: Path, line: int, error: Exception) -> InputError:
    what = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
    return InputError(
        f"Line {line} of {path} is no JSON: {what}.", hint="Mend it, or skip lines that are broken."
    )
