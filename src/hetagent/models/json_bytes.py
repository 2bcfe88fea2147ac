"""The bytes of a JSON text that mean something, apart from white space between its tokens.

White space is left out where JSON allows it anywhere. The one place where it says something is
behind a number, which it ends. There the byte that follows (a comma or a bracket) is moved forward
into its place: the token that wrote the white space is the one that ended the number.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hetagent.models.structured import ANSWER, is_object
from hetagent.schema import OutputType

__all__ = ["Significant", "State", "meaning", "read_object", "same_start", "significant"]

_SPACE = b" \t\n\r"
_DIGITS = b"0123456789"
_SEPARATORS = {b",": b", ", b":": b": "}


class State(NamedTuple):
    """Where a reader stands: in a string, behind a backslash in it, behind a digit of a number."""

    string: bool = False
    escaped: bool = False
    number: bool = False

    def after(self, byte: int) -> State:
        """The state behind one more significant byte."""
        if self.string:
            if self.escaped:
                return State(string=True)
            if byte == ord("\\"):
                return State(string=True, escaped=True)
            return State(string=byte != ord('"'))
        return State(string=byte == ord('"'), number=byte in _DIGITS)


@dataclass(frozen=True, slots=True)
class Significant:
    """The significant bytes of a JSON text.

    Attributes:
        text: The bytes.
        offsets: Where each stands, ascending; for one that was moved, the white space's place.
        states: The state before each.
    """

    text: bytes
    offsets: Sequence[int]
    states: Sequence[State]

    def count_before(self, offset: int) -> int:
        """How many of them stand before an offset."""
        return bisect.bisect_left(self.offsets, offset)

    def state(self, index: int) -> State:
        """The state before one of them."""
        return self.states[index]


def read_object(text: bytes, start: int) -> Significant:
    """The significant bytes of a valid JSON object.

    Args:
        text: The object.
        start: Offset of its first byte, in whatever the offsets are to be counted in.
    """
    found = bytearray()
    offsets: list[int] = []
    states: list[State] = []
    state = State()
    ended: int | None = None  # where white space ended a number
    for offset, byte in enumerate(text, start):
        if not state.string and byte in _SPACE:
            if state.number and ended is None:
                ended = offset
            continue
        found.append(byte)
        offsets.append(offset if ended is None else ended)
        states.append(state)
        state, ended = state.after(byte), None
    return Significant(bytes(found), offsets, states)


def significant(piece: bytes, state: State) -> tuple[bytes, bool]:
    """The significant bytes of a piece of JSON text, and whether white space ends a number in it.

    Args:
        piece: May begin and end anywhere.
        state: Before it.
    """
    found = bytearray()
    ended = False
    for byte in piece:
        if not state.string and byte in _SPACE:
            ended = ended or state.number
            continue
        found.append(byte)
        state, ended = state.after(byte), False
    return bytes(found), ended


def meaning(answer: Significant, output: OutputType[Any]) -> list[bytes]:
    """For each significant byte, the bytes of the answer's own text that it stands for.

    Args:
        answer: The object that travelled.
        output: The type of the answer.
    """
    spelled = [
        byte if state.string else _SEPARATORS.get(byte, byte)
        for byte, state in zip(_each(answer.text), answer.states, strict=True)
    ]
    if is_object(output):
        return spelled
    key = len(json.dumps(ANSWER)) + 2  # the brace before it and the colon behind it
    inner = spelled[key:-1]
    if output.form != "json" and answer.text[key : key + 1] == b'"':
        inner = _characters(answer.text[key:-1])
    return [b""] * key + inner + [b""]


def _characters(string: bytes) -> list[bytes]:
    """What each byte of a JSON string stands for; of an escape, the last stands for it all."""
    parts = [b""] * len(string)
    at, end = 1, len(string) - 1
    while at < end:
        width = 1
        if string[at : at + 1] == b"\\":
            width = 6 if string[at + 1 : at + 2] == b"u" else 2
        unit = string[at : at + width]
        character = json.loads(b'"' + unit + b'"') if width > 1 else None
        whole = unit if character is None else character.encode("utf-8", "surrogatepass")
        parts[at + width - 1] = whole
        at += width
    return parts


def _each(text: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in text]


def same_start(one: bytes, other: bytes) -> int:
    """How many bytes two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
