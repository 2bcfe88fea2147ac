"""Cards, accounts, e-mail addresses, phone numbers and IP addresses in a text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from hetagent.learn.redact.checksums import luhn, mod97
from hetagent.learn.redact.found import Found

__all__ = ["IBAN_LENGTHS", "find_cards", "find_emails", "find_ibans", "find_ips", "find_phones"]

_CARD = re.compile(r"(?<![\w.])(?<!\d-)(?:\d[ -]?){12,18}\d(?![\w])(?!-\d)")
_CARD_WORD = re.compile(
    r"(?i)\b(?:card|credit|debit|visa|master ?card|amex|american express|discover|maestro|karte|"
    r"carte|tarjeta|cart[ãa]o|kort|pan)\b"
)
# First digits and lengths of the issuers (ISO/IEC 7812).
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|65|64[4-9]|622"), (16, 17, 18, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-8]|6[0-9]"), (13, 16, 18, 19)),
)


def find_cards(text: str, *, hint: str = "") -> Iterator[Found]:
    """Payment cards: an issuer's digits and length, and the check digit.

    Where the text speaks of cards right before, the check need not hold.
    """
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        issuer = any(first.match(digits) and len(digits) in sizes for first, sizes in _ISSUERS)
        before = text[max(0, match.start() - 30) : match.start()]
        told = bool(_CARD_WORD.search(before) or _CARD_WORD.search(hint.replace("_", " ")))
        if issuer and (luhn(digits) or told) and len(set(digits)) > 2:
            yield Found(match.start(), match.end(), "card", sure=luhn(digits))


IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN, by country (SWIFT's registry)."""

_IBAN = re.compile(r"(?<![^\W_])([A-Za-z]{2})[ -]?\d{2}(?:[ -]?[A-Za-z0-9]){10,30}")
_IBAN_WORD = re.compile(r"(?i)\b(?:iban|konto\w*|account|compte|cuenta|rekening)\b")


def find_ibans(text: str) -> Iterator[Found]:
    """Accounts: the country's length and the check; after the word IBAN the check need not hold."""
    at = 0
    while match := _IBAN.search(text, at):
        at = match.start() + 2  # what follows may have been taken for a part of it
        length = IBAN_LENGTHS.get(match[1].upper())
        end = _end_of(match, length or 0)
        if length is None or end is None or (end < len(text) and text[end].isalnum()):
            continue
        compact = re.sub(r"[ -]", "", text[match.start() : end]).upper()
        told = _IBAN_WORD.search(text[max(0, match.start() - 25) : match.start()])
        if mod97(compact) or (told and match[1].isupper() and sum(map(str.isdigit, compact)) > 9):
            yield Found(match.start(), end, "iban", sure=mod97(compact))


def _end_of(match: re.Match[str], length: int) -> int | None:
    """Offset after so many letters and digits of a match."""
    seen = 0
    for offset, char in enumerate(match[0], match.start()):
        seen += char.isalnum()
        if length and seen == length:
            return offset + 1
    return None


_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+'%=&-]*[\w+%-]@(?:[\w](?:[\w-]*[\w])?\.)+(?:[^\W\d_]{2,}|xn--[\w-]+)"
    r"(?![^\W\d_]|@)"
)
_QUOTED_EMAIL = re.compile(r"(?<![\w.+-])([\w.+-]+)%40((?:[\w-]+\.)+[a-z]{2,})(?!\w)")
_NO_MAILBOX = ("git@", "hg@", "svn@")


def find_emails(text: str) -> Iterator[Found]:
    """E-mail addresses, those quoted for a URL included; addresses of repositories are none."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            value = match[0].lstrip("'=&%")
            start = match.end() - len(value)
            if value.lower().startswith(_NO_MAILBOX):
                continue
            if any(map(str.isalnum, value.partition("@")[0])):  # "+@app.route" is a line of code
                yield Found(start, match.end(), "email")
    if "%40" in text:
        for match in _QUOTED_EMAIL.finditer(text):
            yield Found(match.start(), match.end(), "email")


_GAP = r"[ \u00a0.\-/]?"
_INTERNATIONAL = re.compile(
    r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}[ \u00a0.\-/]{0,2}(?:\(\d{1,5}\)[ \u00a0.\-/]{0,2})?"
    r"(?:\d" + _GAP + r"){5,12}\d(?!\w)"
)
_AMERICAN = re.compile(
    r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d{2}\)[ .-]?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}"
    r"(?![\w-])(?!\.\d)"
)
_TRUNK = re.compile(
    r"(?<![\w.+\-/:])(?:\(0\d{1,5}\)|0\d{1,5})(?:[ \u00a0]?[/\-.][ \u00a0]?|[ \u00a0])"
    r"(?:\d[ \u00a0.\-]?){4,9}\d(?![\w])(?![-/:]\d)"
)
_INDIAN = re.compile(r"(?<![\w.+-])[6-9]\d{4}[ -]\d{5}(?![\w-])(?!\.\d)")
_PLAIN = re.compile(r"(?<![\w.+-])\(?[+0]?\d(?:[ \u00a0().\-/]{0,2}\d){6,13}(?!\w)")
_PHONE_WORD = re.compile(
    r"(?i)(?<![^\W\d_])(?:tel(?:[ée]fon[eo]?|[ée]phone|efonnummer)?|t[ée]l|phone|fax|mobile?|mob|"
    r"cell(?:phone)?|handy\w*|"
    r"m[óo]vil|celular|cellulare|portable|whatsapp|signal|sms|text|call(?:ed|s)?|ring|dial|reach|"
    r"nummer|rufnummer|b[üu]ro|puhelin|landline|hotline|mobiel|telefoon|komórka|ligue|ll[áa]mame|"
    r"contact(?: (?:no|number))?|hp)(?![^\W\d_])"
)
_DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T]\d{1,2})?|"
    r"\d{2}[.:]\d{2}[.:]\d{2}"
)


def find_phones(text: str, *, hint: str = "") -> Iterator[Found]:
    """Phone numbers: written as such, or any of 7 to 15 digits where the text speaks of phones."""
    told_by_field = bool(_PHONE_WORD.search(hint.replace("_", " ")))
    for form in (_INTERNATIONAL, _AMERICAN):
        for match in form.finditer(text):
            if _fits(match[0]):
                yield Found(match.start(), match.end(), "phone")
    for match in _INDIAN.finditer(text):
        yield Found(match.start(), match.end(), "phone", sure=False)
    for match in _TRUNK.finditer(text):
        if _fits(match[0], fewest=8):
            yield Found(match.start(), match.end(), "phone", sure=False)
    for match in _PLAIN.finditer(text):
        before = text[max(0, match.start() - 32) : match.start()].rpartition("\n")[2]
        words = list(_PHONE_WORD.finditer(before))
        near = bool(words) and not re.search(r"\d{3}|[.;] ", before[words[-1].end() :])
        if (near or told_by_field) and _fits(match[0]):
            yield Found(match.start(), match.end(), "phone", sure=False)


def _fits(value: str, *, fewest: int = 7) -> bool:
    digits = sum(char.isdigit() for char in value)
    return fewest <= digits <= 15 and not _DATE.fullmatch(value.strip("()"))


_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])")
_VERSION = re.compile(r"(?i)(?:\bv|version|release|ver|chrome|safari|firefox)[ /.:=\"']*$")


def find_ips(text: str) -> Iterator[Found]:
    """Public IP addresses; those of a private network, of examples, and masks are left."""
    for form in (_IPV4, _IPV6):
        for match in form.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if (
                address.is_global
                and not address.is_multicast
                and not _VERSION.search(text[max(0, match.start() - 12) : match.start()])
            ):
                yield Found(match.start(), match.end(), "ip")
