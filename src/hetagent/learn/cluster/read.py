"""What clustering takes of a call: the prompt's words, what it asks for, what came of it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.chat import Chat, Said, chat
from hetagent.learn.record import CallRecord, Form

__all__ = [
    "BREAK",
    "SHINGLE",
    "Call",
    "Hashes",
    "as_record",
    "instructed",
    "prompt_parts",
    "read_call",
    "shingles",
    "whole_prompt",
    "words",
]

Hashes = NDArray[np.uint64]

BREAK = "\x1e"
"""Begins each message of a prompt; its role and a line's end follow."""

SHINGLE = 8
"""Words in a row that are taken for one sign of a template. Runs of eight are rare in what people
write, and fixed instructions are seldom shorter."""

# What a message is cut to, so that reading one takes bounded time, however long it is.
_HEAD, _TAIL = 6000, 2000

_WORD = re.compile(r"\x1e\w+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Call:
    """What clustering takes of one call.

    Attributes:
        text: The prompt: system messages, the first of the user's, and the last message.
        said: The user's words in it: the last of the user's messages.
        tools: Names of the tools offered, sorted.
        schema: The schema that was asked for, as JSON; ``""`` for none, and ``"json"`` where JSON
            of any form was asked for.
        turns: Messages of the assistant that came before.
        answer: What the model said; ``None`` where it said nothing or the call failed.
        called: The tool that it called first; ``""`` for none.
        arguments: What it called it with, as the model wrote it.
    """

    text: str
    said: str
    tools: tuple[str, ...] = ()
    schema: str = ""
    turns: int = 0
    answer: str | None = None
    called: str = ""
    arguments: str = ""


def read_call(record: CallRecord) -> Call:
    """Read a record of any form."""
    found = chat(record)
    answer = found.answer
    users = [one.text for one in found.messages if one.role == "user"]
    called = answer.calls[0] if answer is not None and answer.calls else None
    return Call(
        text=_prompt(found.messages),
        said=_cut(users[-1]) if users else "",
        tools=tuple(sorted({one.name for one in found.tools})),
        schema=_schema(found),
        turns=sum(one.role == "assistant" for one in found.messages),
        answer=None if answer is None else answer.text.strip(),
        called=called.name if called else "",
        arguments=called.arguments if called else "",
    )


def whole_prompt(record: CallRecord) -> str:
    """What `Call.text` is of a call, but nothing of it is cut."""
    return _prompt(chat(record).messages, most=None)


def as_record(request: Mapping[str, Any], *, form: Form = "openai.chat") -> CallRecord:
    """A request that has no response yet, as a record."""
    now = datetime.now(UTC)
    return CallRecord(id="", time=now, form=form, source="gateway", model="", request=request)


def words(text: str) -> list[str]:
    """Its words and signs, without white space."""
    return _WORD.findall(text)


def instructed(text: str) -> int:
    """How many words of a prompt, `Call.text`, are in the system messages that it begins with."""
    others = re.search(rf"{BREAK}(?!system\n)", text)
    return len(words(text[: others.start()] if others else text))


def shingles(text: str) -> Hashes:
    """Hashes of all runs of `SHINGLE` words in it; the same in every process.

    Returns:
        Shape ``(runs,)``, in order and not made unique; empty where the text is shorter.
    """
    found = words(text)
    count = len(found) - SHINGLE + 1
    if count < 1:
        return np.empty(0, np.uint64)
    hashed = np.fromiter(map(_CODES.__getitem__, found), np.uint64, len(found))
    total = np.zeros(count, np.uint64)
    for place, factor in enumerate(_FACTORS):
        total += hashed[place : place + count] * factor
    return total ^ (total >> np.uint64(29))


class _Codes(dict[str, int]):
    """64 bits for each word. Memory is bounded: what was learned is forgotten when it is much."""

    def __missing__(self, word: str) -> int:
        if len(self) > 200_000:
            self.clear()
        data = word.encode("utf-8", "surrogatepass")
        code = self[word] = zlib.crc32(data) << 32 | zlib.crc32(data, 0x9E3779B9)
        return code


_CODES = _Codes()
# Powers of an odd number: the polynomial hash of Karp and Rabin (1987), modulo 2 to the 64.
_FACTORS = [np.uint64(pow(0x9E3779B97F4A7C15, place + 1, 2**64)) for place in range(SHINGLE)]


def _prompt(messages: Sequence[Said], *, most: int | None = _HEAD + _TAIL) -> str:
    return "".join(f"{BREAK}{role}\n{_cut(text, most)}\n" for role, text in _kept(messages))


def prompt_parts(text: str) -> list[tuple[str, str]]:
    """The messages of a prompt, each with its role, from `Call.text`."""
    parts = (part.partition("\n") for part in text.split(BREAK)[1:])
    return [(role, said.removesuffix("\n")) for role, _, said in parts]


def _kept(messages: Sequence[Said]) -> Iterable[tuple[str, str]]:
    """System messages, the user's first, and the last; what lies between is history."""
    for one in messages:
        if one.role == "system":
            yield "system", one.text
    others = [one for one in messages if one.role != "system"]
    if others:
        yield others[0].role, others[0].text
    if len(others) > 1:
        yield f"last_{others[-1].role}", others[-1].text


def _cut(text: str, most: int | None = _HEAD + _TAIL) -> str:
    text = text.replace(BREAK, " ")
    return text if most is None or len(text) <= most else f"{text[:_HEAD]} … {text[-_TAIL:]}"


def _schema(found: Chat) -> str:
    if found.schema is not None:
        return json.dumps(found.schema, ensure_ascii=False)
    return "json" if found.json else ""
