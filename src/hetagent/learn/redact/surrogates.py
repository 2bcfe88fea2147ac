"""What stands in for a value: realistic, of the same form, and never somebody's.

A surrogate is drawn from an HMAC of the value under a key and a scope, such as a trace: the same
value gives the same one there and another elsewhere, and no table of values need be kept. Without
the key nobody can tell from a surrogate whether a guess at the value was right.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import string
from collections.abc import Sequence
from datetime import date, timedelta

from hetagent.learn.redact.checksums import iban_check, luhn
from hetagent.learn.redact.dates import MONTHS
from hetagent.learn.redact.ids import id_of
from hetagent.learn.redact.letters import words
from hetagent.learn.redact.lexicon import FEMALE, GIVEN, MALE
from hetagent.learn.redact.pools import DOMAINS, FEMALE_POOL, MALE_POOL, STREETS, SURNAMES

__all__ = ["Draw", "Surrogates", "last_digits", "sex_of"]

_LAST = 9
_TWO_DIGITS = frozenset(
    words(
        """
    20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62
    63 64 65 66 81 82 84 86 90 91 92 93 94 95 98
    """
    )
)
_ROLES = frozenset(
    words(
        """
    info sales support admin billing help contact office team hello noreply no-reply
    accounts service postmaster webmaster jobs careers press security privacy legal hr
    marketing
    """
    )
)


class Draw:
    """Random bits that a key and a text determine: HMAC-SHA-256 in counter mode."""

    def __init__(self, key: bytes, *texts: str) -> None:
        self._key = key
        self._seed = "\0".join(texts).encode(errors="surrogatepass")
        self._counter = 0
        self._left = b""

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound`` - 1; uneven by less than one in 2^64 / ``bound``."""
        if not self._left:
            counted = self._seed + self._counter.to_bytes(4, "big")
            self._left = hmac.digest(self._key, counted, "sha256")
            self._counter += 1
        drawn, self._left = self._left[:8], self._left[8:]
        return int.from_bytes(drawn, "big") % bound

    def pick(self, some: Sequence[str]) -> str:
        """One of them."""
        return some[self.below(len(some))]

    def digits(self, count: int) -> str:
        """So many digits."""
        return "".join(str(self.below(10)) for _ in range(count))


class Surrogates:
    """Surrogates within one scope.

    Args:
        key: Secret; whoever has it can test guesses.
        scope: What values are to agree in, such as a trace's id.
    """

    def __init__(self, key: bytes, scope: str) -> None:
        self._key = key
        self._scope = scope

    def of(self, kind: str, text: str, *, again: int = 0) -> str:
        """What stands in for a value, in the form that the text has.

        Args:
            kind: What it is; see `hetagent.learn.redact.found.KINDS`.
            text: The value.
            again: Another one, where the first already stands in for something else.
        """
        make = _MAKERS.get(kind, Surrogates._shaped)
        return make(self, kind, text, again)

    def name(self, token: str, *, given: str = "", again: int = 0) -> str:
        """What stands in for one word of a name.

        Args:
            token: The word.
            given: ``"f"`` or ``"m"`` for a given name, ``"?"`` for one of either; else a surname.
            again: As above.
        """
        lower = token.lower()
        draw = self._draw("person", lower, again)
        if len(lower.strip(".")) == 1:
            return draw.pick(string.ascii_uppercase) + ("." if "." in token else "")
        pool = SURNAMES
        if given:
            pool = {"f": FEMALE_POOL, "m": MALE_POOL}.get(given, FEMALE_POOL + MALE_POOL)
        found = draw.pick(pool)
        while found.lower() == lower:
            found = draw.pick(pool)
        return found

    def pseudonym(self, text: str, prefix: str) -> str:
        """A short id for an id."""
        block = hmac.digest(self._key, f"{self._scope}\0id\0{text}".encode(), hashlib.sha256)
        return f"{prefix}-{block.hex()[:16]}"

    def domain(self, domain: str) -> str:
        """A name below the domains that are reserved for examples (RFC 2606)."""
        draw = self._draw("domain", domain.lower(), 0)
        end = draw.pick(("example.com", "example.org", "example.net"))
        return f"{draw.pick(DOMAINS)}.{end}"

    def _draw(self, kind: str, canonical: str, again: int) -> Draw:
        return Draw(self._key, self._scope, kind, canonical, str(again))

    def _email(self, kind: str, text: str, again: int) -> str:
        local, _, domain = text.rpartition("@" if "@" in text else "%40")
        at = "@" if "@" in text else "%40"
        if local.lower() in _ROLES:
            return f"{local.lower()}@{self.domain(domain)}".replace("@", at)
        draw = self._draw(kind, text.lower(), again)
        words = re.findall(r"[^\W\d_]{3,}", local)
        if len(words) > 1:  # as the person of that name is called
            name = ".".join(self.name(word, given=sex_of(word)) for word in words)
        else:
            name = f"{draw.pick(FEMALE_POOL + MALE_POOL)}.{draw.pick(SURNAMES)}"
        name += draw.digits(2) if again or len(words) < 2 else ""
        return f"{name.lower()}@{self.domain(domain)}".replace("@", at)

    def _card(self, kind: str, text: str, again: int) -> str:
        """A number that payment providers use for tests begins it; the check digit holds."""
        digits = re.sub(r"\D", "", text)
        start = {"5": "555555", "2": "555555", "3": "378282", "6": "601111"}.get(
            digits[0], "400000"
        )
        body = start + self._draw(kind, digits, again).digits(len(digits) - len(start) - 1)
        check = next(char for char in string.digits if luhn(body + char))
        return _poured(body + check, text)

    def _iban(self, kind: str, text: str, again: int) -> str:
        """Of the same country, at a bank whose code is all zeros or X."""
        compact = re.sub(r"[^0-9A-Za-z]", "", text).upper()
        draw = self._draw(kind, compact, again)
        country, body = compact[:2], compact[4:]
        zeros = min(8, len(body) - 7)
        drawn = "".join(
            ("X" if char.isalpha() else "0") if place < zeros else _like(char, draw)
            for place, char in enumerate(body)
        )
        return _poured(country + iban_check(country, drawn) + drawn, text)

    def _phone(self, kind: str, text: str, again: int) -> str:
        """The same digits at the end, however the number is written; 555 01.. in North America.

        Country code and what else is before the last nine digits stay.
        """
        digits = re.sub(r"\D", "", text)
        last = last_digits(text)
        draw = self._draw(kind, last, again)
        american = len(digits) == 10 and digits[0] not in "01" and "+" not in text
        american |= len(digits) == 11 and digits[0] == "1"
        if american or len(digits) == 7:
            new = draw.digits(2) + "55501" + draw.digits(2)
        else:
            new = f"{draw.below(9) + 1}5550{draw.digits(4)}"
        kept = digits[: len(digits) - len(last)]
        return _poured(kept + new[-len(last) :], text)

    def _national_id(self, kind: str, text: str, again: int) -> str:
        """Of the same form, and nobody's: from a range that is not used, or with a wrong check."""
        compact = re.sub(r"[^0-9A-Za-z]", "", text)
        draw = self._draw(kind, compact.lower(), again)
        known = id_of(text)
        name = known.name if known else ""
        if name in ("us ssn", "us itin"):
            # No SSN begins with 9, and no ITIN has a group below 50.
            return _poured(f"9{draw.digits(2)}{draw.below(4) + 1}{draw.digits(5)}", text)
        if name == "uk nino":
            return _poured(f"QQ{draw.digits(6)}{draw.pick('ABCD')}", text)
        if name == "uk nhs":
            return self._wrong("999" + draw.digits(7), text)
        return self._wrong("".join(_like(char, draw) for char in text), text)

    def _wrong(self, drawn: str, text: str) -> str:
        """A number whose check fails, so that it can be nobody's."""
        poured = _poured(re.sub(r"[^0-9A-Za-z]", "", drawn), text)
        known = id_of(text)
        if known is None or known.holds is None:
            return poured
        for _ in range(12):
            if not known.check(poured):
                return poured
            at = max(place for place, char in enumerate(poured) if char.isdigit())
            poured = poured[:at] + str((int(poured[at]) + 1) % 10) + poured[at + 1 :]
        return poured

    def _ip(self, kind: str, text: str, again: int) -> str:
        """Of the ranges that are reserved for documentation (RFC 5737, RFC 3849)."""
        draw = self._draw(kind, text.lower(), again)
        if ":" in text:
            return "2001:db8:" + ":".join(f"{draw.below(65536):x}" for _ in range(6))
        block = draw.pick(("192.0.2", "198.51.100", "203.0.113"))
        return f"{block}.{draw.below(254) + 1}"

    def _address(self, kind: str, text: str, again: int) -> str:
        """The same kind of street with another name and number; a postcode of the same form."""
        words = " ".join(text.lower().split())
        draw = self._draw(kind, words, again)
        if not re.search(r"[^\W\d_]{3,}", text):
            return "".join(_like(char, draw) for char in text)
        street = draw.pick(STREETS)
        return _renamed(text, street, draw)

    def _date(self, kind: str, text: str, again: int) -> str:
        """All dates of a scope move by the same number of days, up to half a year."""
        days = self._draw("date", "", 0).below(361) - 180
        return _moved(text, timedelta(days=days or 1))

    def _shaped(self, kind: str, text: str, again: int) -> str:
        """Digits for digits, letters for letters, of the same case; what says whose it is stays."""
        draw = self._draw(kind, text, again)
        if kind == "secret":
            if text.startswith("-----BEGIN"):
                head, line, rest = text.partition("\n")
                body, end, tail = rest.partition("-----END")
                return head + line + "".join(_like(char, draw) for char in body) + end + tail
            kept = _prefix(text)
            return kept + "".join(_like(char, draw) for char in text[len(kept) :])
        return "".join(_like(char, draw) for char in text)


_MAKERS = {
    "email": Surrogates._email,
    "card": Surrogates._card,
    "iban": Surrogates._iban,
    "phone": Surrogates._phone,
    "national_id": Surrogates._national_id,
    "ip": Surrogates._ip,
    "address": Surrogates._address,
    "date": Surrogates._date,
}


def last_digits(phone: str) -> str:
    """What all ways to write a phone number have in common: at most nine digits at its end.

    Neither country code nor the zero that stands for it is among them.
    """
    digits = re.sub(r"\D", "", phone)
    bare = phone.lstrip("([ ")
    if bare.startswith(("+", "00")):
        digits = digits.removeprefix("00")
        code = 1 if digits[:1] in ("1", "7") else 2 if digits[:2] in _TWO_DIGITS else 3
        digits = digits[code:]
    return digits.lstrip("0")[-_LAST:]


def sex_of(word: str) -> str:
    """Of a given name: ``"f"``, ``"m"`` or ``"?"``; empty for other words."""
    lower = re.split(r"[-’']", word.lower())[0]
    if lower in FEMALE:
        return "f"
    return "m" if lower in MALE else "?" if lower in GIVEN else ""


def _prefix(secret: str) -> str:
    """What says whose token it is, such as ``sk-proj-``."""
    match = re.match(
        r"(?:sk-(?:proj-|ant-(?:api\d\d-)?|or-v1-)?|github_pat_|gh[a-z]_|glpat-|xox[a-z]-|"
        r"[prs]k_(?:live|test)_|hf_|npm_|pypi-|SG\.|AKIA|ASIA|AIza|ya29\.|eyJ|dop_v1_|gsk_|whsec_)",
        secret,
    )
    return match[0] if match and len(match[0]) + 8 <= len(secret) else ""


def _like(char: str, draw: Draw) -> str:
    """A character of the same class; those in another script become Latin letters."""
    if char.isdecimal():
        return str(draw.below(10))
    if not char.isalpha():
        return char
    found = draw.pick(string.ascii_lowercase)
    return found.upper() if char.isupper() else found


def _poured(chars: str, into: str) -> str:
    """Characters in the places where a text has letters and digits, in its letters' case."""
    drawn = iter(chars)
    out = []
    for char in into:
        if not char.isalnum():
            out.append(char)
            continue
        new = next(drawn, "0")
        out.append(new.lower() if char.islower() else new)
    result = "".join(out)
    if into[0] != "0" and result[0] == "0" and into.isdigit():
        result = "1" + result[1:]  # a number in JSON has no leading zero
    return result


def _renamed(text: str, street: str, draw: Draw) -> str:
    """An address with other numbers, and one other word for what the street is called."""
    from hetagent.learn.redact.addresses import name_of_street

    start, end = name_of_street(text)
    name = street
    if text[start:end].isupper():
        name = street.upper()
    elif text[start:end].islower():
        name = street.lower()
    renumbered = [_renumbered(text[:start], draw), name, _renumbered(text[end:], draw)]
    return "".join(renumbered)


def _renumbered(text: str, draw: Draw) -> str:
    def drawn(match: re.Match[str]) -> str:
        first = str(draw.below(9) + 1)
        return first + draw.digits(len(match[0]) - 1)

    return re.sub(r"\d+", drawn, text)


def _moved(text: str, by: timedelta) -> str:
    """A date some days later, in the form it had; digits are kept in number."""
    numbers = [(match.start(), match[0]) for match in re.finditer(r"\d+", text)]
    word = re.search(r"[^\W\d_]{3,}", re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b", "", text))
    try:
        day, month, year, order = _read(numbers, word)
        moved = date(year, month, day) + by
    except (ValueError, IndexError):
        return text
    parts = {"y": moved.year, "m": moved.month, "d": moved.day}
    out, at = [], 0
    for (start, old), which in zip(numbers, order, strict=False):
        new = str(parts[which]).zfill(len(old))
        out += [text[at:start], new[-len(old) :] if which == "y" else new]
        at = start + len(old)
    result = "".join([*out, text[at:]])
    if word is not None:
        short = len(word[0]) <= 4 and word[0].lower() not in ("june", "july")
        named = MONTHS[moved.month - 1][: 3 if short else None]
        result = result.replace(word[0], named, 1)
    return result


def _read(
    numbers: Sequence[tuple[int, str]], word: re.Match[str] | None
) -> tuple[int, int, int, str]:
    """Day, month, year and the order of the numbers; days first where both are possible."""
    values = [int(text) for _, text in numbers]
    if word is not None:
        month = next(
            at for at, name in enumerate(MONTHS, 1) if name.lower().startswith(word[0][:3].lower())
        )
        return values[0], month, values[1] if len(values) > 1 else 2024, "dy"
    if len(numbers[0][1]) == 4:
        return values[2], values[1], values[0], "ymd"
    year = values[2] + (2000 if values[2] < 50 else 1900) if values[2] < 100 else values[2]
    if values[1] > 12:
        return values[1], values[0], year, "mdy"
    return values[0], values[1], year, "dmy"
