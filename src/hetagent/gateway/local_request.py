"""A chat request in OpenAI's form, as far as a local model can serve it.

What it says is told by a model's three ways to answer: words, JSON under a schema, and a choice.
A tool call is a choice among the tools and words, and then the tool's arguments under its schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hetagent.gateway.apis import Refusal
from hetagent.gateway.local_schema import any_object, json_type, words
from hetagent.gateway.openai_form import wants_usage
from hetagent.models.base import Message
from hetagent.schema import OutputType

__all__ = ["LocalRequest", "LocalTool", "read_request"]

Json = Mapping[str, Any]

_MOST_TOOLS = 128  # as many as OpenAI takes
DEFAULT_MAX_TOKENS = 2048
"""Of an answer, where the request names no limit."""
# Nothing is done with them: a local model always takes the most probable token.
_IGNORED = frozenset(
    [
        "frequency_penalty",
        "metadata",
        "model",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
        "user",
        "verbosity",
    ]
)
_READ = frozenset(
    [
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "n",
        "response_format",
        "stop",
        "stream",
        "tool_choice",
        "tools",
        "top_logprobs",
    ]
)


@dataclass(frozen=True, slots=True)
class LocalTool:
    """A tool that the model may call.

    Attributes:
        name: Its name.
        description: What it is for.
        arguments: Type of its arguments, closed.
    """

    name: str
    description: str
    arguments: OutputType[Any]


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """What is asked of a local model.

    Attributes:
        messages: The conversation.
        output: What the answer is to be, where it is no tool call.
        tools: What may be called.
        must_call: Whether one of them has to be.
        max_tokens: Of the answer.
        stop: Texts that end it, and are not in it.
        logprobs: Whether tokens are told with their probabilities.
        top_logprobs: Whether alternatives are asked for, of which there is only the token itself.
        usage_in_stream: Whether a stream ends with the usage.
    """

    messages: tuple[Message, ...]
    output: OutputType[Any]
    tools: tuple[LocalTool, ...]
    must_call: bool
    max_tokens: int
    stop: tuple[str, ...]
    logprobs: bool
    top_logprobs: bool
    usage_in_stream: bool


def read_request(data: Json) -> LocalRequest:
    """Read a request.

    Raises:
        Refusal: It is not valid, or asks for what a local model does not do.
    """
    strange = sorted(name for name in data if name not in _IGNORED | _READ and data[name])
    if strange:
        raise _refused(f"A local model does not take {', '.join(strange)}.")
    if data.get("n") not in (None, 1):
        raise _refused("A local model gives one answer: n has to be 1.")
    tools = _tools(data.get("tools"))
    tools, must_call = _chosen(tools, data.get("tool_choice"))
    return LocalRequest(
        messages=_messages(data.get("messages"), tools),
        output=_output(data.get("response_format")),
        tools=tools,
        must_call=must_call,
        max_tokens=_max_tokens(data),
        stop=_stop(data.get("stop")),
        logprobs=data.get("logprobs") is True,
        top_logprobs=_top_logprobs(data) > 0,
        usage_in_stream=wants_usage(data),
    )


def _messages(given: Any, tools: Sequence[LocalTool]) -> tuple[Message, ...]:
    if not isinstance(given, list) or not given:
        raise _refused("messages is no list, or is empty.")
    found: list[Message] = []
    for one in given:
        if not isinstance(one, Mapping):
            raise _refused("A message is no object.")
        found.append(_message(one))
    if tools:
        found.insert(0, Message("system", _described(tools)))
        # After the agent's own instructions, where there are some.
        if len(found) > 1 and found[1].role == "system":
            found[0], found[1] = found[1], found[0]
    return tuple(_joined(found))


def _message(one: Json) -> Message:
    role = one.get("role")
    text = _text(one.get("content"))
    if role in ("system", "developer"):
        return Message("system", text)
    if role == "user":
        return Message("user", text)
    if role in ("tool", "function"):
        name = one.get("name") or one.get("tool_call_id") or "the tool"
        return Message("user", f"Result of {name}:\n{text}")
    if role == "assistant":
        calls = one.get("tool_calls")
        called = [_called(call) for call in calls] if isinstance(calls, list) else []
        return Message("assistant", "\n".join([*([text] if text else []), *called]))
    raise _refused(f"A message has the role {role!r}.")


def _called(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise _refused("A tool call in a message has no function.")
    return f"Called {function.get('name')} with {function.get('arguments')}"


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _refused("The content of a message is neither text nor a list of parts.")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            raise _refused("A local model reads text alone: a part of a message is something else.")
        texts.append(text)
    return "\n".join(texts)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one message: many templates want roles to alternate."""
    found: list[Message] = []
    for message in messages:
        # Halves of surrogate pairs come through JSON, and no tokenizer reads them.
        one = replace(message, content=message.content.encode(errors="replace").decode())
        if found and found[-1].role == one.role:
            found[-1] = replace(found[-1], content=f"{found[-1].content}\n\n{one.content}")
        else:
            found.append(one)
    return found


def _described(tools: Sequence[LocalTool]) -> str:
    lines = ["You can call these tools:"]
    for tool in tools:
        schema = {k: v for k, v in tool.arguments.schema.items() if k != "$schema"}
        lines.append(
            f"- {tool.name}: {tool.description or 'no description'} "
            f"Arguments: {json.dumps(schema, ensure_ascii=False)}"
        )
    return "\n".join(lines)


def _tools(given: Any) -> tuple[LocalTool, ...]:
    if given in (None, []):
        return ()
    if not isinstance(given, list):
        raise _refused("tools is no list.")
    if len(given) > _MOST_TOOLS:
        raise _refused(f"There are more than {_MOST_TOOLS} tools.")
    found = []
    for one in given:
        function = one.get("function") if isinstance(one, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
            raise _refused("A tool has no function with a name.")
        if not name.isprintable():
            raise _refused(f"{name!r} is no name of a tool.")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        described = function.get("description")
        found.append(
            LocalTool(
                name,
                described if isinstance(described, str) else "",
                json_type(schema, where=f"the parameters of {name}"),
            )
        )
    if len({tool.name for tool in found}) < len(found):
        raise _refused("Two tools have the same name.")
    return tuple(found)


def _chosen(tools: tuple[LocalTool, ...], choice: Any) -> tuple[tuple[LocalTool, ...], bool]:
    """The tools that may be called, and whether one has to be."""
    if choice in (None, "auto"):
        return tools, False
    if choice == "none":
        return (), False
    if choice == "required":
        if not tools:
            raise _refused("A tool call is required, and there are no tools.")
        return tools, True
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        raise _refused("tool_choice names none of the tools.")
    return named, True


def _output(given: Any) -> OutputType[Any]:
    if given is None:
        return words()
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "text":
        return words()
    if kind == "json_object":
        schema = given.get("schema")
        return any_object() if schema is None else json_type(schema, where="the schema")
    if kind == "json_schema":
        wanted = given.get("json_schema")
        schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
        return json_type(schema, where="the schema of response_format")
    raise _refused("response_format is none of text, json_object and json_schema.")


def _max_tokens(data: Json) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        given = data.get(name)
        if given is not None:
            if not isinstance(given, int) or isinstance(given, bool) or given < 1:
                raise _refused(f"{name} is no number of tokens.")
            return given
    return DEFAULT_MAX_TOKENS


def _top_logprobs(data: Json) -> int:
    given = data.get("top_logprobs")
    if given is None:
        return 0
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= 20:
        raise _refused("top_logprobs is no number from 0 to 20.")
    if given and data.get("logprobs") is not True:
        raise _refused("top_logprobs needs logprobs to be true.")
    return given


def _stop(given: Any) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given or []
    if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
        raise _refused("stop is neither a text nor a list of texts.")
    return tuple(texts)


def _refused(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_request")
