"""What was said as a whole, as the answer to a call: in the form of its API, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from hetagent.gateway.calls import Answer, Call
from hetagent.gateway.headers import Headers
from hetagent.gateway.openai_form import (
    DONE,
    JSON_HEADERS,
    STREAM_HEADERS,
    Chunks,
    completion,
    head_of,
    once,
    tool_call,
    usage_json,
    wants_usage,
)
from hetagent.gateway.sse import Event, event_bytes
from hetagent.learn.chat import Said
from hetagent.learn.record import Usage

__all__ = ["answer_with"]

Json = dict[str, Any]


def answer_with(said: Said, call: Call, *, usage: Usage, headers: Headers = ()) -> Answer:
    """The answer that says it.

    Args:
        said: The message; arguments of its tool calls are JSON.
        call: What is answered: a call of OpenAI's chat completions, also in Azure's form, or of
            Anthropic's messages.
        usage: The tokens that it took.
        headers: Further ones.
    """
    anthropic = call.form == "anthropic.messages"
    if not call.streamed:
        body = _message(said, call, usage) if anthropic else _completion(said, call, usage)
        return Answer(200, [*JSON_HEADERS, *headers], once(body))
    events = _message_events(said, call, usage) if anthropic else _chunks(said, call, usage)
    pieces = once(*events)
    return Answer(200, [*STREAM_HEADERS, *headers], pieces, pieces.aclose, lambda: usage)


def _completion(said: Said, call: Call, usage: Usage) -> bytes:
    message: Json = {"role": "assistant", "content": _content(said)}
    if said.calls:
        message["tool_calls"] = [tool_call(one.name, one.arguments) for one in said.calls]
    head = head_of(call.model)
    return completion(head, message, finish=_finish(said), usage=_openai_usage(usage))


def _chunks(said: Said, call: Call, usage: Usage) -> Iterator[bytes]:
    chunks = Chunks(head_of(call.model))
    yield chunks.delta({"role": "assistant", "content": None if said.calls else ""})
    if said.text:
        yield chunks.delta({"content": said.text})
    for place, one in enumerate(said.calls):
        begun = tool_call(one.name, "")
        yield chunks.delta({"tool_calls": [{"index": place, **begun}]})
        written = {"index": place, "function": {"arguments": one.arguments}}
        yield chunks.delta({"tool_calls": [written]})
    yield chunks.delta({}, finish=_finish(said))
    if wants_usage(call.data):
        yield chunks.usage(_openai_usage(usage))
    yield DONE


def _content(said: Said) -> str | None:
    """A message that only calls tools has none."""
    return said.text or (None if said.calls else "")


def _finish(said: Said) -> str:
    return "tool_calls" if said.calls else "stop"


def _openai_usage(usage: Usage) -> Json:
    return usage_json(usage.prompt or 0, usage.completion or 0, usage.cached or 0)


def _message(said: Said, call: Call, usage: Usage) -> bytes:
    text = [{"type": "text", "text": said.text}] if said.text or not said.calls else []
    content = [*text, *(_tool_use(one.name, json.loads(one.arguments)) for one in said.calls)]
    tokens = {**_read(usage), "output_tokens": usage.completion or 0}
    whole = {**_empty(call), "content": content, "stop_reason": _stop(said), "usage": tokens}
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", errors="replace")


def _message_events(said: Said, call: Call, usage: Usage) -> Iterator[bytes]:
    begun = {**_empty(call), "usage": {**_read(usage), "output_tokens": 0}}
    yield _event("message_start", message=begun)
    texts = [said.text] if said.text or not said.calls else []
    for place, text in enumerate(texts):
        yield from _block(place, {"type": "text", "text": ""}, type="text_delta", text=text)
    for place, one in enumerate(said.calls, len(texts)):
        block = _tool_use(one.name, {})
        yield from _block(place, block, type="input_json_delta", partial_json=one.arguments)
    yield _event(
        "message_delta",
        delta={"stop_reason": _stop(said), "stop_sequence": None},
        usage={"output_tokens": usage.completion or 0},
    )
    yield _event("message_stop")


def _empty(call: Call) -> Json:
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _tool_use(name: str, arguments: Any) -> Json:
    return {
        "type": "tool_use",
        "id": f"toolu_{uuid4().hex[:24]}",
        "name": name,
        "input": arguments,
    }


def _stop(said: Said) -> str:
    return "tool_use" if said.calls else "end_turn"


def _read(usage: Usage) -> Json:
    """Tokens of a prompt as Anthropic tells them: those from a cache are not among the others."""
    cached = usage.cached or 0
    return {"input_tokens": (usage.prompt or 0) - cached, "cache_read_input_tokens": cached}


def _block(place: int, block: Json, **delta: Any) -> Iterator[bytes]:
    yield _event("content_block_start", index=place, content_block=block)
    yield _event("content_block_delta", index=place, delta=delta)
    yield _event("content_block_stop", index=place)


def _event(name: str, **data: Any) -> bytes:
    return event_bytes(Event(json.dumps({"type": name, **data}, ensure_ascii=False), name))
