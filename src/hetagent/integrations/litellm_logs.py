"""LiteLLM's logs: the ``standard_logging_object`` of each call, as its loggers write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.imported import Defaults, count, mapping, moment, number, record_id, text
from hetagent.learn.litellm_calls import form_of, read_call
from hetagent.learn.marks import Marks
from hetagent.learn.record import CallError, CallRecord, Usage

__all__ = ["is_litellm_log", "read_litellm_log"]

_OBJECT = "standard_logging_object"
_REDACTED = "redacted-by-litellm"


def is_litellm_log(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is of such a log."""
    return _OBJECT in entry or ("call_type" in entry and "model_parameters" in entry)


def read_litellm_log(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The record of a call; none of images, speech and the like.

    Raises:
        InputError: It is none, or what was said was left out of the log.
    """
    log = mapping(entry.get(_OBJECT)) or dict(entry)
    start = moment(log.get("startTime"))
    if start is None:
        raise InputError("There is no startTime.", hint="Export the log whole.")
    if log.get("messages") == _REDACTED or mapping(log.get("response")).get("text") == _REDACTED:
        raise InputError(
            "Messages were left out of this log.",
            hint="Log with turn_off_message_logging off, or record with hetagent.Recorder.",
        )
    kwargs = _as_kwargs(log)
    form = form_of(kwargs)
    if form is None:
        return
    end = moment(log.get("endTime")) or start
    failed = log.get("status") == "failure"
    made = read_call(
        kwargs,
        log.get("response"),
        start,
        end,
        form=form,
        marks=_marks(log),
        attempts=1,
        failed=failed,
    )
    record = made()
    if record.usage == Usage():
        usage = Usage(count(log.get("prompt_tokens")), count(log.get("completion_tokens")))
        record = replace(record, usage=usage)
    call = text(log.get("litellm_call_id")) or text(log.get("id"))
    known = [call] if call else [log.get("messages"), log.get("response")]
    yield defaults.over(
        replace(
            record,
            id=record_id(start, "litellm", *known),
            response=None if failed else record.response,
            error=_error(log) if failed else None,
        )
    )


def _as_kwargs(log: Mapping[str, Any]) -> dict[str, Any]:
    """As LiteLLM tells its callbacks of the same call."""
    first: datetime | None = moment(log.get("completionStartTime"))
    return {
        "call_type": log.get("call_type"),
        "model": log.get("model"),
        "custom_llm_provider": log.get("custom_llm_provider"),
        "messages": log.get("messages"),
        "input": log.get("messages"),
        "optional_params": mapping(log.get("model_parameters")),
        "litellm_params": {"metadata": mapping(log.get("metadata"))},
        "litellm_trace_id": log.get("trace_id"),
        "stream": log.get("stream"),
        "response_cost": number(log.get("response_cost")),
        "cache_hit": log.get("cache_hit"),
        "completion_start_time": first,
    }


def _marks(log: Mapping[str, Any]) -> Marks:
    metadata = mapping(mapping(log.get("metadata")).get("requester_metadata"))
    tags = log.get("request_tags")
    names = [one for one in tags if isinstance(one, str)] if isinstance(tags, list) else []
    return Marks(
        client=text(log.get("end_user")) or text(metadata.get("user_id")),
        conversation=text(log.get("session_id")) or text(metadata.get("session_id")),
        workload=text(metadata.get("hetagent_workload")) or text(metadata.get("workload")),
        tags=dict.fromkeys(names, ""),
    )


def _error(log: Mapping[str, Any]) -> CallError:
    known = mapping(log.get("error_information"))
    status = count(known.get("error_code"))
    message = text(log.get("error_str")) or text(known.get("error_message")) or ""
    return CallError(text(known.get("error_class")) or "Error", status, message)
