"""Records of the calls that LiteLLM tells its callbacks of.

LiteLLM is not imported here: what it hands to a callback is read as plain data. Of a call's
arguments, those that belong to an API's body are kept and no other, so that keys, headers and
addresses stay out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from hetagent.learn.litellm_forms import anthropic_answer, openai_answer, responses_request
from hetagent.learn.loose import count, mapping
from hetagent.learn.marks import Marks, marks_of
from hetagent.learn.record import CallError, CallRecord, Form, Usage, new_id
from hetagent.learn.snapshot import snapshot, without_vectors

__all__ = ["BODY_PARAMETERS", "form_of", "read_call"]

_FORMS: Mapping[str, Form] = {
    "completion": "openai.chat",
    "acompletion": "openai.chat",
    "text_completion": "openai.chat",
    "atext_completion": "openai.chat",
    "responses": "openai.chat",
    "aresponses": "openai.chat",
    "embedding": "openai.embeddings",
    "aembedding": "openai.embeddings",
    "anthropic_messages": "anthropic.messages",
}
_BODY = """
    audio dimensions encoding_format frequency_penalty function_call functions input logit_bias
    logprobs max_completion_tokens max_tokens messages modalities n parallel_tool_calls prediction
    presence_penalty prompt reasoning_effort response_format seed service_tier stop stop_sequences
    store stream stream_options system temperature thinking tool_choice tools top_k top_logprobs
    top_p user verbosity web_search_options

    add_generation_prompt guided_choice guided_grammar guided_json guided_regex ignore_eos
    length_penalty min_p min_tokens mirostat num_ctx num_predict repeat_penalty repetition_penalty
    skip_special_tokens

    include instructions max_output_tokens reasoning text truncation
"""
"""Of chats, messages and embeddings; of servers of one's own beside them; of OpenAI's responses."""
BODY_PARAMETERS = frozenset(_BODY.split())
"""What a body may have; whatever else came with a call, such as a key, is not recorded."""
# Of tools that a server calls itself: how it gets in there.
_OF_SERVERS = frozenset({"headers", "authorization", "authorization_token", "server_url"})
_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|key|gsk|xai|hf)[-_][\w-]{8,}|\bbearer\s+[^\s\"']{8,}")
_SHORTEST_KEY = 6
_LONGEST_MESSAGE = 2000


def form_of(kwargs: Mapping[str, Any]) -> Form | None:
    """The form of a call; ``None`` for images, speech and what else is no matter of ours."""
    return _FORMS.get(str(kwargs.get("call_type")))


def read_call(
    kwargs: Mapping[str, Any],
    response: Any,
    start: datetime,
    end: datetime,
    *,
    form: Form,
    marks: Marks,
    attempts: int,
    failed: bool,
) -> Callable[[], CallRecord]:
    """Take down a call that ended.

    Args:
        kwargs: What LiteLLM knows of it.
        response: What came back, in one of LiteLLM's own types.
        start: When it began, in local time.
        end: When it ended, likewise.
        form: As `form_of` says.
        marks: What the program said of it, beside its metadata.
        attempts: Requests made for it.
        failed: Whether it failed.

    Returns:
        What makes the record. The request is copied before this returns, for the application goes
        on to change it; the answer is the caller's own only to read, and copied later.
    """
    parameters = kwargs.get("litellm_params")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    metadata = parameters.get("metadata") or parameters.get("litellm_metadata")
    said = marks_of(metadata).over(marks)
    request = _request(kwargs, form)
    error = _error(kwargs, parameters) if failed else None
    first = kwargs.get("completion_start_time")
    streamed = bool(kwargs.get("stream"))
    raw = kwargs.get("original_response")
    group = metadata.get("model_group") if isinstance(metadata, Mapping) else None
    known: dict[str, Any] = {
        "id": new_id(),
        "time": start.astimezone(UTC),
        "form": form,
        "source": "litellm",
        "model": request["model"],
        "request": request,
        "error": error,
        "reason": "cache" if kwargs.get("cache_hit") is True else "",
        "served_by": "none" if failed else "llm",
        "cost_usd": None if failed else _number(kwargs.get("response_cost")),
        "seconds": (end - start).total_seconds(),
        "first_token_seconds": (
            (first - start).total_seconds()
            if streamed and not failed and isinstance(first, datetime)
            else None
        ),
        "attempts": attempts,
        "streamed": streamed,
        "complete": not failed or not streamed,
        "trace_id": said.trace or _text(kwargs.get("litellm_trace_id")),
        "conversation_id": said.conversation or _text(parameters.get("litellm_session_id")),
        "client_id": said.client or _text(request.get("user")) or _anthropic_user(kwargs),
        "workload": said.workload,
        "interactive": bool(said.interactive),
        "tags": {**said.tags, **({"model_group": group} if isinstance(group, str) else {})},
    }

    def made() -> CallRecord:
        answer = None if failed else _answer(response, form, raw)
        return CallRecord(
            **known,
            response=answer,
            served_model=_text((answer or {}).get("model")),
            usage=_usage(answer or {}),
        )

    return made


def _request(kwargs: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The body as it was before LiteLLM turned it into the provider's own."""
    given = kwargs.get("optional_params")
    given = dict(given) if isinstance(given, Mapping) else {}
    extra = given.pop("extra_body", None)
    given |= extra if isinstance(extra, Mapping) else {}
    body: dict[str, Any] = {"model": _model(kwargs)}
    said = kwargs.get("input") if form == "openai.embeddings" else _messages(kwargs)
    body["input" if form == "openai.embeddings" else "messages"] = snapshot(said)
    for name, value in given.items():
        if name in BODY_PARAMETERS and name not in body and value is not None:
            body[name] = snapshot(_tools(value) if name == "tools" else value)
    if kwargs.get("stream"):
        body["stream"] = True
    return (
        responses_request(body, form) if "instructions" in body or _is_responses(kwargs) else body
    )


def _is_responses(kwargs: Mapping[str, Any]) -> bool:
    return str(kwargs.get("call_type")).endswith("responses")


def _messages(kwargs: Mapping[str, Any]) -> Any:
    messages = kwargs.get("messages") or kwargs.get("input")
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return messages if isinstance(messages, list | tuple) else []


def _tools(tools: Any) -> Any:
    if not isinstance(tools, list | tuple):
        return []
    return [
        {name: part for name, part in one.items() if name not in _OF_SERVERS}
        if isinstance(one, Mapping) and one.get("type") not in (None, "function", "custom")
        else one
        for one in tools
    ]


def _model(kwargs: Mapping[str, Any]) -> str:
    """LiteLLM's name of it, provider first, which LiteLLM takes off on the way."""
    name = str(kwargs.get("model") or "")
    provider = kwargs.get("custom_llm_provider")
    if not isinstance(provider, str) or not provider or name.startswith(f"{provider}/"):
        return name
    return f"{provider}/{name}"


def _answer(response: Any, form: Form, raw: Any) -> dict[str, Any]:
    if form == "openai.embeddings":
        # The vectors are not even copied: there may be a thousand.
        shallow = response if isinstance(response, Mapping) else dict(response)
        short = snapshot(without_vectors({**shallow, "data": _items(shallow)}))
        return dict(_without_none(short))
    answer = snapshot(response)
    if not isinstance(answer, dict):
        return {}
    if form == "anthropic.messages":
        return anthropic_answer(answer, raw=_loaded(raw))
    return openai_answer(_without_none(answer))


def _items(response: Mapping[str, Any]) -> list[Any]:
    """The embeddings as mappings, whatever LiteLLM has them as."""
    data = response.get("data") or []
    return [one if isinstance(one, Mapping) else dict(one) for one in data]


def _without_none(value: Any) -> Any:
    """LiteLLM's types have a name for everything; what is not there says nothing."""
    if isinstance(value, dict):
        return {
            name: _without_none(one)
            for name, one in value.items()
            if one is not None or name == "content"
        }
    return [_without_none(one) for one in value] if isinstance(value, list) else value


def _loaded(raw: Any) -> dict[str, Any]:
    try:
        found = json.loads(raw) if isinstance(raw, str | bytes) else raw
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _usage(answer: Mapping[str, Any]) -> Usage:
    usage = mapping(answer.get("usage"))
    if "input_tokens" in usage:
        cached = count(usage.get("cache_read_input_tokens"))
        others = (
            count(usage.get("input_tokens")),
            count(usage.get("cache_creation_input_tokens")),
        )
        prompt = None if others[0] is None else sum(one or 0 for one in (*others, cached))
        return Usage(prompt, count(usage.get("output_tokens")), cached)
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
        count(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _error(kwargs: Mapping[str, Any], parameters: Mapping[str, Any]) -> CallError:
    error = kwargs.get("exception")
    status = getattr(error, "status_code", None)
    text = str(getattr(error, "message", None) or error or "")
    for key in (kwargs.get("api_key"), parameters.get("api_key")):
        if isinstance(key, str) and len(key) >= _SHORTEST_KEY:
            text = text.replace(key, "[key]")
    kind = type(error).__name__ if error is not None else "Error"
    message = _KEY.sub("[key]", text)[:_LONGEST_MESSAGE]
    return CallError(kind, status if isinstance(status, int) else None, message)


def _anthropic_user(kwargs: Mapping[str, Any]) -> str | None:
    metadata = mapping(kwargs.get("optional_params")).get("metadata")
    return _text(mapping(metadata).get("user_id"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
