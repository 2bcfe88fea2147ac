"""Requests and answers of further APIs, in the two forms of chats that records have.

OpenAI's responses and completions become its chat completions; what LiteLLM turned into an answer
of OpenAI's for a caller of Anthropic's API becomes one of Anthropic's again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hetagent.learn.loose import items, mapping
from hetagent.learn.record import Form

__all__ = ["anthropic_answer", "openai_answer", "responses_request"]

Json = dict[str, Any]

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_RENAMED = {"max_output_tokens": "max_completion_tokens"}
_ONLY_RESPONSES = ("include", "truncation", "reasoning", "text", "instructions")


def responses_request(body: Json, form: Form) -> Json:
    """A body of OpenAI's responses API in the form of a chat."""
    system = body.get("instructions")
    kept = {name: one for name, one in body.items() if name not in _ONLY_RESPONSES}
    if form == "anthropic.messages":
        limit = kept.pop("max_output_tokens", None)
        return {
            **kept,
            **({"system": system} if system else {}),
            **({"max_tokens": limit} if limit else {}),
        }
    kept = {_RENAMED.get(name, name): one for name, one in kept.items()}
    said = [_item(one) for one in items(kept.get("messages"))]
    kept["messages"] = ([{"role": "system", "content": system}] if system else []) + said
    if "tools" in kept:
        kept["tools"] = [_tool(mapping(one)) for one in items(kept["tools"])]
    wanted = mapping(mapping(body.get("text")).get("format"))
    if wanted.get("type") == "json_schema":
        shown = {name: one for name, one in wanted.items() if name != "type"}
        kept["response_format"] = {"type": "json_schema", "json_schema": shown}
    elif wanted.get("type") == "json_object":
        kept["response_format"] = dict(wanted)
    effort = mapping(body.get("reasoning")).get("effort")
    return {**kept, **({"reasoning_effort": effort} if effort else {})}


def openai_answer(answer: Json) -> Json:
    """An answer of OpenAI's APIs as one of its chat completions."""
    if isinstance(answer.get("output"), list):
        return _from_output(answer)
    choices = [_choice(mapping(one)) for one in items(answer.get("choices"))]
    return {**answer, "choices": choices} if choices else answer


def anthropic_answer(answer: Json, *, raw: Json) -> Json:
    """An answer as Anthropic's API has it.

    Args:
        answer: As LiteLLM has it.
        raw: As the provider had it, where that is known.
    """
    for whole in (raw, answer):
        if whole.get("type") == "message" and isinstance(whole.get("content"), list):
            return whole
    chat = openai_answer(answer)
    choice = mapping(next(iter(items(chat.get("choices"))), None))
    message = mapping(choice.get("message"))
    content: list[Json] = list(items(message.get("thinking_blocks")))
    if message.get("content"):
        content.append({"type": "text", "text": message["content"]})
    content += [_tool_use(mapping(one)) for one in items(message.get("tool_calls"))]
    usage = mapping(chat.get("usage"))
    cached = mapping(usage.get("prompt_tokens_details")).get("cached_tokens") or 0
    prompt = usage.get("prompt_tokens")
    return {
        "id": chat.get("id"),
        "type": "message",
        "role": "assistant",
        "model": chat.get("model"),
        "content": content,
        "stop_reason": _STOPS.get(str(choice.get("finish_reason")), choice.get("finish_reason")),
        "usage": {
            "input_tokens": prompt - cached if isinstance(prompt, int) else None,
            "output_tokens": usage.get("completion_tokens"),
            "cache_read_input_tokens": cached,
        },
    }


def _choice(choice: Mapping[str, Any]) -> Json:
    """A choice of the completions API has a text in a message's place."""
    message = choice.get("message")
    if isinstance(message, dict):
        return {**choice, "message": _without_empty(message)}
    if "text" not in choice:
        return dict(choice)
    kept = {name: one for name, one in choice.items() if name != "text"}
    return {**kept, "message": {"role": "assistant", "content": choice["text"]}}


def _without_empty(message: Json) -> Json:
    """LiteLLM adds a field for what is peculiar to the provider, mostly with nothing in it."""
    name = "provider_specific_fields"
    return message if message.get(name) else {k: v for k, v in message.items() if k != name}


def _from_output(answer: Json) -> Json:
    texts, calls = [], []
    for item in map(mapping, answer["output"]):
        if item.get("type") == "message":
            texts += [mapping(part).get("text") for part in items(item.get("content"))]
        elif item.get("type") == "function_call":
            calls.append(_call(item))
    message: Json = {"role": "assistant", "content": "".join(filter(None, texts)) or None}
    if calls:
        message["tool_calls"] = calls
    short = mapping(answer.get("incomplete_details")).get("reason") == "max_output_tokens"
    usage = mapping(answer.get("usage"))
    return {
        "id": answer.get("id"),
        "object": "chat.completion",
        "model": answer.get("model"),
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "length" if short else "tool_calls" if calls else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": usage.get("input_tokens", usage.get("prompt_tokens")),
            "completion_tokens": usage.get("output_tokens", usage.get("completion_tokens")),
            "total_tokens": usage.get("total_tokens"),
        },
    }


def _item(one: Any) -> Json:
    item = mapping(one)
    if item.get("type") == "function_call":
        return {"role": "assistant", "content": None, "tool_calls": [_call(item)]}
    if item.get("type") == "function_call_output":
        said = {"role": "tool", "tool_call_id": item.get("call_id")}
        return {**said, "content": item.get("output")}
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(mapping(part)) for part in content]
    return {"role": item.get("role") or "user", "content": content}


def _part(part: Mapping[str, Any]) -> Json:
    if part.get("type") in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    return dict(part)


def _call(item: Mapping[str, Any]) -> Json:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _tool(tool: Mapping[str, Any]) -> Json:
    if tool.get("type") != "function" or "function" in tool:
        return dict(tool)
    function = {name: one for name, one in tool.items() if name != "type"}
    return {"type": "function", "function": function}


def _tool_use(call: Mapping[str, Any]) -> Json:
    function = mapping(call.get("function"))
    arguments = function.get("arguments")
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        given = arguments  # what the model wrote, although it is no JSON
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given}
