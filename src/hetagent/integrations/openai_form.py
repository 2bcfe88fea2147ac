"""Calls as OpenAI's chat completions: records of them, and any record in their form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hetagent.integrations.imported import Defaults, count, mapping, sequence, text
from hetagent.learn.chat import Chat, Said, chat
from hetagent.learn.record import CallError, CallRecord, Form, Usage

__all__ = ["openai_form", "openai_record", "openai_usage"]

Json = dict[str, Any]

_KEPT = ("temperature", "top_p", "max_tokens", "stop", "seed")


def openai_record(
    *,
    id: str,  # noqa: A002 - as the record has it
    time: datetime,
    request: Json,
    response: Json | None,
    defaults: Defaults,
    error: CallError | None = None,
    **known: Any,
) -> CallRecord:
    """A record of a request and response in a form of OpenAI's API.

    Args:
        id: Of the record.
        time: Of the call.
        request: The body that was sent.
        response: The body that came back, if any did.
        defaults: What holds where the log does not say.
        error: Why none came.
        known: Further attributes of the record; they go before what the bodies say.
    """
    served = text(mapping(response).get("model"))
    said = {
        "client_id": text(request.get("safety_identifier")) or text(request.get("user")),
        "streamed": request.get("stream") is True,
        "usage": openai_usage(mapping(response).get("usage")),
        **{name: value for name, value in known.items() if value is not None},
    }
    if error is None and response is None:
        error = CallError("NoResponse", None, "The log has no response.")
    return defaults.over(
        CallRecord(
            id=id,
            time=time,
            form=_form(request),
            source="import",
            model=text(request.get("model")) or served or defaults.model,
            request=request,
            response=response,
            error=error,
            served_model=served,
            served_by="llm" if response is not None else "none",
            **said,
        )
    )


def openai_usage(usage: Any) -> Usage:
    """Tokens, as OpenAI's or Anthropic's API has them."""
    given = mapping(usage)
    if "input_tokens" in given:
        cached = count(given.get("cache_read_input_tokens"))
        prompt = count(given.get("input_tokens"))
        if prompt is not None:
            prompt += (cached or 0) + (count(given.get("cache_creation_input_tokens")) or 0)
        return Usage(prompt, count(given.get("output_tokens")), cached)
    return Usage(
        count(given.get("prompt_tokens")),
        count(given.get("completion_tokens")),
        count(mapping(given.get("prompt_tokens_details")).get("cached_tokens")),
        count(mapping(given.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def openai_form(record: CallRecord) -> tuple[Json, Json] | str:
    """Request and response as OpenAI's chat completions have them, or why there are none."""
    if record.response is None:
        return "failed"
    if record.form == "openai.embeddings":
        return "embeddings"
    if not record.complete:
        return "broken off"
    if record.form == "openai.chat":
        if not sequence(record.response.get("choices")):
            return "no answer"
        return dict(record.request), dict(record.response)
    return _request(record, chat(record)), _response(record, chat(record))


def _form(request: Mapping[str, Any]) -> Form:
    return (
        "openai.embeddings" if "messages" not in request and "input" in request else "openai.chat"
    )


def _request(record: CallRecord, said: Chat) -> Json:
    request: Json = {"model": record.model, "messages": [_message(one) for one in said.messages]}
    if said.tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": one.name,
                    "description": one.description,
                    "parameters": dict(one.parameters),
                },
            }
            for one in said.tools
        ]
    if said.schema and said.json:
        wanted = {"name": "answer", "schema": dict(said.schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": wanted}
    kept = {name: record.request[name] for name in _KEPT if name in record.request}
    return {**request, **kept}


def _response(record: CallRecord, said: Chat) -> Json:
    answer = said.answer or Said("assistant", "")
    choice = {"index": 0, "message": _message(answer), "finish_reason": said.stop or "stop"}
    response: Json = {
        "object": "chat.completion",
        "model": record.served_model or record.model,
        "choices": [choice],
    }
    usage = record.usage
    if usage.prompt is not None and usage.completion is not None:
        response["usage"] = {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
        }
    return response


def _message(said: Said) -> Json:
    message: Json = {"role": said.role, "content": said.text}
    if said.calls:
        message["content"] = said.text or None
        message["tool_calls"] = [
            {
                "id": one.id,
                "type": "function",
                "function": {"name": one.name, "arguments": one.arguments},
            }
            for one in said.calls
        ]
    if said.role == "tool":
        message["tool_call_id"] = said.answers
    return message
