"""Letters for regular expressions, and lists of words.

Python's expressions have no class of their own for upper and lower case.
"""

from __future__ import annotations

__all__ = ["LOWER", "UPPER", "words"]


def _ranges(wanted: list[int]) -> str:
    """Code points, rising, as the inside of a character class."""
    parts: list[list[int]] = []
    for at in wanted:
        if parts and parts[-1][1] == at - 1:
            parts[-1][1] = at
        else:
            parts.append([at, at])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in parts)


_LETTERS = [*range(0x41, 0x250), *range(0x370, 0x530), *range(0x1E00, 0x2000)]

UPPER = _ranges([at for at in _LETTERS if chr(at).isupper()])
"""Upper-case letters of the Latin, Greek and Cyrillic scripts."""

LOWER = _ranges([at for at in _LETTERS if chr(at).islower()])
"""Lower-case letters of the same."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text, which is how long lists are easiest to read."""
    return tuple(text.split())
