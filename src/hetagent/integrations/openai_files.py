"""OpenAI's files of JSON lines: fine-tuning, whole calls, and what a batch gave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.imported import Defaults, mapping, moment, record_id, sequence, text
from hetagent.integrations.json_values import open_text
from hetagent.integrations.openai_form import openai_form, openai_record
from hetagent.learn.record import CallError, CallRecord

__all__ = [
    "BatchRequests",
    "finetuning_line",
    "is_batch_output",
    "is_finetuning",
    "is_pair",
    "read_batch_output",
    "read_finetuning",
    "read_pair",
]

# Of a message, what fine-tuning takes.
_OF_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal")
_OF_REQUEST = ("tools", "parallel_tool_calls", "functions", "response_format")
_OF_TOOLS = ("tools", "parallel_tool_calls", "functions")


def is_finetuning(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is an example for fine-tuning, supervised or by preference."""
    return "messages" in entry or {"input", "preferred_output"} <= set(entry)


def read_finetuning(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The record of an example: its last message answers those before it.

    Raises:
        InputError: Its last message is not the assistant's.
    """
    asked: Mapping[str, Any] = entry
    messages = sequence(entry.get("messages"))
    if "preferred_output" in entry:
        asked = mapping(entry["input"])
        messages = [*sequence(asked.get("messages")), *sequence(entry["preferred_output"])]
    if not messages or mapping(messages[-1]).get("role") != "assistant":
        raise InputError(
            "The last message is not the assistant's.",
            hint="An example ends with the answer that is to be learned.",
        )
    answer = {name: one for name, one in mapping(messages[-1]).items() if name != "weight"}
    request = {
        "model": defaults.model,
        **{name: asked[name] for name in _OF_REQUEST if name in asked},
        "messages": messages[:-1],
    }
    finish = "tool_calls" if answer.get("tool_calls") else "stop"
    choice = {"index": 0, "message": answer, "finish_reason": finish}
    yield openai_record(
        id=record_id(None, "openai-finetuning", entry),
        time=defaults.time,
        request=request,
        response={"object": "chat.completion", "choices": [choice]},
        defaults=defaults,
    )


def finetuning_line(record: CallRecord) -> dict[str, Any] | str:
    """A record as an example for fine-tuning, or why it can be none."""
    form = openai_form(record)
    if isinstance(form, str):
        return form
    request, response = form
    choice = mapping(next(iter(sequence(response.get("choices"))), None))
    answer = mapping(choice.get("message"))
    if choice.get("finish_reason") == "length":
        return "truncated"
    if answer.get("refusal"):
        return "refused"
    if not answer.get("content") and not answer.get("tool_calls"):
        return "no answer"
    messages = [*sequence(request.get("messages")), {"role": "assistant", **answer}]
    return {
        "messages": [
            {name: mapping(one)[name] for name in _OF_MESSAGE if name in mapping(one)}
            for one in messages
        ],
        **{name: request[name] for name in _OF_TOOLS if name in request},
    }


def is_pair(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a request with its response."""
    return isinstance(entry.get("request"), Mapping) and "response" in entry


def read_pair(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The record of a request and its response, which may lie in ``body``.

    Raises:
        InputError: It is none.
    """
    request, response = mapping(entry.get("request")), mapping(entry.get("response"))
    status = response.get("status_code")
    request = mapping(request.get("body")) or request
    response = mapping(response.get("body")) or response
    if not ({"messages", "input", "prompt"} & set(request)):
        raise InputError(
            "The request has neither messages nor input.", hint="It is to be the body of a call."
        )
    if "messages" not in request and isinstance(request.get("prompt"), str):
        request["messages"] = [{"role": "user", "content": request.pop("prompt")}]
    time = moment(entry.get("timestamp") or entry.get("time") or response.get("created"))
    error = _error(response.get("error"), status)
    yield openai_record(
        id=record_id(time, "openai-pairs", entry),
        time=time or defaults.time,
        request=request,
        response=None if error is not None or not response else response,
        error=error,
        defaults=defaults,
        trace_id=text(entry.get("trace_id")),
        conversation_id=text(entry.get("conversation_id")),
        client_id=text(entry.get("client_id")),
        workload=text(entry.get("workload")) or text(entry.get("workload_id")),
    )


class BatchRequests:
    """Finds the requests of a batch by their ids; only where they are is kept in memory.

    Args:
        path: The file that the batch was made of.

    Raises:
        InputError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_text(path)
        self._places: dict[str, int] = {}
        while True:
            place = self._file.tell()
            line = self._file.readline()
            if not line:
                break
            found = text(_parsed(line).get("custom_id"))
            if found is not None:
                self._places[found] = place

    def body(self, custom_id: str) -> dict[str, Any]:
        """The body of a request.

        Raises:
            InputError: There is none of this id.
        """
        if custom_id not in self._places:
            raise InputError(
                f"{self._path} has no request {custom_id!r}.",
                hint="Give the file that this batch was made of.",
            )
        self._file.seek(self._places[custom_id])
        return mapping(_parsed(self._file.readline()).get("body"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def is_batch_output(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is what a batch gave for one request."""
    return "custom_id" in entry and ("response" in entry or "error" in entry)


def read_batch_output(
    entry: Mapping[str, Any], defaults: Defaults, requests: BatchRequests | None
) -> Iterator[CallRecord]:
    """The record of what a batch gave, with its request from the other file.

    Raises:
        InputError: It is none, or its request is not there.
    """
    custom_id = text(entry.get("custom_id"))
    if custom_id is None:
        raise InputError("There is no custom_id.", hint="It tells which request was answered.")
    if requests is None:
        raise InputError(
            "A batch's output has no requests in it.",
            hint="Give the file that the batch was made of too: --requests FILE.",
        )
    outer = mapping(entry.get("response"))
    response = mapping(outer.get("body"))
    error = _error(entry.get("error") or response.get("error"), outer.get("status_code"))
    time = moment(response.get("created"))
    yield openai_record(
        id=record_id(time, "openai-batch", text(entry.get("id")), custom_id, response),
        time=time or defaults.time,
        request=requests.body(custom_id),
        response=None if error is not None or not response else response,
        error=error,
        defaults=defaults,
        tags={"custom_id": custom_id},
    )


def _error(error: Any, status: Any) -> CallError | None:
    failed = status if isinstance(status, int) and status >= 400 else None
    if not error and failed is None:
        return None
    said = mapping(error)
    kind = said.get("type") or said.get("code") or "HTTPError"
    return CallError(str(kind), failed, text(said.get("message")) or text(error) or "")


def _parsed(line: str) -> dict[str, Any]:
    try:
        return mapping(json.loads(line))
    except ValueError:
        return {}
