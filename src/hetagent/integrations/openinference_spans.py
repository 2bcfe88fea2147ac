"""Spans by OpenInference's conventions, as Phoenix and its instrumentations write them.

Names follow https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hetagent.integrations.imported import count, mapping, number, text
from hetagent.integrations.span_calls import SpanCall, answer, finish, indexed, loaded, tool_call
from hetagent.learn.litellm_calls import BODY_PARAMETERS
from hetagent.learn.record import Usage

__all__ = ["openinference_call"]

Json = dict[str, Any]

_KIND = "openinference.span.kind"
_NAMED = ("model", "messages", "tools", "input")  # which the body has from attributes of their own


def openinference_call(
    attributes: Mapping[str, Any], events: Sequence[tuple[str, dict[str, Any]]]
) -> SpanCall | None:
    """The model call of a span; ``None`` where it is a chain's, a tool's or an agent's."""
    kind = str(attributes.get(_KIND)).upper()
    if kind == "EMBEDDING":
        return _embedding(attributes)
    if kind != "LLM":
        return None
    given = mapping(loaded(attributes.get("llm.invocation_parameters")))
    model = text(attributes.get("llm.model_name"))
    asked = [_message(one) for one in indexed(attributes, "llm.input_messages")]
    request: Json = {
        "model": text(given.get("model")) or model,
        "messages": asked or _said(attributes.get("input.value"), "user"),
        **{key: given[key] for key in given if key in BODY_PARAMETERS and key not in _NAMED},
    }
    tools = [loaded(one.get("tool.json_schema")) for one in indexed(attributes, "llm.tools")]
    if tools:
        request["tools"] = [one for one in tools if isinstance(one, Mapping)]
    said = [_message(one) for one in indexed(attributes, "llm.output_messages")]
    said = said or _said(attributes.get("output.value"), "assistant")
    why = finish(attributes.get("llm.finish_reason"))
    choices = [(one, why or ("tool_calls" if one.get("tool_calls") else "stop")) for one in said]
    return SpanCall(
        request=request,
        response=answer(model, choices),
        answered=bool(choices),
        usage=_usage(attributes),
        cost_usd=number(attributes.get("llm.cost.total")),
        **_labels(attributes),
    )


def _embedding(attributes: Mapping[str, Any]) -> SpanCall:
    """Its vectors are left out, for a text can be guessed back from one."""
    model = text(attributes.get("embedding.model_name"))
    texts = [one.get("embedding.text") for one in indexed(attributes, "embedding.embeddings")]
    return SpanCall(
        request={"model": model, "input": texts},
        response={"object": "list", **({"model": model} if model else {})},
        answered=True,
        usage=_usage(attributes),
        **_labels(attributes),
    )


def _labels(attributes: Mapping[str, Any]) -> dict[str, Any]:
    metadata = mapping(loaded(attributes.get("metadata")))
    return {
        "conversation": text(attributes.get("session.id")),
        "client": text(attributes.get("user.id")),
        "workload": text(metadata.get("hetagent_workload")) or text(metadata.get("workload")),
    }


def _said(value: Any, role: str) -> list[Json]:
    """The message of a span that has no messages, only a text."""
    given = text(value)
    return [{"role": role, "content": given}] if given else []


def _message(one: Json) -> Json:
    content = one.get("message.content")
    if content is None:
        parts = [_part(part) for part in indexed(one, "message.contents")]
        content = [part for part in parts if part] or None
    message: Json = {"role": one.get("message.role") or "user", "content": content}
    calls = [
        tool_call(
            call.get("tool_call.id"),
            call.get("tool_call.function.name"),
            call.get("tool_call.function.arguments") or "",
        )
        for call in indexed(one, "message.tool_calls")
    ]
    if calls:
        message["tool_calls"] = calls
    if one.get("message.function_call_name"):
        message["function_call"] = {
            "name": one["message.function_call_name"],
            "arguments": one.get("message.function_call_arguments_json") or "",
        }
    if one.get("message.tool_call_id"):
        message["tool_call_id"] = one["message.tool_call_id"]
    return message


def _part(part: Json) -> Json:
    if part.get("message_content.type") == "text":
        return {"type": "text", "text": part.get("message_content.text")}
    url = part.get("message_content.image.image.url")
    return {"type": "image_url", "image_url": {"url": url}} if url else {}


def _usage(attributes: Mapping[str, Any]) -> Usage:
    def tokens(name: str) -> int | None:
        return count(attributes.get(f"llm.token_count.{name}"))

    return Usage(
        tokens("prompt"),
        tokens("completion"),
        tokens("prompt_details.cache_read"),
        tokens("completion_details.reasoning"),
    )
