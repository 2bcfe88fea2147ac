"""Dates, for those who want them replaced too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hetagent.learn.redact.found import Found
from hetagent.learn.redact.letters import words

__all__ = ["MONTHS", "find_dates"]

MONTHS = words(
    """
    January February March April May June July August September October November December
    """
)
"""In English, from the first."""

_MONTH = "|".join([*MONTHS, *(f"{month[:3]}\\.?" for month in MONTHS), "Sept\\.?"])
_DATE = re.compile(
    r"(?<![\d./-])(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}/\d{2}/\d{2})"
    r"(?![\d/-]|\.\d)"
    rf"|(?<!\w)\d{{1,2}}(?:st|nd|rd|th)?[ ](?:of )?(?:{_MONTH})(?:,?[ ]\d{{4}})?(?!\w)"
    rf"|(?<!\w)(?:{_MONTH})[ ]\d{{1,2}}(?:st|nd|rd|th)?(?:,?[ ]\d{{4}})?(?!\w)"
)


def find_dates(text: str) -> Iterator[Found]:
    """Days written in figures or in English."""
    for match in _DATE.finditer(text):
        yield Found(match.start(), match.end(), "date")
