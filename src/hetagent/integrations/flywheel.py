"""NVIDIA's data flywheel: one call a line, of five keys, with OpenAI's request and response."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.imported import Defaults, mapping, moment, record_id, text
from hetagent.integrations.openai_form import openai_form, openai_record
from hetagent.learn.record import CallRecord

__all__ = ["KEYS", "flywheel_line", "is_flywheel", "read_flywheel"]

KEYS = ("timestamp", "workload_id", "client_id", "request", "response")

# Both are required, and no record may seem to be of the same group or client as another.
_NO_WORKLOAD = "unassigned"
_NO_CLIENT = "unknown"


def is_flywheel(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is of this format."""
    return set(KEYS) <= set(entry)


def read_flywheel(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """The record of an entry.

    Raises:
        InputError: It is none.
    """
    request, response = entry.get("request"), entry.get("response")
    if not isinstance(request, Mapping) or not isinstance(response, Mapping | None):
        raise InputError(
            "request and response are not both objects.", hint="Each line has a whole call."
        )
    workload, client = text(entry.get("workload_id")), text(entry.get("client_id"))
    time = moment(entry.get("timestamp"))
    yield openai_record(
        id=record_id(time, "flywheel", [entry.get(key) for key in KEYS]),
        time=time or defaults.time,
        request=dict(request),
        response=None if response is None else dict(response),
        defaults=defaults,
        workload=None if workload == _NO_WORKLOAD else workload,
        client_id=None if client == _NO_CLIENT else client,
    )


def flywheel_line(record: CallRecord) -> dict[str, Any] | str:
    """A record in this format, or why it has no place in it."""
    form = openai_form(record)
    if isinstance(form, str):
        return form
    request, response = form
    return {
        "timestamp": int(record.time.timestamp()),
        "workload_id": record.workload or _NO_WORKLOAD,
        "client_id": record.client_id or _NO_CLIENT,
        "request": {"model": record.model, **mapping(request)},
        "response": response,
    }
