"""A value that was found, and where else it occurs: in other forms, other cases, by parts of it.

The recognisers see a value in one place; an answer may repeat it where none of them would see it. A
target finds all of them and says what stands in for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from hetagent.learn.redact.letters import words
from hetagent.learn.redact.lexicon import AMBIGUOUS, NO_NAMES, PARTICLES
from hetagent.learn.redact.surrogates import Surrogates, last_digits, sex_of

__all__ = ["Edit", "Target", "targets_of"]

_GAP = r"[\s\u00a0().\-/]{0,3}"
_NUMBERS = ("card", "iban", "phone", "national_id")
_EXACT = ("secret",)
_NO_PART = (NO_NAMES - AMBIGUOUS) | PARTICLES
# Capitalised at the start of a sentence, these are more often words than names.
_WORDS = frozenset(
    words(
        """
    will may mark march april june july august bill grant chase drew hope long page price
    case key order love young short good art rich pat sue don rob wade dean max young will
    read miles
    """
    )
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A part of a text and what stands there instead.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        text: What replaces it.
        kind: What it was.
    """

    start: int
    end: int
    text: str
    kind: str


@dataclass(frozen=True)
class Target:
    """One form of a value.

    Attributes:
        kind: What it is.
        quick: In lower case, a part of every text in which it can occur.
        expression: Where it occurs, as a regular expression.
        flags: Of that.
        replace: What stands in for an occurrence.
        fits: Whether an occurrence in a text is one.
        strong: Whether it is replaced in schemas as well.
    """

    kind: str
    quick: str
    expression: str
    replace: Callable[[re.Match[str]], str]
    fits: Callable[[re.Match[str]], bool] | None = None
    strong: bool = True
    flags: int = 0

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled only where a text may have it, since that takes longer than to search."""
        return re.compile(self.expression, self.flags)

    def edits(self, text: str, lower: str) -> Iterator[Edit]:
        """All occurrences in a text; ``lower`` is the same text in lower case."""
        if self.quick not in lower:
            return
        for match in self.pattern.finditer(text):
            if self.fits is None or self.fits(match):
                yield Edit(match.start(), match.end(), self.replace(match), self.kind)


def targets_of(
    kind: str,
    value: str,
    surrogates: Surrogates,
    *,
    names: MutableMapping[str, str],
    again: int = 0,
) -> tuple[Target, ...]:
    """All forms of a value, the whole first.

    Args:
        kind: What it is.
        value: As it was found.
        surrogates: What stands in for it.
        names: What stands in for words of names so far, by the word in lower case.
        again: Another surrogate than the first; see `Surrogates.of`.
    """
    if kind == "person":
        return tuple(_person(value, surrogates, names, again))
    if kind in _NUMBERS and sum(map(str.isalnum, value)) >= 6:
        return (_number(kind, value, surrogates, again),)
    return (_text(kind, value, surrogates.of(kind, value, again=again)),)


def _text(kind: str, value: str, surrogate: str, *, quick: str = "") -> Target:
    """A value as it is, or quoted for JSON or a URL; in any case where case says nothing."""
    flags = 0 if kind in _EXACT else re.IGNORECASE

    def replace(match: re.Match[str]) -> str:
        return _as(match[0], value, surrogate) if flags else _quoted(match[0], value, surrogate)

    expression = _edged(value, _spelled(value))
    return Target(kind, quick or _quick(value), expression, replace, flags=flags)


def _number(kind: str, value: str, surrogates: Surrogates, again: int) -> Target:
    """A number in whatever groups it is written; a phone by its last nine digits."""
    chars = re.sub(r"[^0-9A-Za-z]", "", value)
    before = ""
    if kind == "phone" and len(last_digits(value)) > 5:
        chars, before = last_digits(value), r"(?:[+(]{0,2}\d[\d\s().\-/]{0,9})?"
    body = _GAP.join(map(re.escape, chars))
    expression = rf"(?<![^\W_])(?<!\d[.,]){before}{body}(?![^\W_])"

    def replace(match: re.Match[str]) -> str:
        return surrogates.of(kind, match[0], again=again)

    return Target(kind, chars[-1:].lower(), expression, replace, flags=re.IGNORECASE)


def _person(
    value: str, surrogates: Surrogates, names: MutableMapping[str, str], again: int
) -> Iterator[Target]:
    """A name whole, turned round, as the handle made of it, and each part alone."""
    tokens = re.findall(r"[^\s,]+", value)
    new = {}
    for place, token in enumerate(tokens):
        if token.lower() in PARTICLES and len(tokens) > 1 and place:
            new[token] = token
        else:
            lower = token.lower()
            if lower not in names or again:
                names[lower] = surrogates.name(token, given=_given(tokens, place), again=again)
            new[token] = _as(token, token.title(), names[lower])
    whole = re.sub(r"[^\s,]+", lambda match: new[match[0]], value)
    yield _text("person", value, whole)
    parts = [token for token in tokens if new[token] != token]
    if len(parts) > 1:
        first, last = parts[0], parts[-1]
        yield _text("person", f"{last}, {first}", f"{new[last]}, {new[first]}")
        if min(len(first), len(last)) > 2:
            yield from _handles(first, last, new[first], new[last])
        if len(last) > 2:
            yield _text("person", f"{first[0]}. {last}", f"{new[first][0]}. {new[last]}")
    if re.fullmatch(r"[\w.-]+", value) and len(parts) == 1 and re.search(r"[._\d]", value):
        return
    for token in parts if len(tokens) > 1 else ():
        if len(token.strip(".")) > 1 and token.lower() not in _NO_PART:
            yield _part(token, new[token])


def _given(tokens: list[str], place: int) -> str:
    """Whether a token is a given name, and whose; the last of several words never is."""
    if place and place == len(tokens) - 1:
        return ""
    return sex_of(tokens[place]) or ("" if len(tokens) == 1 else "?")


def _handles(first: str, last: str, new_first: str, new_last: str) -> Iterator[Target]:
    """What logins and addresses make of a name; ``mkeller`` only where the surname is long."""
    for mark in ".", "_", "-", "":
        for one, other, new in (
            (first, last, f"{new_first}{mark}{new_last}"),
            (last, first, f"{new_last}{mark}{new_first}"),
        ):
            handle = f"{one}{mark}{other}".lower()
            yield _text("person", handle, new.lower(), quick=handle)
    if len(last) > 3:
        for mark in ".", "_", "":
            new = f"{new_first[0]}{mark}{new_last}".lower()
            handle = f"{first[0]}{mark}{last}".lower()
            yield _text("person", handle, new, quick=handle)


def _part(token: str, new: str) -> Target:
    """One word of a name, in capitals too, and in small letters where it is no other word."""
    lower = token.lower()
    word = lower in AMBIGUOUS or len(token) < 4
    forms = {token, token.upper()} | (set() if word else {lower})
    body = "|".join(_spelled(form) for form in sorted(forms))

    def replace(match: re.Match[str]) -> str:
        return _as(match[0], token, new)

    return Target(
        "person",
        _quick(token),
        _edged(token, f"(?:{body})"),
        replace,
        fits=_within_sentence if lower in _WORDS else None,
        strong=False,
    )


def _within_sentence(match: re.Match[str]) -> bool:
    """Whether a word that is also a name is capitalised because it is a name."""
    before = match.string[max(0, match.start() - 4) : match.start()]
    after = match.string[match.end() : match.end() + 4]
    if re.search(r"\d[ .]*$", before) or re.match(r" ?\d", after):
        return False
    return bool(re.search(r"[\w,;'’\"] $", before))


def _quick(value: str) -> str:
    """The longest run of plain letters and digits, in lower case, which every spelling has."""
    runs = re.findall(r"[a-z0-9]+", value.lower())
    return max(runs, key=len, default="")


def _spelled(value: str) -> str:
    """An expression for a value in plain text, within a string of JSON, and in a URL."""
    parts = []
    for char in re.sub(r"\s+", " ", value):
        if char.isalnum() and char.isascii():
            parts.append(char)
        elif char.isspace():
            parts.append(r"(?:\s|\\+[nrt]|%20|\+)+")
        elif char in '"\\/':
            parts.append(rf"\\*{re.escape(char)}")
        else:
            forms = [
                re.escape(char),
                rf"\\+u{ord(char) % 65536:04x}",
                re.escape(quote(char, safe="")),
            ]
            parts.append(f"(?:{'|'.join(dict.fromkeys(forms))})")
    return "".join(parts)


def _edged(value: str, body: str) -> str:
    """Word boundaries where a value ends in a letter or digit of a script that has spaces."""
    left = r"(?<![^\W_])" if _spaced(value[0]) else ""
    right = r"(?![^\W_])" if _spaced(value[-1]) else ""
    # A letter after a backslash is its escape, as in "\nMaria".
    if left:
        left = r"(?:(?<![^\W_])|(?<=\\[nrt]))"
    return f"{left}{body}{right}"


def _spaced(char: str) -> bool:
    return char.isalnum() and ord(char) < 0x0E00


def _as(found: str, value: str, surrogate: str) -> str:
    """A surrogate in the case in which the value was found."""
    letters = [char for char in found if char.isalpha()]
    if len(letters) > 1 and value.upper() != value.lower():
        if found.isupper() and not value.isupper():
            surrogate = surrogate.upper()
        elif found.islower() and not value.islower():
            surrogate = surrogate.lower()
        elif value.islower() and found.istitle():
            surrogate = surrogate.title()
    return _quoted(found, value, surrogate)


def _quoted(found: str, value: str, surrogate: str) -> str:
    """A surrogate quoted for a URL where the value was."""
    if "%" in found and "%" not in value:
        return quote(surrogate, safe="")
    if "+" in found and "+" not in value:
        return surrogate.replace(" ", "+")
    if "\n" in surrogate and "\n" not in found:
        return surrogate.replace("\n", "\\n")
    return surrogate
