"""Spans by OpenTelemetry's conventions for generative AI.

Messages are read where any version of the conventions has had them: in attributes as JSON
(``gen_ai.input.messages``), in events for each message or for all, and in numbered attributes
(``gen_ai.prompt.0.content``). Names follow
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hetagent.integrations.imported import count, mapping, number, sequence, text
from hetagent.integrations.span_calls import SpanCall, answer, finish, indexed, loaded, tool_call
from hetagent.learn.record import Usage

__all__ = ["genai_call"]

Json = dict[str, Any]
Events = Sequence[tuple[str, dict[str, Any]]]

_CALLS = ("chat", "text_completion", "generate_content", "embeddings", "completion")
_PARAMETERS = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.seed": "seed",
    "gen_ai.openai.request.seed": "seed",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.stream": "stream",
}
_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


def genai_call(attributes: Mapping[str, Any], events: Events) -> SpanCall | None:
    """The model call of a span; ``None`` where it is none, such as an agent's or a tool's."""
    known = dict(attributes)
    for _, one in events:
        # One event may have the attributes that hold texts, beside the span.
        known |= {key: value for key, value in one.items() if key.startswith("gen_ai.")}
    operation = known.get("gen_ai.operation.name") or known.get("llm.request.type")
    if operation not in _CALLS and (operation or not _has_messages(known)):
        return None
    model = text(known.get("gen_ai.request.model"))
    request: Json = {"model": model} if model else {}
    for key, name in _PARAMETERS.items():
        if known.get(key) is not None:
            request[name] = known[key]
    asked = _asked(known, events)
    if operation == "embeddings":
        request["input"] = [one.get("content") for one in asked]
    else:
        request["messages"] = asked
    tools = _tools(known)
    if tools:
        request["tools"] = tools
    choices = _choices(known, events)
    return SpanCall(
        request=request,
        response=answer(text(known.get("gen_ai.response.model")), choices),
        answered=bool(choices) or operation == "embeddings",
        usage=_usage(known),
        cost_usd=number(known.get("gen_ai.usage.cost")),
        first_token_seconds=number(known.get("gen_ai.response.time_to_first_chunk")),
        conversation=text(known.get("gen_ai.conversation.id")) or text(known.get("session.id")),
        client=text(known.get("user.id")) or text(known.get("enduser.id")),
        failure=text(known.get("error.type")),
    )


def _has_messages(known: Mapping[str, Any]) -> bool:
    return any(
        key == "gen_ai.input.messages" or key.startswith("gen_ai.prompt.0.") for key in known
    )


def _asked(known: Mapping[str, Any], events: Events) -> list[Json]:
    system = _parts_text(loaded(known.get("gen_ai.system_instructions")))
    before = [{"role": "system", "content": system}] if system else []
    given = loaded(known.get("gen_ai.input.messages") or known.get("gen_ai.prompt"))
    if isinstance(given, str):
        return [*before, {"role": "user", "content": given}]
    if given:
        return before + [said for one in sequence(given) for said in _messages(mapping(one))]
    found = [_event_message(_ROLES[name], one) for name, one in events if name in _ROLES]
    return before + (found or [_numbered(one) for one in indexed(known, "gen_ai.prompt")])


def _choices(known: Mapping[str, Any], events: Events) -> list[tuple[Json, str | None]]:
    reasons = sequence(loaded(known.get("gen_ai.response.finish_reasons")))
    reason = finish(reasons[0]) if reasons else None
    given = loaded(known.get("gen_ai.output.messages") or known.get("gen_ai.completion"))
    if isinstance(given, str):
        return [({"role": "assistant", "content": given}, reason or "stop")]
    found: list[tuple[Json, str | None]] = [
        (said, finish(one.get("finish_reason")) or reason)
        for one in map(mapping, sequence(given))
        for said in _messages(one)
    ]
    if found:
        return found
    for name, one in events:
        if name == "gen_ai.choice":
            message = mapping(loaded(one.get("message"))) or one
            why = finish(one.get("finish_reason")) or reason
            found.append((_event_message("assistant", message), why))
    return found or [
        (_numbered(one), finish(one.get("finish_reason")) or reason)
        for one in indexed(known, "gen_ai.completion")
    ]


def _messages(one: Json) -> list[Json]:
    """A message of parts; results of tools are messages of their own."""
    if "parts" not in one:
        return [one] if one else []
    results, calls, said = [], [], []
    for part in map(mapping, sequence(loaded(one["parts"]))):
        kind = part.get("type")
        if kind == "tool_call":
            calls.append(tool_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            given = part.get("response", part.get("result"))
            content = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            results.append({"role": "tool", "tool_call_id": part.get("id"), "content": content})
        elif kind == "text":
            said.append(part.get("content"))
    texts = [one for one in said if isinstance(one, str)]
    if results and not texts and not calls:
        return results
    message: Json = {"role": one.get("role") or "user", "content": "\n\n".join(texts) or None}
    if not calls:
        message["content"] = message["content"] or ""
    return [*results, {**message, **({"tool_calls": calls} if calls else {})}]


def _event_message(role: str, given: Json) -> Json:
    """A message that an event has in its attributes, or in a body of its own."""
    given = mapping(loaded(given.get("body"))) or mapping(loaded(given.get("event_body"))) or given
    content = given.get("content") or given.get("gen_ai.event.content")
    message: Json = {"role": text(given.get("role")) or role, "content": content}
    calls = sequence(loaded(given.get("tool_calls")))
    if calls:
        message["tool_calls"] = calls
    if role == "tool":
        message["tool_call_id"] = given.get("id") or ""
    return message


def _numbered(one: Json) -> Json:
    message: Json = {"role": one.get("role") or "assistant", "content": one.get("content")}
    calls = [
        tool_call(call.get("id"), call.get("name"), call.get("arguments") or "")
        for call in indexed(one, "tool_calls")
    ]
    if calls:
        message["tool_calls"] = calls
    if one.get("tool_call_id"):
        message["tool_call_id"] = one["tool_call_id"]
    return message


def _parts_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    parts = [mapping(one).get("content") for one in sequence(value)]
    return "\n\n".join(one for one in parts if isinstance(one, str))


def _tools(known: Mapping[str, Any]) -> list[Json]:
    given = loaded(known.get("gen_ai.tool.definitions"))
    tools = [mapping(one) for one in sequence(given)] or [
        {
            "name": one.get("name"),
            "description": one.get("description"),
            "parameters": loaded(one.get("parameters")),
        }
        for one in indexed(known, "llm.request.functions")
    ]
    return [one if "function" in one else _tool(one) for one in tools]


def _tool(one: Json) -> Json:
    function = {key: value for key, value in one.items() if key != "type" and value is not None}
    return {"type": "function", "function": function}


def _usage(known: Mapping[str, Any]) -> Usage:
    def first(*names: str) -> int | None:
        return next((count(known[name]) for name in names if known.get(name) is not None), None)

    return Usage(
        first("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        first("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        first("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        first("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    )
