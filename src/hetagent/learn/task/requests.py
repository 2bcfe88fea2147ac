"""Whether a request asks for nothing but its workload's answer, which a skill can give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hetagent.learn.chat import Chat
from hetagent.learn.curate.checks import only_text
from hetagent.learn.loose import mapping
from hetagent.learn.record import CallRecord

__all__ = ["request_fault"]

# What a task reads, or what says how to decode, whose request it is or how it is sent.
_UNDERSTOOD = frozenset({
    "api_base", "api_version", "cache_control", "custom_llm_provider", "examples",
    "extra_headers", "frequency_penalty", "inputs", "instructions", "max_completion_tokens",
    "max_retries", "max_tokens", "messages", "metadata", "model", "parallel_tool_calls",
    "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning",
    "reasoning_effort", "response_format", "safety_identifier", "schema", "seed", "service_tier",
    "skill", "store", "stream", "stream_options", "system", "temperature", "text", "thinking",
    "timeout", "tool_choice", "tools", "top_k", "top_p", "user", "verbosity",
})  # fmt: skip
# Values of others that ask for nothing.
_NOTHING: tuple[Any, ...] = (None, False, 0, "", [], {})


def request_fault(
    record: CallRecord, found: Chat, tools: tuple[Mapping[str, Any], ...]
) -> str | None:
    """Why a skill cannot answer a request as the LLM would; ``None`` where it can.

    Args:
        record: The call; its response is not looked at.
        found: The same, as it reads.
        tools: The tools that calls of the workload offer: name, description and parameters.
    """
    request = record.request
    if record.form == "openai.embeddings":
        return "not a chat"
    if not only_text(record.with_(response=None)):
        return "not only text"
    for key, value in request.items():
        if key == "n" and value == 1:
            continue
        if key == "modalities" and value == ["text"]:
            continue
        if key not in _UNDERSTOOD and not any(value is one or value == one for one in _NOTHING):
            return f"asks for {key}"
    if found.messages and found.messages[-1].role == "assistant":
        return "goes on with an answer"
    return _tools_fault(request, found, tools)


def _tools_fault(
    request: Mapping[str, Any], found: Chat, tools: tuple[Mapping[str, Any], ...]
) -> str | None:
    choice = request.get("tool_choice")
    kind = mapping(choice).get("type") if isinstance(choice, Mapping) else choice
    if kind == "none" and not tools:
        return None
    offered = {one.name: (one.description, dict(one.parameters)) for one in found.tools}
    known = {one["name"]: (one["description"], one["parameters"]) for one in tools}
    if offered != known or len(found.tools) != len(known):
        return "other tools"
    if not tools or kind in (None, "auto", "required", "any"):
        return None
    named = mapping(mapping(choice).get("function")).get("name") or mapping(choice).get("name")
    return None if len(known) == 1 and named in known else "a certain tool is to be called"
