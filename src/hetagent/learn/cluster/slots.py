"""The fixed text of a template and its slots: where they are, their names, what they hold."""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, Self

from hetagent.learn.cluster.read import BREAK

__all__ = ["Slot", "SlotType", "Template", "slug"]

SlotType = Literal["str", "int", "float", "bool", "choice", "json"]

# Prompts whose common words make the template, and words of each that are looked at.
_FOLDED, _WORDS = 24, 1500
# A word is fixed where this share of the prompts has it: some may be cut short, or of an older
# version.
_MOST = 0.9
_CHOICES = 12
_EXAMPLES = 3

_TOKEN = re.compile(rf"\s*{BREAK}\w+\n|\s*\w+|\s*[^\w\s]|\s+$")
_GAP = "\x1d"
_LABEL = re.compile(r"([A-Za-z][\w' -]{0,40}?)\s*(?:\([^()\n]*\)\s*)?[:=]\s*[\"'`<(\[]*\s*$")
_BEGINS = re.compile(r"^\s*([A-Za-z][\w' -]{0,30}?)\s*:\s")
_TAG = re.compile(r"<([A-Za-z]\w{0,30})>\s*$")
_MESSAGE = re.compile(rf"{BREAK}(\w+)\n$")


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a template that varies.

    Attributes:
        name: From the words before it; a Python identifier, its own within the template.
        type: What its values are.
        examples: Some of its values, the most common first.
        options: All values of a ``"choice"``.
        distinct: Share of its values that are different ones.
    """

    name: str
    type: SlotType
    examples: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    distinct: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "name": self.name,
            "type": self.type,
            "examples": list(self.examples),
            "options": list(self.options),
            "distinct": self.distinct,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(
            data["name"],
            data["type"],
            tuple(data["examples"]),
            tuple(data["options"]),
            data["distinct"],
        )


@dataclass(frozen=True, slots=True)
class Template:
    """Fixed text with slots in it.

    Attributes:
        pieces: The fixed texts before, between and after the slots; the first and last may be
            empty. There is one slot less than there are pieces.
    """

    pieces: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """What prompts have in common, in the order that it has in the first of them."""
        some = texts[:: max(1, len(texts) // _FOLDED)][:_FOLDED]
        if not some:
            return cls(("", ""))
        first = _TOKEN.findall(some[0])[:_WORDS]
        return cls(tuple(_runs(_common(first, [_TOKEN.findall(text)[:_WORDS] for text in some]))))

    @property
    def words(self) -> int:
        """Words of its fixed text."""
        return sum(len(re.findall(r"\w+", _plain(piece))) for piece in self.pieces)

    @property
    def anchored(self) -> bool:
        """Whether a message begins or the prompt ends with its fixed text.

        Instructions do. A turn of phrase that some people use is found anywhere.
        """
        begins = any(re.search(rf"{BREAK}\w+\n\W*\w", piece) for piece in self.pieces)
        return begins or re.search(r"\w", _plain(self.pieces[-1])) is not None

    @property
    def labelled(self) -> bool:
        """Whether it has slots, and words before each of them in the same message."""
        before = self.pieces[:-1]
        return bool(before) and not any(not one or _MESSAGE.search(one) for one in before)

    @property
    def text(self) -> str:
        """Its fixed text, without its slots."""
        return " … ".join(_plain(piece) for piece in self.pieces if _plain(piece))

    def values(self, text: str) -> list[str] | None:
        """What a prompt has in its slots; ``None`` where it has other fixed text."""
        first, *others = self.pieces
        if not text.startswith(first):
            return None
        if not others:
            return []
        *middle, last = others
        place, found = len(first), []
        for piece in middle:
            at = text.find(piece, place)
            if at < 0:
                return None
            found.append(text[place:at])
            place = at + len(piece)
        if len(text) - len(last) < place or not text.endswith(last):
            return None
        found.append(text[place : len(text) - len(last)])
        return [_plain(one) for one in found]

    def filled(self, values: Sequence[str]) -> str:
        """The prompt that has these values in its slots.

        It is `values` turned round, but for white space at the ends of what is in a slot.
        """
        first, *others = self.pieces
        return first + "".join(
            f"{value}{piece}" for value, piece in zip(values, others, strict=True)
        )

    def slots(self, texts: Sequence[str]) -> tuple[Slot, ...]:
        """Its slots, with names and types, by what some prompts have in them."""
        rows = [values for text in texts if (values := self.values(text)) is not None]
        names: list[str] = []
        for piece in self.pieces[:-1]:
            names.append(_unused(_name(piece), names))
        return tuple(
            _slot(name, [values[place] for values in rows]) for place, name in enumerate(names)
        )

    def instructions(self, slots: Sequence[Slot]) -> str:
        """Its fixed text with the slots' names in braces, as a person would read it."""
        text = self.pieces[0]
        for slot, piece in zip(slots, self.pieces[1:], strict=True):
            apart = " " if re.search(r"[\w:=,.]$", text) else ""
            text += f"{apart}{{{slot.name}}}{piece}"
        return re.sub(r"\n{3,}", "\n\n", _plain(text)).strip()


def _common(first: Sequence[str], others: Sequence[Sequence[str]]) -> list[str]:
    """The words of a prompt that most others have in the same order, with gaps between them."""
    had = [0] * len(first)
    # Between two words, before the first and after the last: how often nothing else is there.
    joined = [0] * (len(first) + 1)
    for other in others:
        matcher = SequenceMatcher(None, first, other, autojunk=False)
        end_a = end_b = 0
        for block in matcher.get_matching_blocks():
            if block.a == end_a and block.b == end_b:
                joined[end_a] += block.size > 0 or block.a == len(first)
            for place in range(block.a, block.a + block.size):
                had[place] += 1
                joined[place + 1] += place + 1 < block.a + block.size
            end_a, end_b = block.a + block.size, block.b + block.size
    least = _MOST * len(others)
    found: list[str] = []
    gap = False
    for place, token in enumerate(first):
        gap = gap or joined[place] < least
        if had[place] >= least:
            found += [_GAP, token] if gap else [token]
            gap = False
        else:
            gap = True
    return [*found, _GAP] if gap or joined[len(first)] < least else found


def _runs(tokens: Sequence[str]) -> list[str]:
    """The texts between gaps; what words share by chance goes to the gaps."""
    runs = [""]
    for token in tokens:
        if token == _GAP:
            runs.append("")
        else:
            runs[-1] += token
    first, *others = runs
    if not others:
        return runs
    *middle, last = others
    found = [first if _firm(first) else ""]
    found += [one for one in middle if _firm(one)]
    return [*found, last if _firm(last) else ""]


def _firm(run: str) -> bool:
    """Whether it is more than a word or sign that any prompt may have."""
    count = len(re.findall(r"\w+", run))
    return (
        BREAK in run or count >= 3 or (count >= 1 and bool(re.search(r"[:<>=#\n]", run.rstrip())))
    )


def _plain(text: str) -> str:
    return re.sub(rf"{BREAK}\w+\n", "\n", text).strip()


def _name(before: str) -> str:
    message = _MESSAGE.search(before)
    if message:
        role = message[1].removeprefix("last_")
        return {"tool": "result", "system": "context"}.get(role, "message")
    line = before.rsplit("\n", 1)[-1] or before.rstrip().rsplit("\n", 1)[-1]
    tag = _TAG.search(before)
    label = tag or _LABEL.search(line) or _BEGINS.search(line)
    return slug(" ".join(label[1].split()[-2:])) if label else "text"


def slug(words: str) -> str:
    """A Python identifier of words."""
    found = re.sub(r"\W+", "_", words.lower(), flags=re.ASCII).strip("_")
    if not found or found[0].isdigit():
        found = f"n_{found}".rstrip("_")
    return f"{found}_" if keyword.iskeyword(found) or keyword.issoftkeyword(found) else found


def _unused(name: str, taken: Sequence[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _slot(name: str, values: Sequence[str]) -> Slot:
    counts = Counter(values)
    common = [value for value, _ in counts.most_common() if value]
    examples = tuple(value[:200] for value in common[:_EXAMPLES])
    distinct = len(counts) / max(1, len(values))
    kind = _type(values, counts)
    options = tuple(sorted(counts)) if kind == "choice" else ()
    return Slot(name, kind, examples, options, distinct)


def _type(values: Sequence[str], counts: Counter[str]) -> SlotType:
    if not values or "" in counts:
        return "str"
    if all(value.lower() in ("true", "false") for value in counts):
        return "bool"
    if all(re.fullmatch(r"[+-]?\d{1,15}", value) for value in counts):
        return "int"
    if all(re.fullmatch(r"[+-]?\d{1,15}(\.\d+)?", value) for value in counts):
        return "float"
    short = all(len(value) <= 60 for value in counts)
    if short and len(counts) <= _CHOICES and min(counts.values()) >= 3 and len(values) >= 20:
        return "choice"
    return "json" if all(_is_json(value) for value in counts) else "str"


def _is_json(value: str) -> bool:
    if value[:1] not in "{[":
        return False
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
