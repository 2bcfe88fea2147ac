"""Langfuse's exports: observations, alone or within their traces, as JSON, JSON lines or CSV.

Names come in camel case from its API and page, and in snake case from its blob storage.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.imported import (
    Defaults,
    count,
    mapping,
    moment,
    number,
    record_id,
    sequence,
    text,
)
from hetagent.integrations.json_values import At, Fault, open_text
from hetagent.integrations.openai_form import openai_record
from hetagent.integrations.span_calls import answer, finish, loaded
from hetagent.learn.litellm_calls import BODY_PARAMETERS
from hetagent.learn.record import CallError, CallRecord, Usage

__all__ = ["is_langfuse", "read_csv_rows", "read_langfuse"]

Json = dict[str, Any]

_TYPES = ("GENERATION", "SPAN", "EVENT", "EMBEDDING", "AGENT", "TOOL", "CHAIN", "RETRIEVER")
_CALLS = ("GENERATION", "EMBEDDING")
_NAMED = ("model", "messages", "tools", "input")
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def is_langfuse(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a trace, an observation, or a page of them."""
    known = _snake(entry)
    if "observations" in known and "id" in known:
        return True
    if "trace_id" in known and str(known.get("type")).upper() in _TYPES:
        return True
    page = sequence(known.get("data"))
    return "meta" in known and bool(page) and is_langfuse(mapping(page[0]))


def read_langfuse(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The records of the model calls among the observations of an entry.

    Raises:
        InputError: An observation has no time.
    """
    known = _snake(entry)
    if "data" in known and "meta" in known:
        for one in sequence(known["data"]):
            yield from read_langfuse(mapping(one), defaults)
        return
    if "observations" not in known:
        yield from _records(known, {}, defaults)
        return
    for one in sequence(loaded(known["observations"])):
        yield from _records(_snake(mapping(one)), known, defaults)


def read_csv_rows(path: Path, *, fault: Fault) -> Generator[At, None, None]:
    """The rows of a table of observations, with JSON in its cells read.

    Args:
        path: The file.
        fault: Told of a row that cannot be read.
    """
    csv.field_size_limit(min(sys.maxsize, 1 << 28))
    with open_text(path) as file:
        rows = csv.DictReader(file)
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows, None)
            except (csv.Error, UnicodeDecodeError) as error:
                fault(InputError(f"Line {line} of {path} is no row: {error}.", hint="Mend it."))
                continue
            if row is None:
                return
            yield At(line, {name: _cell(cell) for name, cell in row.items() if name})


def _records(observation: Json, trace: Json, defaults: Defaults) -> Iterator[CallRecord]:
    kind = str(observation.get("type") or "GENERATION").upper()
    if kind not in _CALLS:
        return
    start = moment(observation.get("start_time"))
    if start is None:
        raise InputError("An observation has no start time.", hint="Export whole observations.")
    end = moment(observation.get("end_time"))
    first = moment(observation.get("completion_start_time"))
    trace_id = text(observation.get("trace_id")) or text(trace.get("id"))
    failed = observation.get("level") == "ERROR"
    model = text(observation.get("provided_model_name")) or text(observation.get("model"))
    choices = _choices(loaded(observation.get("output")))
    metadata = mapping(loaded(observation.get("metadata")))
    yield openai_record(
        id=record_id(start, "langfuse", trace_id, observation.get("id")),
        time=start,
        request=_request(observation, model, embeds=kind == "EMBEDDING"),
        response=_response(model, choices, embeds=kind == "EMBEDDING") if not failed else None,
        error=(
            CallError("Error", None, text(observation.get("status_message")) or "")
            if failed
            else None
        ),
        defaults=defaults,
        seconds=None if end is None else (end - start).total_seconds(),
        first_token_seconds=None if first is None else (first - start).total_seconds(),
        streamed=first is not None or None,
        usage=_usage(observation),
        cost_usd=_cost(observation),
        trace_id=trace_id,
        conversation_id=text(observation.get("session_id")) or text(trace.get("session_id")),
        client_id=text(observation.get("user_id")) or text(trace.get("user_id")),
        workload=text(metadata.get("hetagent_workload")) or text(metadata.get("workload")),
        tags={"observation": name} if (name := text(observation.get("name"))) else {},
    )


def _request(observation: Json, model: str | None, *, embeds: bool) -> Json:
    given = loaded(observation.get("input"))
    body: Json = {"model": model} if model else {}
    parameters = mapping(loaded(observation.get("model_parameters")))
    body |= {
        name: loaded(one)
        for name, one in parameters.items()
        if name in BODY_PARAMETERS and name not in _NAMED
    }
    if isinstance(given, Mapping) and "messages" in given:
        extra = {name: one for name, one in given.items() if name in BODY_PARAMETERS}
        return {**body, **extra}
    if embeds:
        return {**body, "input": given}
    tools = []
    messages = []
    for one in given if isinstance(given, list) else [given]:
        said = mapping(one)
        # Some instrumentations log tools among the messages.
        if said.get("role") == "tool" and "content" in said and _is_tool(said["content"]):
            tools.append(said["content"])
        else:
            messages.append(said if "role" in said else {"role": "user", "content": _shown(one)})
    return {**body, "messages": messages, **({"tools": tools} if tools else {})}


def _is_tool(content: Any) -> bool:
    return isinstance(content, Mapping) and content.get("type") == "function"


def _choices(output: Any) -> list[tuple[Json, str | None]]:
    """Messages of an answer: one message, a body with choices, or a text."""
    if output is None or output == "":
        return []
    body = mapping(output)
    if sequence(body.get("choices")):
        return [
            (mapping(mapping(one).get("message")), finish(mapping(one).get("finish_reason")))
            for one in body["choices"]
        ]
    if isinstance(output, list) and output and all("role" in mapping(one) for one in output):
        return [(_message(mapping(output[-1])), None)]
    if "role" in body or "tool_calls" in body:
        return [(_message(body), None)]
    return [({"role": "assistant", "content": _shown(output)}, None)]


def _message(message: Json) -> Json:
    return {"role": "assistant", **{name: one for name, one in message.items() if one is not None}}


def _response(model: str | None, choices: list[tuple[Json, str | None]], *, embeds: bool) -> Json:
    if embeds:  # a text can be guessed back from its vector
        return {"object": "list", **({"model": model} if model else {})}
    return answer(
        model,
        [
            (said, why or ("tool_calls" if said.get("tool_calls") else "stop"))
            for said, why in choices
        ],
    )


def _usage(observation: Json) -> Usage:
    details = mapping(loaded(observation.get("usage_details")))
    old = mapping(loaded(observation.get("usage")))

    def tokens(*names: str) -> int | None:
        for source in (details, old):
            for name in names:
                if source.get(name) is not None:
                    return count(source[name])
        return None

    cached = tokens("input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
    prompt = tokens("input", "prompt_tokens", "input_tokens", "promptTokens")
    if prompt is not None and details:
        prompt += cached or 0  # which are counted beside the others
    return Usage(
        prompt,
        tokens("output", "completion_tokens", "output_tokens", "completionTokens"),
        cached,
        tokens("output_reasoning_tokens", "reasoning_tokens"),
    )


def _cost(observation: Json) -> float | None:
    details = mapping(loaded(observation.get("cost_details")))
    for value in (details.get("total"), observation.get("total_cost"),
                  observation.get("calculated_total_cost")):  # fmt: skip
        found = number(value)
        if found is not None:
            return found
    return None


def _snake(entry: Mapping[str, Any]) -> Json:
    """The names of an entry itself, not of what is in it."""
    return {_CAMEL.sub(r"_\1", str(name)).lower(): value for name, value in entry.items()}


def _cell(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell:
        return None
    return loaded(cell) if cell[0] in '{["' else cell


def _shown(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    return json.dumps(value, ensure_ascii=False)
