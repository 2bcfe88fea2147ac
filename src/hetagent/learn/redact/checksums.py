"""Check digits of cards, accounts and national ids.

Each function takes digits (or letters) alone, without separators, and says whether the check holds.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

__all__ = ["dated", "iban_check", "luhn", "mod11", "mod97", "verhoeff", "weighted"]


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = ord(char) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def mod97(text: str) -> bool:
    """ISO 7064, MOD 97-10, letters as 10 to 35, the first four characters moved to the end."""
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def iban_check(country: str, body: str) -> str:
    """The two check digits of an IBAN (ISO 13616)."""
    value = int("".join(str(int(char, 36)) for char in body + country + "00"))
    return f"{98 - value % 97:02d}"


def weighted(digits: str, weights: Sequence[int]) -> int:
    """Sum of digit times weight, over as many as both have."""
    return sum((ord(char) - 48) * weight for char, weight in zip(digits, weights, strict=False))


def mod11(digits: str, weights: Sequence[int]) -> bool:
    """The weighted sum of all digits is a multiple of 11."""
    return weighted(digits, weights) % 11 == 0


def verhoeff(digits: str) -> bool:
    """Verhoeff's check over the dihedral group of order ten (Verhoeff 1969)."""
    check = 0
    for place, char in enumerate(reversed(digits)):
        check = _D5[check][_PERMUTED[place % 8][ord(char) - 48]]
    return check == 0


def dated(digits: str, order: str) -> bool:
    """Whether six digits are a day; ``order`` is such as ``"ymd"``. Years are not judged."""
    parts = dict(zip(order, (digits[0:2], digits[2:4], digits[4:6]), strict=True))
    return 1 <= int(parts["m"]) <= 12 and 1 <= int(parts["d"]) <= 31


def _dihedral(a: int, b: int) -> int:
    """Product in D5: 0 to 4 are rotations, 5 to 9 reflections."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


_D5 = [[_dihedral(a, b) for b in range(10)] for a in range(10)]
_PERMUTED = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
for _ in range(6):
    _PERMUTED.append([_PERMUTED[1][value] for value in _PERMUTED[-1]])

_ODD = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def germany(digits: str) -> bool:
    """Steuer-IdNr.: ISO 7064, MOD 11,10; one digit twice or thrice among the first ten."""
    if digits[0] == "0" or not 8 <= len(set(digits[:10])) <= 9:
        return False
    product = 10
    for char in digits[:10]:
        product = ((int(char) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def france(text: str) -> bool:
    """NIR: 97 less the rest of the first thirteen; Corsica's 2A and 2B count as 19 and 18."""
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(text[13:])


def spain(text: str) -> bool:
    """DNI and NIE: the letter is the number's rest by 23."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdigit() and _DNI[int(number) % 23] == text[-1]


def italy(text: str) -> bool:
    """Codice fiscale: characters at odd places have weights of their own."""
    total = 0
    for place, char in enumerate(text[:15]):
        value = int(char, 36) - (10 if char.isalpha() else 0)
        total += value if place % 2 else _ODD[value]
    return string.ascii_uppercase[total % 26] == text[15]


def netherlands(digits: str) -> bool:
    """BSN: the eleven test, its last weight negative."""
    return mod11(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1))


def poland(digits: str) -> bool:
    """PESEL."""
    return weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def finland(text: str) -> bool:
    """Henkilötunnus: day, perhaps a letter, number, and a character for the rest by 31."""
    return dated(text, "dmy") and _HETU[int(text[:6] + text[-4:-1]) % 31] == text[-1]


def norway(digits: str) -> bool:
    """Fødselsnummer: two weighted checks; day or month may be raised by 40."""
    day, month = int(digits[:2]) % 40, int(digits[2:4]) % 40
    return (
        1 <= day <= 31
        and 1 <= month <= 12
        and mod11(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1))
        and mod11(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1))
    )


def brazil(digits: str) -> bool:
    """CPF: two digits, each the weighted sum before it, times ten, by 11."""
    if len(set(digits)) == 1:
        return False
    return all(
        weighted(digits[:count], range(count + 1, 1, -1)) * 10 % 11 % 10 == int(digits[count])
        for count in (9, 10)
    )


def singapore(text: str) -> bool:
    """NRIC and FIN: the letter depends on the series and the sum."""
    total = weighted(text[1:8], (2, 7, 6, 5, 4, 3, 2))
    total += {"S": 0, "F": 0, "T": 4, "G": 4, "M": 3}[text[0]]
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "M": "KLJNPQRTUWX"}
    found = letters.get(text[0], "XWUTRQPNMLK")
    return (found[10 - total % 11] if text[0] == "M" else found[total % 11]) == text[8]


def switzerland(digits: str) -> bool:
    """AHV number: EAN-13."""
    return weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def belgium(digits: str) -> bool:
    """Rijksregisternummer: 97 less the rest; a 2 goes before births from 2000 on."""
    key = int(digits[9:])
    return any(97 - int(lead + digits[:9]) % 97 == key for lead in ("", "2"))


def chile(text: str) -> bool:
    """RUT: weights 2 to 7 from the right; 10 is K."""
    total = sum(int(char) * (2 + place % 6) for place, char in enumerate(reversed(text[:-1])))
    return "0K987654321"[total % 11] == text[-1].upper()


def turkey(digits: str) -> bool:
    """T.C. kimlik no: the tenth digit from odd and even places, the eleventh from all."""
    odd, even = (sum(int(char) for char in digits[start:9:2]) for start in (0, 1))
    return (odd * 7 - even) % 10 == int(digits[9]) and (
        sum(int(char) for char in digits[:10]) % 10 == int(digits[10])
    )


def britain(digits: str) -> bool:
    """NHS number."""
    return mod11(digits, range(10, 0, -1))


def thailand(digits: str) -> bool:
    """Weights 13 to 2, 11 less the rest, its last digit."""
    return (11 - weighted(digits[:12], range(13, 1, -1)) % 11) % 10 == int(digits[12])


def romania(digits: str) -> bool:
    """CNP."""
    rest = weighted(digits[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return (1 if rest == 10 else rest) == int(digits[12])


def portugal(digits: str) -> bool:
    """Tax number: weights 9 to 2, modulo 11; ten counts as zero."""
    check = 11 - weighted(digits[:8], range(9, 1, -1)) % 11
    return digits[0] in "1235689" and int(digits[8]) == (check if check < 10 else 0)


def ireland(text: str) -> bool:
    """PPS number: weights 8 to 2, a second letter counting nine times."""
    total = weighted(text[:7], range(8, 1, -1))
    if len(text) == 9 and text[8] != "W":
        total += 9 * (ord(text[8]) - 64)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == text[7]
