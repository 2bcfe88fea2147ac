"""More invented values, for the fresh cases: shapes that the first two halves do not have."""

from __future__ import annotations

import string
from collections.abc import Callable
from random import Random

from benchmarks.redaction_values import ALNUM, B64URL, HEX, UPPER, WORDS, digits, some


def mx_curp(random: Random, _: str) -> str:
    """Mexico's CURP, with its check digit (values 0-9, A-N, Ñ, O-Z; weights 18 down to 2)."""
    body = (
        some(random, "BCDFGHLMPRST", 1) + random.choice("AEIOU") + some(random, "BCDFGHLMPRST", 2)
    )
    body += f"{random.randint(50, 99)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}"
    body += random.choice("HM") + random.choice(("DF", "JC", "OC", "PL", "VZ"))
    body += some(random, "BCDFGHLMPRST", 3) + random.choice(string.digits)
    order = string.digits + "ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(order.index(char) * (18 - place) for place, char in enumerate(body))
    return body + str(-total % 10)


def pt_nif(random: Random, _: str) -> str:
    """Portugal's tax number: nine digits, modulo 11."""
    body = random.choice("12") + digits(random, 7)
    check = 11 - sum(int(char) * (9 - place) for place, char in enumerate(body)) % 11
    return body + str(check if check < 10 else 0)


def ie_pps(random: Random, _: str) -> str:
    """Ireland's PPS number: seven digits, a check letter, modulo 23."""
    body = digits(random, 7)
    total = sum(int(char) * (8 - place) for place, char in enumerate(body))
    return body + "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] + random.choice(("", "A"))


def us_dl(random: Random, _: str) -> str:
    """A driving licence as New Jersey prints it: a letter and fourteen digits."""
    number = digits(random, 14)
    return f"{random.choice(UPPER)}{number[:4]} {number[4:9]} {number[9:]}"


FRESH_IDS: dict[str, Callable[[Random, str], str]] = {
    one.__name__: one for one in (mx_curp, pt_nif, ie_pps, us_dl)
}

FRESH_SECRETS: dict[str, Callable[[Random], str]] = {
    "pin": lambda r: digits(r, 4),
    "cvv": lambda r: digits(r, 3),
    "wifi": lambda r: f"{digits(r, 4)}-{r.choice(WORDS)}-{digits(r, 4)}",
    "groq": lambda r: "gsk_" + some(r, ALNUM, 52),
    "databricks": lambda r: "dapi" + some(r, HEX, 32),
    "vault": lambda r: "hvs." + some(r, B64URL, 90),
    "shopify": lambda r: "shpat_" + some(r, HEX, 32),
    "azure_client": lambda r: some(r, ALNUM, 3) + "8Q~" + some(r, ALNUM + "_.-", 34),
    "linear": lambda r: "lin_api_" + some(r, ALNUM, 40),
    "notion": lambda r: "ntn_" + some(r, ALNUM, 46),
    "grafana": lambda r: "glsa_" + some(r, ALNUM, 32) + "_" + some(r, HEX, 8),
}
