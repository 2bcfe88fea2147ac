"""A record as a row and back: what is plain, what is encrypted, what is hashed.

Plain are the columns that queries and summaries need: times, names of models and workloads,
tokens, costs, flags. Encrypted is all text: request, response, the error's message, tags. A plain
value that a column cannot hold as it is (a NUL character, a number that is none) is kept exactly in
the encrypted part, and the column holds what comes nearest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from hetagent.errors import StoreError
from hetagent.learn.keys import Key
from hetagent.learn.record import CallError, CallRecord, Usage
from hetagent.learn.store.crypto import Opener, Origin, Sealer, pseudonym

__all__ = ["BOUND", "ORIGINS", "microseconds", "moment", "opened", "plain", "resealed", "sealed"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_TEXT = 500  # of a plain column: an index holds no more than about 2,700 bytes
_LARGEST = 2**63 - 1

ORIGINS: tuple[Origin, ...] = ("trace", "conversation", "client")


def _text(value: Any) -> str | None:
    if value is None:
        return None
    plain = str(value)[:_LONGEST_TEXT].replace("\0", "\ufffd")
    return plain.encode("utf-8", "replace").decode("utf-8")


def _whole(value: Any) -> int | None:
    fits = isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LARGEST
    return int(value) if fits else None


def _real(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # SQLite has no minus zero.
    return number + 0.0 if math.isfinite(number) else None


_PLAIN: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "form": (_text, "form"),
    "source": (_text, "source"),
    "model": (_text, "model"),
    "served_model": (_text, "served_model"),
    "served_by": (_text, "served_by"),
    "reason": (_text, "reason"),
    "prompt_tokens": (_whole, "usage.prompt"),
    "completion_tokens": (_whole, "usage.completion"),
    "cached_tokens": (_whole, "usage.cached"),
    "thinking_tokens": (_whole, "usage.thinking"),
    "cost_usd": (_real, "cost_usd"),
    "seconds": (_real, "seconds"),
    "first_token_seconds": (_real, "first_token_seconds"),
    "attempts": (_whole, "attempts"),
    "streamed": (bool, "streamed"),
    "complete": (bool, "complete"),
    "error_kind": (_text, "error.kind"),
    "error_status": (_whole, "error.status"),
    "workload": (_text, "workload"),
    "trainable": (_text, "trainable"),
    "interactive": (bool, "interactive"),
}
"""Columns that hold an attribute of the record, and how they hold it."""

_NEVER_NULL = {"form": "", "source": "", "model": "", "served_by": "", "reason": "",
               "attempts": 0, "trainable": ""}  # fmt: skip

BOUND = ("id", "time_us", *_PLAIN, *ORIGINS, "redacted")
"""Columns that are bound to the encrypted part; the record's id is the first."""


def sealed(record: CallRecord, *, sealer: Sealer, origins: Key) -> dict[str, Any]:
    """The row of a record.

    Raises:
        StoreError: The record has no id, or holds what JSON cannot express.
    """
    if not record.id:
        raise StoreError("A record has no id.", hint="hetagent.learn.record.new_id makes one.")
    row: dict[str, Any] = {"id": _text(record.id), "time_us": microseconds(record.time)}
    exact: dict[str, Any] = {}
    for column, (held, attribute) in _PLAIN.items():
        value = _value(record, attribute)
        row[column] = held(value)
        if row[column] != value:
            exact[column] = value
        if row[column] is None and column in _NEVER_NULL:
            row[column] = _NEVER_NULL[column]
    for origin in ORIGINS:
        value = getattr(record, f"{origin}_id")
        row[origin] = None if value is None else pseudonym(origins, origin, str(value))
    row["redacted"] = record.redacted is not None
    row["assigned"] = None
    return _with_payload(row, _payload(record, exact), sealer)


def opened(row: Mapping[str, Any], *, opener: Opener) -> CallRecord:
    """The record of a row; its origins are pseudonyms.

    Raises:
        StoreError: The key is not here, or the row was changed.
    """
    bound = [row[column] for column in BOUND]
    said = json.loads(
        opener.open(bytes(row["payload"]), key_id=row["key_id"], bound=bound).decode(
            "utf-8", "surrogatepass"
        )
    )
    known = {column: said["exact"].get(column, row[column]) for column in _PLAIN}
    error = None
    if known["error_kind"] is not None:
        error = CallError(known["error_kind"], known["error_status"], said["error"])
    return CallRecord(
        id=row["id"],
        time=moment(row["time_us"]),
        form=known["form"],
        source=known["source"],
        model=known["model"],
        request=said["request"],
        response=said["response"],
        error=error,
        served_model=known["served_model"],
        served_by=known["served_by"],
        reason=known["reason"],
        usage=Usage(
            known["prompt_tokens"],
            known["completion_tokens"],
            known["cached_tokens"],
            known["thinking_tokens"],
        ),
        cost_usd=known["cost_usd"],
        seconds=known["seconds"],
        first_token_seconds=known["first_token_seconds"],
        attempts=known["attempts"],
        streamed=known["streamed"],
        complete=known["complete"],
        trace_id=row["trace"],
        conversation_id=row["conversation"],
        client_id=row["client"],
        workload=known["workload"] if known["workload"] is not None else row["assigned"],
        trainable=known["trainable"],
        interactive=known["interactive"],
        tags=said["tags"],
        redacted=said["redacted"],
    )


def plain(record: CallRecord) -> dict[str, Any]:
    """The plain columns of a record that was read, ``time`` in place of ``time_us``."""
    return {
        "id": record.id,
        "time": record.time,
        **{name: held(_value(record, attribute)) for name, (held, attribute) in _PLAIN.items()},
        **{origin: getattr(record, f"{origin}_id") for origin in ORIGINS},
        "redacted": record.redacted is not None,
    }


def resealed(row: Mapping[str, Any], *, opener: Opener, sealer: Sealer) -> dict[str, Any]:
    """The row under another key: its new ``payload`` and ``key_id``."""
    bound = [row[column] for column in BOUND]
    said = opener.open(bytes(row["payload"]), key_id=row["key_id"], bound=bound)
    return {"payload": sealer.seal(said, bound=bound), "key_id": sealer.key_id}


def microseconds(time: datetime) -> int:
    """Since 1970 in UTC."""
    return (time.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def moment(time_us: int) -> datetime:
    """The time, in UTC, that `microseconds` counted."""
    return _EPOCH + timedelta(microseconds=time_us)


def _value(record: CallRecord, attribute: str) -> Any:
    if attribute.startswith("error.") and record.error is None:
        return None
    return attrgetter(attribute)(record)


def _payload(record: CallRecord, exact: Mapping[str, Any]) -> bytes:
    said = {
        "request": record.request,
        "response": record.response,
        "error": "" if record.error is None else record.error.message,
        "tags": record.tags,
        "redacted": record.redacted,
        "exact": exact,
    }
    try:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), default=_plain_json)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"Record {record.id} holds what is no JSON: {error}.",
            hint="Requests and responses are kept as the JSON that was sent.",
        ) from error
    return text.encode("utf-8", "surrogatepass")


def _plain_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _with_payload(row: dict[str, Any], payload: bytes, sealer: Sealer) -> dict[str, Any]:
    row["key_id"] = sealer.key_id
    row["payload"] = sealer.seal(payload, bound=[row[column] for column in BOUND])
    return row
