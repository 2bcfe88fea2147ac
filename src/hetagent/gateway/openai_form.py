"""Answers in the form of OpenAI's chat completions: whole, and as the events of a stream."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from uuid import uuid4

from hetagent.gateway.sse import Event, event_bytes
from hetagent.learn.loose import mapping

__all__ = [
    "DONE",
    "JSON_HEADERS",
    "STREAM_HEADERS",
    "Chunks",
    "completion",
    "head_of",
    "once",
    "tool_call",
    "usage_json",
    "wants_usage",
]

Json = dict[str, Any]

JSON_HEADERS = ((b"content-type", b"application/json"),)
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)
DONE = event_bytes(Event("[DONE]"))


def head_of(model: str) -> Json:
    """What a completion and each chunk of its stream begin with.

    Args:
        model: As it was asked for.
    """
    return {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}


def completion(
    head: Mapping[str, Any], message: Json, *, finish: str, usage: Json | None, logprobs: Any = None
) -> bytes:
    """A whole answer.

    Args:
        head: As of `head_of`.
        message: Of the assistant.
        finish: Why it ended.
        usage: As of `usage_json`.
        logprobs: Of its tokens.
    """
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", errors="replace")


class Chunks:
    """The events of one stream, as bytes.

    Args:
        head: As of `head_of`.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = {**head, "object": "chat.completion.chunk"}

    def delta(self, delta: Json, *, finish: str | None = None, logprobs: Any = None) -> bytes:
        """A piece of the message, or its end."""
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._event({"choices": [choice]})

    def usage(self, usage: Json | None) -> bytes:
        """The tokens, which are told after the end."""
        return self._event({"choices": [], "usage": usage})

    def _event(self, part: Json) -> bytes:
        return event_bytes(Event(json.dumps({**self._head, **part}, ensure_ascii=False)))


def tool_call(name: str, arguments: str) -> Json:
    """A call of a tool, which gets an id."""
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function}


def usage_json(prompt: int, completion: int, cached: int) -> Json:
    """Tokens of the prompt, of the answer, and of the prompt those that came from a cache."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def wants_usage(data: Mapping[str, Any]) -> bool:
    """Whether a request asks for the tokens at the end of its stream."""
    return mapping(data.get("stream_options")).get("include_usage") is True


async def once(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    """A body that is known as a whole, in pieces."""
    for piece in pieces:
        yield piece
