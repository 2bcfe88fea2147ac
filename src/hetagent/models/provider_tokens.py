"""The tokens of a remote answer, each with its probability under the output type's constraint.

Servers with an OpenAI-like API report, for every token, its probability and those of the likeliest
alternatives. Some report them after the grammar's mask (vLLM and SGLang mask the logits before they
sample), some before it (llama.cpp samples first and checks afterwards), and none says which. Both
are read the same way. The answer is followed through the constraint, byte by byte, and at each
token

    p = same / (1 - forbidden - blank)

- *same*: the chosen token, and alternatives that can only lead to the same text: another way to
  cut it into tokens, which decides nothing.
- *forbidden*: alternatives that the constraint does not allow here. After a mask there are none.
- *blank*: alternatives that are only white space between two JSON tokens.

What the server does not list counts as allowed. So ``p`` is never more than the probability under
the mask, and comes the closer to it the more alternatives are listed. Bytes that the constraint
forces decide nothing, nor does white space between JSON tokens, which servers' grammars leave free.

An answer that cannot be followed exactly gives no tokens at all: where the tokens do not spell it,
or where it is written in a way that our constraint does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hetagent.models.base import Token
from hetagent.models.json_bytes import Significant, meaning, read_object, same_start, significant
from hetagent.models.structured import object_span, root_schema
from hetagent.schema import OutputType

__all__ = ["answer_tokens"]

Schema = dict[str, Any]

UNKNOWN_ID = -1
"""The number of a token whose server does not tell it."""
_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
_CLOSERS = (b",", b"}", b"]")


def answer_tokens(
    logprobs: Any, *, content: str, output: OutputType[Any], text: str
) -> tuple[Token, ...] | None:
    """Read an answer's tokens.

    Args:
        logprobs: The ``logprobs`` of the response's choice.
        content: What the model wrote.
        output: The type of the answer.
        text: The answer in the output type's own form, as `structured.read` gives it. The tokens
            returned spell this text.

    Returns:
        The tokens that hold a part of the text, or decide where it ends; ``None`` where the server
        sent no probabilities or they cannot be told apart with certainty.
    """
    entries = _entries(logprobs)
    span = object_span(content)
    if not entries or span is None:
        return None
    spelled = b"".join(entry.piece for entry in entries)
    whole = content.encode("utf-8", "replace")
    before = spelled.rfind(whole)  # thoughts may come before it, and the end of turn behind
    if before < 0 or not whole:
        return None
    start = before + len(content[: span[0]].encode("utf-8", "replace"))
    answer = read_object(content[slice(*span)].encode("utf-8", "replace"), start)
    schema = _in_order_of(root_schema(output), answer.text)
    tokens = _Follower(schema, answer, meaning(answer, output)).follow(entries)
    if tokens is None or b"".join(token.text for token in tokens) != text.encode():
        return None
    return tokens


@dataclass(frozen=True, slots=True)
class _Alternative:
    piece: bytes | None  # None where the server does not tell its bytes
    probability: float


@dataclass(frozen=True, slots=True)
class _Entry:
    id: int
    piece: bytes
    probability: float
    others: tuple[_Alternative, ...]


def _entries(logprobs: Any) -> list[_Entry] | None:
    """What the server reports, or nothing where it is not of the API's form."""
    content = _get(logprobs, "content")
    if not isinstance(content, Sequence):
        return None
    entries = []
    for item in content:
        number, logprob, piece = _get(item, "id"), _get(item, "logprob"), _bytes(item)
        if not isinstance(logprob, int | float) or math.isnan(logprob) or piece is None:
            return None
        entries.append(
            _Entry(
                number if isinstance(number, int) else UNKNOWN_ID,
                piece,
                _probability(logprob),
                tuple(_others(item, piece, logprob)),
            )
        )
    return entries


def _others(item: Any, piece: bytes, logprob: float) -> Iterator[_Alternative]:
    """The alternatives, without the chosen token where it is among them."""
    chosen_seen = False
    for other in _get(item, "top_logprobs") or ():
        value, its = _get(other, "logprob"), _bytes(other)
        if not isinstance(value, int | float) or math.isnan(value):
            continue
        if not chosen_seen and its == piece and math.isclose(value, logprob, abs_tol=1e-6):
            chosen_seen = True
            continue
        # Without bytes, no text stands for a special token or for a part of a character.
        unclear = not its and _get(other, "bytes") is None
        yield _Alternative(None if unclear else its, _probability(value))


def _bytes(item: Any) -> bytes | None:
    given, text = _get(item, "bytes"), _get(item, "token")
    if given is not None:
        try:
            return bytes(given)
        except (TypeError, ValueError):
            return None
    return text.encode("utf-8", "replace") if isinstance(text, str) else None


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _probability(logprob: float) -> float:
    return math.exp(min(0.0, logprob))


def _log(probability: float) -> float:
    return math.log(min(1.0, probability)) if probability > 0.0 else -math.inf


def _in_order_of(schema: Schema, answer: bytes) -> Schema:
    """The schema with its properties in the order of the answer's keys.

    Not every server keeps to the schema's own: llama-cpp-python's sorts them.
    """
    places: dict[str, int] = {}
    json.loads(answer, object_pairs_hook=lambda pairs: _note(places, pairs))

    def ordered(part: Any) -> Any:
        if isinstance(part, list):
            return [ordered(item) for item in part]
        if not isinstance(part, dict):
            return part
        result = {key: ordered(inner) for key, inner in part.items()}
        if isinstance(part.get("properties"), dict):
            found = result["properties"]
            names = sorted(found, key=lambda name: places.get(name, len(places)))
            result["properties"] = {name: found[name] for name in names}
        return result

    return dict(ordered(schema))


def _note(places: dict[str, int], pairs: list[tuple[str, Any]]) -> None:
    for name, _ in pairs:
        places.setdefault(name, len(places))


@lru_cache(maxsize=128)
def _matcher(schema: str) -> Any:
    """Matches the bytes of compact JSON; to be copied before use."""
    import llguidance

    return llguidance.LLMatcher(llguidance.LLTokenizer("byte"), schema)


def _start(schema: Schema) -> Any:
    import llguidance

    compact = json.dumps({**schema, "x-guidance": _COMPACT})
    return _matcher(llguidance.grammar_from("json_schema", compact)).deep_copy()


class _Follower:
    """One answer on its way through the constraint.

    Args:
        schema: Of the object that travelled.
        answer: The object's significant bytes.
        meaning: For each of them, the bytes of the answer's text that it stands for.
    """

    def __init__(self, schema: Schema, answer: Significant, meaning: Sequence[bytes]) -> None:
        self._matcher = _start(schema)
        self._answer = answer
        self._meaning = meaning

    def follow(self, entries: Sequence[_Entry]) -> tuple[Token, ...] | None:
        """The tokens, or ``None`` where the constraint does not have this answer."""
        tokens: list[Token] = []
        at = offset = 0
        held_back = False
        if self._matcher.is_error():
            return None
        for entry in entries:
            offset += len(entry.piece)
            end = self._answer.count_before(offset)
            if not entry.piece and 0 < at < len(self._answer.text):
                # A part of a character: llama.cpp's server sends it with the last part.
                tokens.append(Token(entry.id, b"", _log(entry.probability), 0.0, 0))
                held_back = True
            if end > at:
                tokens += self._token(entry, at, end, alone=held_back)
                held_back = False
                if not self._matcher.consume_tokens(list(self._answer.text[at:end])):
                    return None
            at = end
        return tuple(tokens)

    def _token(self, entry: _Entry, at: int, end: int, *, alone: bool) -> Iterator[Token]:
        """One token's part of the text; in two where only the end behind it was free.

        Args:
            entry: What the server reported.
            at: Where its significant bytes begin.
            end: Where they end.
            alone: Whether its alternatives are those of another place in the text, and tell
                nothing.
        """
        piece = self._answer.text[at:end]
        text = b"".join(self._meaning[at:end])
        forced = same_start(bytes(self._matcher.compute_ff_bytes()), piece)
        if forced == len(piece):
            if text:
                yield Token(entry.id, text, 0.0, 0.0, len(text))
            return
        logprob, outside = (_log(entry.probability), 0.0) if alone else self._score(entry, at, end)
        free = len(b"".join(self._meaning[at : at + forced]))
        if text and free == len(text):
            yield Token(entry.id, text, 0.0, 0.0, free)
            text, free = b"", 0
        yield Token(entry.id, text, logprob, outside, free)

    def _score(self, entry: _Entry, at: int, end: int) -> tuple[float, float]:
        """Logarithm of ``p``, and the mass of the alternatives that are forbidden."""
        same, forbidden, blank = entry.probability, 0.0, 0.0
        for other in entry.others:
            if other.piece is None:
                continue
            piece, ends_number = significant(other.piece, self._answer.state(at))
            if ends_number:
                piece += self._closer(piece, at)
            if not piece:
                # Nothing at all is a special token, such as the end of turn.
                blank += other.probability if other.piece else 0.0
                forbidden += other.probability if not other.piece else 0.0
            elif self._matcher.validate_tokens(list(piece)) < len(piece):
                forbidden += other.probability
            elif self._leads_to(piece, at, end):
                same += other.probability
        allowed = max(1.0 - forbidden - blank, same)
        return _log(same / allowed if allowed else 0.0), min(1.0, forbidden)

    def _closer(self, piece: bytes, at: int) -> bytes:
        """What white space behind a number stands for: whatever ends the number."""
        actual = self._answer.text[at : at + len(piece) + 1]
        if actual[:-1] == piece and actual[-1:] in _CLOSERS:
            return actual[-1:]
        possible = (
            c for c in _CLOSERS if self._matcher.validate_tokens(list(piece + c)) > len(piece)
        )
        return next(possible, _CLOSERS[0])

    def _leads_to(self, piece: bytes, at: int, end: int) -> bool:
        """Whether a piece, with what the constraint then forces, spells this answer."""
        rest = self._answer.text[at:]
        if not rest.startswith(piece):
            return False
        if len(piece) >= end - at:
            return True
        self._matcher.consume_tokens(list(piece))
        reached = piece + bytes(self._matcher.compute_ff_bytes())
        self._matcher.rollback(len(piece))
        return len(reached) >= end - at and rest.startswith(reached)
