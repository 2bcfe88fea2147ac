"""What a recogniser finds in a text, and which of overlapping finds count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["DEFAULT_KINDS", "KINDS", "Found", "settle"]

KINDS = (
    "secret",
    "card",
    "iban",
    "email",
    "national_id",
    "phone",
    "ip",
    "address",
    "person",
    "date",
)
"""What can be replaced, besides kinds of the user's own patterns."""

_PARTS_COUNT = ("person", "address")

DEFAULT_KINDS = frozenset(KINDS) - {"date"}
"""What is replaced unless told: dates and other numbers stay."""


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a text that must not be written.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        kind: One of `KINDS`, or the name of a pattern of the user's.
        by: Who found it: ``"pattern"``, ``"field"``, ``"presidio"``, ``"spacy"``, ``"skill"`` or
            ``"custom"``.
        sure: False where only its surroundings speak for it.
    """

    start: int
    end: int
    kind: str
    by: str = "pattern"
    sure: bool = True

    def moved(self, by: int) -> Found:
        """The same find in a text that has ``by`` more characters before it."""
        return replace(self, start=self.start + by, end=self.end + by)


def settle(found: Iterable[Found], text: str) -> tuple[Found, ...]:
    """Finds that do not overlap, in order.

    The user's own patterns win, then secrets; addresses and names give way to all else. Between
    equals the surer find wins, then the longer one. What a name or an address has besides stays a
    find of its own, so that no half of it is left.
    """
    kept: list[Found] = []
    for one in sorted(found, key=_rank):
        pieces = [one]
        for winner in kept:
            pieces = [rest for piece in pieces for rest in _without(piece, winner)]
        kept.extend(trimmed for piece in pieces if (trimmed := _trimmed(piece, one, text)))
    return tuple(sorted(kept, key=lambda one: one.start))


def _rank(one: Found) -> tuple[int, bool, int, int, int]:
    kind = KINDS.index(one.kind) if one.kind in KINDS else -1
    group = -1 if one.by == "custom" else {"secret": 0, "address": 2, "person": 3}.get(one.kind, 1)
    return group, not one.sure, one.start - one.end, kind, one.start


def _without(one: Found, other: Found) -> list[Found]:
    if other.end <= one.start or one.end <= other.start:
        return [one]
    if one.kind not in _PARTS_COUNT:
        return []
    rests = [replace(one, end=other.start), replace(one, start=other.end)]
    return [rest for rest in rests if rest.start < rest.end]


def _trimmed(piece: Found, whole: Found, text: str) -> Found | None:
    """A rest without the spaces and punctuation at its ends; ``None`` where little is left."""
    if piece == whole:
        return piece
    start, end = piece.start, piece.end
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    return replace(piece, start=start, end=end) if end - start > 1 else None
