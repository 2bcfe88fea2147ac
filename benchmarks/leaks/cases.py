"""The labelled set as calls: what is said in each, and which values must not be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.redaction_set import HALVES, sentences

__all__ = ["Case", "all_cases", "case_of"]

_NUMBER = re.compile(r"Case qz(\d{4})zq\.")


@dataclass(frozen=True)
class Case:
    """A labelled text.

    Attributes:
        number: Its own.
        half: The part of the set that it is of.
        text: It.
        values: What in it is private.
    """

    number: int
    half: str
    text: str
    values: tuple[str, ...]

    @property
    def marked(self) -> str:
        """A line that says which case it is, and is not private."""
        return f"Case qz{self.number:04d}zq."


def all_cases(halves: Sequence[str] = HALVES) -> list[Case]:
    """All cases, each drawn once."""
    made = []
    for half in halves:
        for one in sentences(half, draws=1):  # type: ignore[arg-type]
            values = tuple(
                dict.fromkeys(one.text[v.start : v.end] for v in one.values if v.kind != "any")
            )
            made.append(Case(len(made), half, one.text, values))
    return made


def case_of(text: str) -> int | None:
    """The number of the case that a record is of."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else None
