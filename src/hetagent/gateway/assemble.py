"""Streams put together again: the response that would have come without ``stream``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hetagent.gateway.merging import merge
from hetagent.gateway.sse import Event, EventReader
from hetagent.learn.loose import mapping

__all__ = ["Assembled", "assemble_anthropic", "assemble_openai"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a stream said.

    Attributes:
        response: The whole response, as far as it came; ``None`` where nothing did.
        error: The error that the server sent within the stream.
        complete: Whether the server ended it as the API ends streams.
        first: When the first of the answer itself came: the time of that piece.
    """

    response: Json | None
    error: Json | None
    complete: bool
    first: float | None


def assemble_openai(pieces: Iterable[tuple[float, bytes]]) -> Assembled:
    """Put a stream of ``chat.completion.chunk`` together.

    Args:
        pieces: Of the stream, in any cut, each with the time at which it came.
    """
    return _assemble(pieces, _OpenAI())


def assemble_anthropic(pieces: Iterable[tuple[float, bytes]]) -> Assembled:
    """Put a stream of Anthropic's message events together; see `assemble_openai`.

    The input of a tool call that broke off is kept as the string that came.
    """
    return _assemble(pieces, _Anthropic())


class _Assembler(Protocol):
    error: Json | None
    ended: bool

    def take(self, event: Event) -> bool:
        """Take an event; whether it holds some of the answer itself."""

    def response(self) -> Json | None:
        """What came so far."""


def _assemble(pieces: Iterable[tuple[float, bytes]], assembler: _Assembler) -> Assembled:
    reader = EventReader()
    first = None
    last = 0.0
    for time, piece in pieces:
        last = time
        for event in reader.feed(piece):
            if assembler.take(event) and first is None:
                first = time
    for event in reader.end():
        if assembler.take(event) and first is None:
            first = last
    complete = assembler.ended and assembler.error is None
    return Assembled(assembler.response(), assembler.error, complete, first)


class _OpenAI:
    def __init__(self) -> None:
        self.error: Json | None = None
        self.ended = False
        self._head: Json = {}
        self._choices: dict[int, Json] = {}

    def take(self, event: Event) -> bool:
        if event.data.strip() == "[DONE]":
            self.ended = True
            return False
        chunk = _object(event.data)
        if chunk is None:
            return False
        if isinstance(error := chunk.get("error"), dict | str) and error:
            self.error = error if isinstance(error, dict) else {"message": error}
            return False
        for name, value in chunk.items():
            # Usage comes last, after nulls; what a server says once it need not say again.
            if name != "choices" and (value is not None or name not in self._head):
                self._head[name] = value
        said = [self._choice(one) for one in _objects(chunk.get("choices"))]
        if self._choices and all(one.get("finish_reason") for one in self._choices.values()):
            self.ended = True  # some servers leave out the mark
        return any(said)

    def response(self) -> Json | None:
        if not self._head and not self._choices:
            return None
        choices = [self._choices[index] for index in sorted(self._choices)]
        head = {**self._head, "object": "chat.completion"}
        # Servers that tell it at the end say null before.
        usage = head.pop("usage", None)
        return {**head, "choices": choices, **({} if usage is None else {"usage": usage})}

    def _choice(self, one: Json) -> bool:
        index = one.get("index")
        index = index if isinstance(index, int) else 0
        empty: Json = {"index": index, "message": {"role": "assistant", "content": None}}
        whole = self._choices.setdefault(index, {**empty, "finish_reason": None})
        delta = one.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        merge(whole["message"], delta)
        if isinstance(logprobs := one.get("logprobs"), dict):
            if not isinstance(whole.get("logprobs"), dict):
                whole["logprobs"] = {}
            merge(whole["logprobs"], logprobs)
        for name, value in one.items():
            if name not in ("index", "delta", "logprobs") and (
                value is not None or name not in whole
            ):
                whole[name] = value
        return any(value for name, value in delta.items() if name != "role")


class _Anthropic:
    def __init__(self) -> None:
        self.error: Json | None = None
        self.ended = False
        self._message: Json | None = None
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, str] = {}

    def take(self, event: Event) -> bool:
        data = _object(event.data)
        if data is None:
            return False
        kind = data.get("type") or event.name
        if kind == "error":
            self.error = dict(mapping(data.get("error")))
        elif kind == "message_start":
            self._message = dict(mapping(data.get("message")))
        elif kind == "message_delta":
            self._end_of_message(data)
        elif kind == "message_stop":
            self.ended = True
        elif kind == "content_block_start":
            block = dict(mapping(data.get("content_block")))
            self._blocks[_index(data)] = block
            return block.get("type") == "tool_use" or bool(block.get("text"))
        elif kind == "content_block_delta":
            return self._delta(_index(data), mapping(data.get("delta")))
        return False

    def response(self) -> Json | None:
        if self._message is None and not self._blocks:
            return None
        for index, written in self._inputs.items():
            found = _object(written)
            self._blocks[index]["input"] = written if found is None else found
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return {**(self._message or {}), "content": content}

    def _end_of_message(self, data: Json) -> None:
        message = self._message if self._message is not None else {}
        message.update(mapping(data.get("delta")))
        if usage := mapping(data.get("usage")):
            # Counts of the whole message so far, not of this event.
            known = {name: value for name, value in usage.items() if value is not None}
            message["usage"] = {**mapping(message.get("usage")), **known}
        self._message = message

    def _delta(self, index: int, delta: Mapping[str, Any]) -> bool:
        block = self._blocks.setdefault(index, {})
        kind = delta.get("type")
        if kind == "input_json_delta":
            piece = delta.get("partial_json")
            piece = piece if isinstance(piece, str) else ""
            # A tool without arguments is told by an empty piece, or by none at all.
            if piece or index in self._inputs:
                self._inputs[index] = self._inputs.get(index, "") + piece
            return bool(piece)
        if kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
            return False
        said = {name: value for name, value in delta.items() if name != "type"}
        merge(block, said)
        return any(said.values())


def _object(text: str) -> Json | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _index(data: Json) -> int:
    index = data.get("index")
    return index if isinstance(index, int) else 0
