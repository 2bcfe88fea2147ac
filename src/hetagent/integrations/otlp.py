"""Spans of OpenTelemetry, as its protocol's JSON or its Python console exporter writes them.

Which spans are model calls, and what they say, is told by the conventions that their attributes
follow: those for generative AI, or OpenInference's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.genai_spans import genai_call
from hetagent.integrations.imported import Defaults, mapping, moment, record_id, sequence, text
from hetagent.integrations.openai_form import openai_record
from hetagent.integrations.openinference_spans import openinference_call
from hetagent.integrations.span_calls import SpanCall
from hetagent.learn.record import CallError, CallRecord

__all__ = ["Span", "is_spans", "read_spans"]

_OPENINFERENCE = "openinference.span.kind"
_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace: Its trace's id.
        id: Its own.
        name: Its name.
        start: When it began.
        end: When it ended.
        attributes: As JSON data.
        events: Names and attributes of what happened in it.
        failure: Why it failed; ``None`` where it did not.
    """

    trace: str
    id: str
    name: str
    start: datetime
    end: datetime
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    failure: str | None = None


def is_spans(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is of this format."""
    if "resourceSpans" in entry or "resource_spans" in entry:
        return True
    return "context" in entry and "attributes" in entry and "start_time" in entry


def read_spans(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The records of the model calls among the spans of an entry.

    Raises:
        InputError: A span has no time.
    """
    for span in _spans(entry):
        attributes = span.attributes
        read = openinference_call if _OPENINFERENCE in attributes else genai_call
        call = read(attributes, span.events)
        if call is not None:
            yield _record(span, call, defaults)


def _record(span: Span, call: SpanCall, defaults: Defaults) -> CallRecord:
    failure = call.failure or span.failure
    response = call.response if failure is None or call.answered else None
    error = (
        None if failure is None else CallError(call.failure or "Error", None, span.failure or "")
    )
    return openai_record(
        id=record_id(span.start, "span", span.trace, span.id),
        time=span.start,
        request=call.request,
        response=response,
        error=error,
        defaults=defaults,
        seconds=(span.end - span.start).total_seconds(),
        first_token_seconds=call.first_token_seconds,
        usage=call.usage,
        cost_usd=call.cost_usd,
        trace_id=span.trace or None,
        conversation_id=call.conversation,
        client_id=call.client,
        workload=call.workload,
        tags={"span": span.name},
    )


def _spans(entry: Mapping[str, Any]) -> Iterator[Span]:
    if "context" in entry:
        yield _console(entry)
        return
    for resource in sequence(entry.get("resourceSpans") or entry.get("resource_spans")):
        scopes = mapping(resource).get("scopeSpans") or mapping(resource).get("scope_spans")
        for scope in sequence(scopes):
            for span in sequence(mapping(scope).get("spans")):
                yield _span(mapping(span))


def _span(span: dict[str, Any]) -> Span:
    def known(camel: str, snake: str) -> Any:
        return span.get(camel, span.get(snake))

    start = moment(known("startTimeUnixNano", "start_time_unix_nano"))
    if start is None:
        raise InputError("A span has no startTimeUnixNano.", hint="Export the spans whole.")
    status = mapping(span.get("status"))
    failed = status.get("code") in _FAILED
    return Span(
        _hex(known("traceId", "trace_id")),
        _hex(known("spanId", "span_id")),
        text(span.get("name")) or "",
        start,
        moment(known("endTimeUnixNano", "end_time_unix_nano")) or start,
        _attributes(span.get("attributes")),
        tuple(
            (text(mapping(one).get("name")) or "", _attributes(mapping(one).get("attributes")))
            for one in sequence(span.get("events"))
        ),
        (text(status.get("message")) or "") if failed else None,
    )


def _console(span: Mapping[str, Any]) -> Span:
    context = mapping(span.get("context"))
    start = moment(span.get("start_time"))
    if start is None:
        raise InputError("A span has no start_time.", hint="Export the spans whole.")
    status = mapping(span.get("status"))
    failed = status.get("status_code") in _FAILED
    return Span(
        _hex(context.get("trace_id")),
        _hex(context.get("span_id")),
        text(span.get("name")) or "",
        start,
        moment(span.get("end_time")) or start,
        mapping(span.get("attributes")),
        tuple(
            (text(mapping(one).get("name")) or "", mapping(mapping(one).get("attributes")))
            for one in sequence(span.get("events"))
        ),
        (text(status.get("description")) or "") if failed else None,
    )


def _hex(value: Any) -> str:
    """An id as hexadecimal digits; JSON made by protobuf itself has it in base64."""
    given = (text(value) or "").lower().removeprefix("0x")
    if len(given) in (16, 32) or not given:
        return given
    try:
        return base64.b64decode(text(value) or "", validate=True).hex()
    except ValueError:
        return given


def _attributes(pairs: Any) -> dict[str, Any]:
    return {
        str(mapping(one).get("key")): _value(mapping(mapping(one).get("value")))
        for one in sequence(pairs)
    }


def _value(value: Mapping[str, Any]) -> Any:
    """The value that is in one of the fields of ``AnyValue``."""
    for kind, given in value.items():
        name = kind.replace("_", "").lower()
        if name == "intvalue":
            return int(given)
        if name == "arrayvalue":
            return [_value(mapping(one)) for one in sequence(mapping(given).get("values"))]
        if name == "kvlistvalue":
            return _attributes(mapping(given).get("values"))
        return given
    return None
