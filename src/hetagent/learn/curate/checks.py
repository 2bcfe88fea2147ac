"""Which calls may become examples: each check is a function that says what is wrong, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from hetagent.json_types import misfit
from hetagent.learn.chat import Chat
from hetagent.learn.curate.example import json_of
from hetagent.learn.curate.recipe import Recipe
from hetagent.learn.loose import items
from hetagent.learn.record import CallRecord

__all__ = [
    "CALLS",
    "CHECKS",
    "answered",
    "first_fault",
    "only_text",
    "permitted",
    "shaped",
    "wanted",
    "well_called",
]

Check = Callable[[CallRecord, Chat, Recipe], str | None]

CALLS = ("openai.chat", "anthropic.messages", "hetagent.skill")
"""Forms of records that have a prompt and an answer."""

# Parts that `hetagent.learn.chat` reads, and thoughts, which no example needs.
_READ = (
    "text", "input_text", "output_text", "refusal", "tool_use", "tool_result", "thinking",
    "redacted_thinking",
)  # fmt: skip
_MISSING = object()


def wanted(record: CallRecord, chat: Chat, recipe: Recipe) -> str | None:
    """Whether it belongs to the workload that was asked for."""
    if recipe.workload is not None and record.workload != recipe.workload:
        return "another workload" if record.workload else "no workload"
    return None


def permitted(record: CallRecord, chat: Chat, recipe: Recipe) -> str | None:
    """Whether the record may be used: its provenance, a person in it, redaction, who answered."""
    if record.trainable not in recipe.trainable:
        return "trainable: no-train" if record.trainable == "no-train" else "trainable: unknown"
    if record.interactive and not recipe.interactive:
        return "interactive"
    if record.redacted is None and not recipe.unredacted:
        return "not redacted"
    if record.served_by not in recipe.served_by:
        return "served by an SLM" if record.served_by == "slm" else "served by no LLM"
    return None


def answered(record: CallRecord, chat: Chat, recipe: Recipe) -> str | None:
    """Whether the call was asked and answered whole, in text."""
    if record.form not in CALLS:
        return "not a chat"
    if record.error is not None:
        return "errored"
    if not record.complete:
        return "incomplete stream"
    if chat.answer is None:
        return "no response"
    if chat.stop == "length":
        return "truncated"
    if chat.refused or chat.stop == "content_filter" or _refuses(chat, recipe):
        return "refused"
    if not only_text(record):
        return "not only text"
    if not any(one.text.strip() or one.calls for one in chat.messages):
        return "empty prompt"
    if not chat.answer.text.strip() and not chat.answer.calls:
        return "empty answer"
    return None


def well_called(record: CallRecord, chat: Chat, recipe: Recipe) -> str | None:
    """Whether the tools that were called were offered, and their arguments fit."""
    offered = {tool.name: tool for tool in chat.tools}
    for call in chat.answer.calls if chat.answer else ():
        if call.name not in offered:
            return "tool not offered"
        # Some servers write no arguments as an empty string.
        arguments = json_of(call.arguments or "{}", _MISSING)
        if not isinstance(arguments, dict):
            return "arguments are no JSON object"
        if fault := misfit(arguments, offered[call.name].parameters):
            return f"arguments: {fault}"
    return None


def shaped(record: CallRecord, chat: Chat, recipe: Recipe) -> str | None:
    """Whether an answer that was to be JSON, or to fit a schema, does so."""
    if chat.answer is None or chat.answer.calls:
        return None
    if record.form == "hetagent.skill":
        value = (record.response or {}).get("value")
    elif chat.json or chat.schema is not None:
        value = json_of(chat.answer.text, _MISSING)
        if value is _MISSING:
            return "answer is no JSON"
    else:
        return None
    if chat.schema is not None and (fault := misfit(value, chat.schema)):
        return f"answer: {fault}"
    return None


CHECKS: Mapping[str, Check] = {
    "workload": wanted,
    "provenance": permitted,
    "response": answered,
    "tools": well_called,
    "schema": shaped,
}
"""By the name of the step, in their order."""


def first_fault(record: CallRecord, chat: Chat, recipe: Recipe) -> tuple[str, str] | None:
    """The first step that a call does not pass, and why."""
    for step, check in CHECKS.items():
        if (reason := check(record, chat, recipe)) is not None:
            return step, reason
    return None


def _refuses(chat: Chat, recipe: Recipe) -> bool:
    answer = chat.answer
    if answer is None or answer.calls or chat.json or chat.schema is not None:
        return False
    start = answer.text[:300].replace("\u2019", "'")
    return any(re.search(one, start, re.IGNORECASE | re.DOTALL) for one in recipe.refusals)


def only_text(record: CallRecord) -> bool:
    """Whether all parts of its messages are such as `hetagent.learn.chat` reads, or thoughts."""
    return set(_kinds(record)) <= set(_READ)


def _kinds(record: CallRecord) -> Iterator[str]:
    """The kinds of all parts that messages are made of."""
    response = record.response or {}
    messages = record.request.get("messages")
    contents = [response.get("content")]
    contents += [one.get("content") for one in items(messages) if isinstance(one, Mapping)]
    waiting = [part for content in contents for part in items(content)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield str(part.get("type", "text"))
            waiting += items(part.get("content"))
