"""All forms of requests and responses, read alike: messages, tools, the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hetagent.learn.loose import items, mapping
from hetagent.learn.record import CallRecord

__all__ = ["Chat", "Said", "Tool", "Wanted", "chat"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool call that a model asked for.

    Attributes:
        name: Of the tool.
        arguments: The string as the model wrote it, mostly JSON.
        id: What its result names it by.
    """

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One message.

    Attributes:
        role: ``"system"``, ``"user"``, ``"assistant"`` or ``"tool"``.
        text: All text parts, joined by a blank line; other parts are left out.
        calls: Tool calls in it.
        answers: Of a tool's result: the id of the call.
    """

    role: str
    text: str
    calls: tuple[Wanted, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model was offered.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chat:
    """A call, whatever its form.

    Attributes:
        messages: What the model was given, system messages first.
        tools: What it was offered.
        answer: What it said; ``None`` where there is no response.
        schema: JSON Schema that the answer was to have, where one was asked for.
        json: Whether JSON was asked for at all.
        stop: Why it ended, in OpenAI's words: ``"stop"``, ``"length"``, ``"tool_calls"``,
            ``"content_filter"``; empty where not known.
        refused: Whether the model refused, as far as the API says so.
    """

    messages: tuple[Said, ...]
    tools: tuple[Tool, ...] = ()
    answer: Said | None = None
    schema: Mapping[str, Any] | None = None
    json: bool = False
    stop: str = ""
    refused: bool = False


def chat(record: CallRecord) -> Chat:
    """Read a call, whatever its form.

    A part that is not as its API has it is left out: a log is read as far as it can be.
    """
    return _READERS[record.form](record.request, record.response or {}, record.response is not None)


def _openai(request: Mapping[str, Any], response: Mapping[str, Any], answered: bool) -> Chat:
    wanted = mapping(request.get("response_format"))
    schema = mapping(mapping(wanted.get("json_schema")).get("schema"))
    choice = mapping(next(iter(items(response.get("choices"))), None))
    message = mapping(choice.get("message"))
    return Chat(
        tuple(_openai_said(mapping(one)) for one in items(request.get("messages"))),
        tuple(
            _tool(mapping(mapping(one).get("function")), "parameters")
            for one in items(request.get("tools"))
        ),
        _openai_said({"role": "assistant", **message}) if answered else None,
        schema or None,
        json=wanted.get("type") in ("json_object", "json_schema"),
        stop=_text(choice.get("finish_reason")),
        refused=bool(message.get("refusal")),
    )


def _openai_said(message: Mapping[str, Any]) -> Said:
    role = _text(message.get("role")) or "user"
    calls = []
    for one in items(message.get("tool_calls")):
        function = mapping(mapping(one).get("function"))
        calls.append(
            Wanted(
                _text(function.get("name")),
                _text(function.get("arguments")),
                _text(mapping(one).get("id")),
            )
        )
    old = mapping(message.get("function_call"))
    if old:
        calls.append(Wanted(_text(old.get("name")), _text(old.get("arguments"))))
    said = _joined(message.get("content")) or _text(message.get("refusal"))
    role = {"developer": "system", "function": "tool"}.get(role, role)
    return Said(role, said, tuple(calls), _text(message.get("tool_call_id")))


_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _anthropic(request: Mapping[str, Any], response: Mapping[str, Any], answered: bool) -> Chat:
    system = _joined(request.get("system"))
    messages = [Said("system", system)] if system else []
    for one in items(request.get("messages")):
        messages.extend(_anthropic_said(mapping(one)))
    answer = None
    if answered:
        parts = [Said("assistant", ""), *_anthropic_said({"role": "assistant", **response})]
        answer = parts[-1]
    stop = _text(response.get("stop_reason"))
    return Chat(
        tuple(messages),
        tuple(_tool(mapping(one), "input_schema") for one in items(request.get("tools"))),
        answer,
        stop=_STOPS.get(stop, stop),
        refused=stop == "refusal",
    )


def _anthropic_said(message: Mapping[str, Any]) -> list[Said]:
    """Results of tools are messages of their own, before what else is said."""
    role = _text(message.get("role")) or "user"
    content = message.get("content")
    if isinstance(content, str):
        return [Said(role, content)]
    results, calls = [], []
    for part in map(mapping, items(content)):
        if part.get("type") == "tool_result":
            results.append(
                Said("tool", _joined(part.get("content")), answers=_text(part.get("tool_use_id")))
            )
        elif part.get("type") == "tool_use":
            given = part.get("input")  # the text itself, where a stream broke off in it
            arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            calls.append(Wanted(_text(part.get("name")), arguments, _text(part.get("id"))))
    said = _joined(content)
    own = [Said(role, said, tuple(calls))] if said or calls or not results else []
    return results + own


def _skill(request: Mapping[str, Any], response: Mapping[str, Any], answered: bool) -> Chat:
    """A skill's call: what it was told, what it was given, and its value as JSON."""
    system = _text(request.get("instructions"))
    given = request.get("text")
    said = given if isinstance(given, str) else json.dumps(request.get("inputs"))
    value = response.get("value")
    answer = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    schema = mapping(request.get("schema"))
    return Chat(
        (Said("system", system), Said("user", said)),
        answer=Said("assistant", answer) if answered else None,
        schema=schema or None,
        json=bool(schema) and not isinstance(value, str),
        stop="stop" if answered else "",
    )


def _embeddings(request: Mapping[str, Any], response: Mapping[str, Any], answered: bool) -> Chat:
    given = request.get("input")
    texts = [given] if isinstance(given, str) else items(given)
    return Chat(tuple(Said("user", one) for one in texts if isinstance(one, str)))


_READERS = {
    "openai.chat": _openai,
    "openai.embeddings": _embeddings,
    "anthropic.messages": _anthropic,
    "hetagent.skill": _skill,
}


def _tool(one: Mapping[str, Any], parameters: str) -> Tool:
    return Tool(_text(one.get("name")), _text(one.get("description")), mapping(one.get(parameters)))


def _joined(content: Any) -> str:
    """The text of a message, whether it is one string or a list of parts."""
    if isinstance(content, str):
        return content
    texts = [mapping(part).get("text") for part in items(content)]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
