"""Invented values with valid checksums, drawn from a seed: cards, IBANs, national ids, secrets.

The checksums are written anew here, so that a mistake in the package is not made twice. Secrets
have the shape that their providers give them and are random; they are made here rather than written
into the cases, so that no scanner of repositories takes them for real ones.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from random import Random

ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase
BASE32 = UPPER + "234567"
HEX = "0123456789abcdef"
B64URL = ALNUM + "-_"


def some(random: Random, alphabet: str, length: int) -> str:
    return "".join(random.choice(alphabet) for _ in range(length))


def digits(random: Random, length: int) -> str:
    return some(random, string.digits, length)


def filled(random: Random, pattern: str) -> str:
    """Every # becomes a digit; two neighbours of a group never are 00."""
    return "".join(random.choice("123456789") if char == "#" else char for char in pattern)


def luhn_digit(body: str) -> str:
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


# Cards: issuers' ranges, not those for tests.
CARDS = {
    "visa": ("453912", 16, (4, 4, 4, 4)),
    "mc": ("527346", 16, (4, 4, 4, 4)),
    "amex": ("371449", 15, (4, 6, 5)),
    "discover": ("601174", 16, (4, 4, 4, 4)),
}


def card(random: Random, variant: str) -> str:
    name, _, style = variant.partition(":")
    start, length, groups = CARDS[name or "visa"]
    body = start + digits(random, length - len(start) - 1)
    number = body + luhn_digit(body)
    if style == "plain":
        return number
    parts, at = [], 0
    for size in groups:
        parts.append(number[at : at + size])
        at += size
    return ("-" if style == "dash" else " ").join(parts)


# IBANs: shape of the part after the check digits; A a letter, # a digit.
IBANS = {
    "DE": "#" * 18, "GB": "AAAA" + "#" * 14, "FR": "#" * 23, "ES": "#" * 20, "IT": "A" + "#" * 22,
    "NL": "AAAA" + "#" * 10, "CH": "#" * 17, "AT": "#" * 16, "BE": "#" * 12, "PL": "#" * 24,
    "SE": "#" * 20, "NO": "#" * 11, "DK": "#" * 14, "IE": "AAAA" + "#" * 14,
}  # fmt: skip


def iban(random: Random, variant: str) -> str:
    country, _, style = variant.partition(":")
    shape = IBANS[country or "DE"]
    body = "".join(random.choice(UPPER if c == "A" else string.digits) for c in shape)
    country = country or "DE"
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    text = f"{country}{98 - number % 97:02d}{body}"
    if style == "plain":
        return text
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def weighted(body: str, weights: list[int]) -> int:
    return sum(int(a) * b for a, b in zip(body, weights, strict=True))


def us_ssn(random: Random, style: str) -> str:
    area = random.choice([n for n in range(101, 699) if n != 666])
    text = f"{area:03d}-{random.randint(11, 88):02d}-{random.randint(1001, 9998):04d}"
    return text.replace("-", "") if style == "plain" else text


def us_itin(random: Random, _: str) -> str:
    return f"9{digits(random, 2)}-{random.randint(70, 88)}-{random.randint(1000, 9999)}"


def ca_sin(random: Random, _: str) -> str:
    body = random.choice("1234567") + digits(random, 7)
    text = body + luhn_digit(body)
    return f"{text[:3]} {text[3:6]} {text[6:]}"


def uk_nino(random: Random, _: str) -> str:
    prefix = random.choice("ABCEHJKLMPRSWXY") + random.choice("ABCEHJKLMPRSWXYZ")
    if prefix in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
        prefix = "JM"
    body = [digits(random, 2) for _ in range(3)]
    return " ".join([prefix, *body, random.choice("ABCD")])


def uk_nhs(random: Random, _: str) -> str:
    while True:
        body = random.choice("4567") + digits(random, 8)
        check = 11 - weighted(body, list(range(10, 1, -1))) % 11
        if check != 10:
            text = body + str(check % 11)
            return f"{text[:3]} {text[3:6]} {text[6:]}"


def de_tax(random: Random, _: str) -> str:
    kept = random.sample(string.digits, 9)
    while kept[0] == "0":
        random.shuffle(kept)
    body = [*kept, kept[random.randint(1, 8)]]
    tail = body[1:]
    random.shuffle(tail)
    body = [body[0], *tail]
    product = 10
    for char in body:
        value = (int(char) + product) % 10 or 10
        product = value * 2 % 11
    text = "".join(body) + str((11 - product) % 10)
    return f"{text[:2]} {text[2:5]} {text[5:8]} {text[8:]}"


def fr_nir(random: Random, _: str) -> str:
    body = (
        f"{random.randint(1, 2)}{random.randint(50, 99)}{random.randint(1, 12):02d}"
        f"{random.randint(10, 95):02d}{digits(random, 3)}{digits(random, 3)}"
    )
    key = 97 - int(body) % 97
    parts = [body[0], body[1:3], body[3:5], body[5:7], body[7:10], body[10:], f"{key:02d}"]
    return " ".join(parts)


def es_dni(random: Random, _: str) -> str:
    body = random.choice("1234567") + digits(random, 7)
    return body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]


def es_nie(random: Random, _: str) -> str:
    first, body = random.randint(0, 2), digits(random, 7)
    return "XYZ"[first] + body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{first}{body}") % 23]


def it_cf(random: Random, _: str) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    body = (
        some(random, consonants, 6)
        + f"{random.randint(40, 99)}{random.choice('ABCDEHLMPRST')}{random.randint(1, 28):02d}"
        + random.choice("ABCDEFGHIL")
        + f"{random.randint(100, 899)}"
    )
    odd = dict(
        zip(
            string.digits + UPPER,
            [
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
            ],
            strict=True,
        )
    )
    total = 0
    for place, char in enumerate(body):
        even = int(char) if char.isdigit() else ord(char) - 65
        total += odd[char] if place % 2 == 0 else even
    return body + UPPER[total % 26]


def nl_bsn(random: Random, _: str) -> str:
    while True:
        body = random.choice("123") + digits(random, 7)
        check = weighted(body, list(range(9, 1, -1))) % 11
        if check != 10:
            return body + str(check)


def pl_pesel(random: Random, _: str) -> str:
    body = f"{random.randint(50, 99)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}"
    body += digits(random, 4)
    return body + str(-weighted(body, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10)


def birth(random: Random) -> tuple[int, int, int]:
    return random.randint(50, 99), random.randint(1, 12), random.randint(1, 28)


def se_pnr(random: Random, _: str) -> str:
    year, month, day = birth(random)
    body = f"{year:02d}{month:02d}{day:02d}{digits(random, 3)}"
    return f"19{body[:6]}-{body[6:]}{luhn_digit(body)}"


def fi_hetu(random: Random, _: str) -> str:
    year, month, day = birth(random)
    number = f"{random.randint(2, 899):03d}"
    first = f"{day:02d}{month:02d}{year:02d}"
    return f"{first}-{number}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(first + number) % 31]


def no_fnr(random: Random, _: str) -> str:
    while True:
        year, month, day = birth(random)
        body = f"{day:02d}{month:02d}{year:02d}{random.randint(100, 499)}"
        first = 11 - weighted(body, [3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11
        if first == 10:
            continue
        body += str(first % 11)
        second = 11 - weighted(body, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11
        if second != 10:
            return body + str(second % 11)


def dk_cpr(random: Random, _: str) -> str:
    year, month, day = birth(random)
    return f"{day:02d}{month:02d}{year:02d}-{random.randint(1000, 3999)}"


def br_cpf(random: Random, _: str) -> str:
    body = digits(random, 9)
    for count in (10, 11):
        body += str(weighted(body, list(range(count, 1, -1))) * 10 % 11 % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def verhoeff_digit(body: str) -> str:
    """Of the dihedral group D5."""

    def multiply(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    permuted = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permuted.append([permuted[1][value] for value in permuted[-1]])
    check = 0
    for place, char in enumerate(reversed(body), 1):
        check = multiply(check, permuted[place % 8][int(char)])
    return str(next(value for value in range(10) if multiply(check, value) == 0))


def in_aadhaar(random: Random, _: str) -> str:
    body = random.choice("23456789") + digits(random, 10)
    text = body + verhoeff_digit(body)
    return f"{text[:4]} {text[4:8]} {text[8:]}"


def in_pan(random: Random, _: str) -> str:
    return (
        some(random, UPPER, 3)
        + "P"
        + some(random, UPPER, 1)
        + digits(random, 4)
        + some(random, UPPER, 1)
    )


def au_tfn(random: Random, _: str) -> str:
    while True:
        body = random.choice("123456789") + digits(random, 8)
        if weighted(body, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0:
            return f"{body[:3]} {body[3:6]} {body[6:]}"


def sg_nric(random: Random, _: str) -> str:
    body = digits(random, 7)
    total = weighted(body, [2, 7, 6, 5, 4, 3, 2])
    return "S" + body + "JZIHGFEDCBA"[total % 11]


def kr_rrn(random: Random, _: str) -> str:
    year, month, day = birth(random)
    body = f"{year:02d}{month:02d}{day:02d}{random.randint(1, 2)}{digits(random, 5)}"
    check = (11 - weighted(body, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10
    return f"{body[:6]}-{body[6:]}{check}"


def ch_ahv(random: Random, _: str) -> str:
    body = "756" + digits(random, 9)
    check = -weighted(body, [1, 3] * 6) % 10
    return f"756.{body[3:7]}.{body[7:11]}.{body[11:]}{check}"


def be_rrn(random: Random, _: str) -> str:
    year, month, day = birth(random)
    body = f"{year:02d}{month:02d}{day:02d}{random.randint(1, 997):03d}"
    check = 97 - int(body) % 97
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{check:02d}"


def cl_rut(random: Random, _: str) -> str:
    body = f"{random.randint(7_000_000, 24_999_999)}"
    total = sum(int(c) * (2 + place % 6) for place, c in enumerate(reversed(body)))
    check = "0K987654321"[total % 11] if total % 11 else "0"
    return f"{int(body):,}".replace(",", ".") + "-" + check


def za_id(random: Random, _: str) -> str:
    year, month, day = birth(random)
    body = f"{year:02d}{month:02d}{day:02d}{digits(random, 4)}08"
    return body + luhn_digit(body)


def tr_tckn(random: Random, _: str) -> str:
    body = random.choice("123456789") + digits(random, 8)
    odd, even = (sum(int(c) for c in body[start::2]) for start in (0, 1))
    body += str((odd * 7 - even) % 10)
    return body + str(sum(int(c) for c in body) % 10)


def passport(random: Random, _: str) -> str:
    return some(random, "CEHKLMNP", 1) + digits(random, 8)


IDS: dict[str, Callable[[Random, str], str]] = {
    one.__name__: one
    for one in (
        us_ssn, us_itin, ca_sin, uk_nino, uk_nhs, de_tax, fr_nir, es_dni, es_nie, it_cf, nl_bsn,
        pl_pesel, se_pnr, fi_hetu, no_fnr, dk_cpr, br_cpf, in_aadhaar, in_pan, au_tfn, sg_nric,
        kr_rrn, ch_ahv, be_rrn, cl_rut, za_id, tr_tckn, passport,
    )
}  # fmt: skip

WORDS = [
    "tulip",
    "rain",
    "marble",
    "copper",
    "harvest",
    "violet",
    "thunder",
    "pepper",
    "walnut",
    "glacier",
    "saffron",
    "pirate",
    "compass",
]


def password(random: Random, _: str) -> str:
    word, other = random.choice(WORDS), random.choice(WORDS)
    return random.choice(
        [
            f"{word.title()}{other.title()}{random.randint(10, 99)}!",
            f"{word}-{other}-{random.randint(100, 999)}",
            some(random, ALNUM, 7) + random.choice("!$%&?") + some(random, ALNUM, 5),
            f"{word[:4].title()}_{random.randint(1000, 9999)}{random.choice('!?#')}",
        ]
    )


def jwt(random: Random) -> str:
    parts = [
        {"alg": "HS256", "typ": "JWT"},
        {"sub": digits(random, 8), "iat": 1717590000 + random.randint(0, 9999), "scope": "read"},
    ]
    texts = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().strip("=") for one in parts
    ]
    return ".".join([*texts, some(random, B64URL, 43)])


def private_key(random: Random) -> str:
    lines = "\n".join(some(random, ALNUM + "+/", 64) for _ in range(5))
    kind = random.choice(["RSA ", "", "EC ", "OPENSSH "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def basic(random: Random) -> str:
    pair = f"svc{random.randint(1, 99)}:{password(random, '')}"
    return base64.b64encode(pair.encode()).decode()


SECRETS: dict[str, Callable[[Random], str]] = {
    "password": lambda r: password(r, ""),
    "openai": lambda r: "sk-" + some(r, ALNUM, 20) + "T3BlbkFJ" + some(r, ALNUM, 20),
    "openai_proj": lambda r: "sk-proj-" + some(r, B64URL, 74) + "T3BlbkFJ" + some(r, B64URL, 74),
    "anthropic": lambda r: "sk-ant-api03-" + some(r, B64URL, 93) + "AA",
    "aws_id": lambda r: "AKIA" + some(r, BASE32, 16),
    "aws_secret": lambda r: some(r, ALNUM + "/+", 40),
    "google": lambda r: "AIza" + some(r, B64URL, 35),
    "github": lambda r: "ghp_" + some(r, ALNUM, 36),
    "github_pat": lambda r: "github_pat_" + some(r, ALNUM, 22) + "_" + some(r, ALNUM, 59),
    "gitlab": lambda r: "glpat-" + some(r, B64URL, 20),
    "slack": lambda r: f"xoxb-{digits(r, 12)}-{digits(r, 13)}-{some(r, ALNUM, 24)}",
    "slack_hook": lambda r: f"T{some(r, BASE32, 8)}/B{some(r, BASE32, 10)}/{some(r, ALNUM, 24)}",
    "stripe": lambda r: "sk_live_" + some(r, ALNUM, 24),
    "jwt": jwt,
    "private_key": private_key,
    "azure_storage": lambda r: some(r, ALNUM + "+/", 86) + "==",
    "sendgrid": lambda r: f"SG.{some(r, B64URL, 22)}.{some(r, B64URL, 43)}",
    "npm": lambda r: "npm_" + some(r, ALNUM, 36),
    "pypi": lambda r: "pypi-AgEIcHlwaS5vcmc" + some(r, B64URL, 120),
    "huggingface": lambda r: "hf_" + some(r, string.ascii_letters, 34),
    "telegram": lambda r: f"{r.randint(10**9, 10**10 - 1)}:AA{some(r, B64URL, 33)}",
    "discord": lambda r: f"M{some(r, ALNUM, 23)}.{some(r, ALNUM, 6)}.{some(r, B64URL, 38)}",
    "digitalocean": lambda r: "dop_v1_" + some(r, HEX, 64),
    "hex32": lambda r: some(r, HEX, 32),
    "opaque": lambda r: some(r, ALNUM, r.choice([24, 32, 40])),
    "bearer": lambda r: some(r, B64URL, 40),
    "basic": basic,
    "dbpass": lambda r: r.choice([some(r, ALNUM, 14), f"{r.choice(WORDS)}{r.randint(100, 999)}"]),
}
