"""The labelled sentences that redaction is measured on.

`redaction_cases/dev.txt` was looked at while the patterns were written, `heldout.txt` was not.
`fresh.txt` was written later in another style, without a look at the patterns, and measured before
any of its misses was mended. A case begins with a line `%% FORM`. `<<person|Ada Byron>>` marks a
value, `<<card:visa>>` one that `redaction_values` draws from a seed, so that a case gives several
sentences. Values marked ``any`` may be replaced or not. All names, addresses and numbers are
invented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from benchmarks import redaction_values as values
from benchmarks.redaction_fresh import FRESH_IDS, FRESH_SECRETS

Half = Literal["dev", "heldout", "fresh"]
HALVES: tuple[Half, ...] = ("dev", "heldout", "fresh")
IDS = values.IDS | FRESH_IDS
SECRETS = values.SECRETS | FRESH_SECRETS
FOLDER = Path(__file__).parent / "redaction_cases"
DRAWS = 3
_MARK = re.compile(r"<<([a-z]+)([|:])(.+?)>>|<<(card|iban)>>")


@dataclass(frozen=True)
class Value:
    """A labelled part of a sentence: from ``start`` to ``end``, in characters."""

    kind: str
    start: int
    end: int
    variant: str = ""


@dataclass(frozen=True)
class Sentence:
    """A labelled text."""

    half: str
    form: str
    text: str
    values: tuple[Value, ...]


def sentences(half: Half, *, draws: int = DRAWS) -> list[Sentence]:
    """All sentences of one part; cases without drawn values come once."""
    found = []
    blocks = re.split(r"(?m)^%% ?(\w+)\n", (FOLDER / f"{half}.txt").read_text(encoding="utf-8"))
    for number, (form, body) in enumerate(zip(blocks[1::2], blocks[2::2], strict=True)):
        drawn = any(mark[2] == ":" for mark in _MARK.finditer(body))
        for draw in range(draws if drawn else 1):
            random = Random(f"{half} {number} {draw}")
            found.append(_sentence(half, form, body.removesuffix("\n"), random))
    return found


def _sentence(half: str, form: str, template: str, random: Random) -> Sentence:
    text, marked, at = "", [], 0
    for mark in _MARK.finditer(template):
        text += template[at : mark.start()]
        kind = mark[1] or mark[4]
        value = mark[3] if mark[2] == "|" else _drawn(random, kind, mark[3] or "")
        variant = mark[3].partition(":")[0] if mark[2] == ":" and kind in ("secret", "id") else ""
        if form == "json":
            value = value.replace("\n", "\\n")
        marked.append(Value(kind, len(text), len(text) + len(value), variant))
        text += value
        at = mark.end()
    return Sentence(half, form, text + template[at:], tuple(marked))


def _drawn(random: Random, kind: str, variant: str) -> str:
    if kind == "card":
        return values.card(random, variant)
    if kind == "iban":
        return values.iban(random, variant)
    if kind == "id":
        name, _, style = variant.partition(":")
        return IDS[name](random, style)
    if kind == "secret":
        return SECRETS[variant](random)
    if kind == "phone":
        return values.filled(random, variant)
    if kind == "ip":
        return _ip(random, variant)
    raise ValueError(f"no values of kind {kind}")


def _ip(random: Random, variant: str) -> str:
    if variant == "6":
        return "2a02:" + ":".join(values.some(random, values.HEX, 4) for _ in range(7))
    return ".".join(str(random.randint(20, 99)) for _ in range(4))
