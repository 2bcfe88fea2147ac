"""What a span says of a model call, whatever conventions it follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hetagent.learn.record import Usage

__all__ = ["SpanCall", "answer", "finish", "indexed", "loaded", "tool_call"]

Json = dict[str, Any]

_FINISHES = {
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanCall:
    """A model call, with request and response in OpenAI's form.

    Attributes:
        request: The body.
        response: The answer's body.
        answered: Whether there is anything in it.
        usage: Tokens.
        cost_usd: US dollars.
        first_token_seconds: From the request to the first token.
        conversation: Id of the conversation.
        client: Whose call it is.
        workload: What the program calls the task.
        failure: What kind of error ended it.
    """

    request: Json
    response: Json
    answered: bool
    usage: Usage
    cost_usd: float | None = None
    first_token_seconds: float | None = None
    conversation: str | None = None
    client: str | None = None
    workload: str | None = None
    failure: str | None = None


def answer(model: str | None, choices: Iterable[tuple[Json, str | None]]) -> Json:
    """A chat completion of messages, each with why it ended."""
    return {
        "object": "chat.completion",
        **({"model": model} if model else {}),
        "choices": [
            {"index": index, "message": message, "finish_reason": why}
            for index, (message, why) in enumerate(choices)
        ],
    }


def finish(reason: Any) -> str | None:
    """Why an answer ended, in OpenAI's words."""
    return _FINISHES.get(reason, reason) if isinstance(reason, str) and reason else None


def tool_call(id: Any, name: Any, arguments: Any) -> Json:  # noqa: A002 - as the API has it
    """A tool call; its arguments stay the text that they are."""
    given = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    function = {"name": name, "arguments": given}
    return {"id": id if isinstance(id, str) else "", "type": "function", "function": function}


def loaded(value: Any) -> Any:
    """JSON that an attribute holds as a text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def indexed(attributes: Mapping[str, Any], prefix: str) -> list[Json]:
    """Attributes such as ``prefix.0.name`` as a list of mappings, by their rest, in order."""
    found: dict[int, Json] = {}
    start = f"{prefix}."
    for key, value in attributes.items():
        if not key.startswith(start):
            continue
        index, dot, rest = key[len(start) :].partition(".")
        if dot and index.isdigit():
            found.setdefault(int(index), {})[rest] = value
    return [found[index] for index in sorted(found)]
