"""What all importers share: who made a record of a log's entry, and under which id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hetagent.errors import InputError
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import CallRecord

__all__ = ["Defaults", "count", "mapping", "moment", "number", "record_id", "sequence", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds for the records of a file where its entries do not say.

    Attributes:
        model: Name of the model.
        time: When the calls were made.
        client: Whose they are.
        workload: The group they belong to.
        interactive: Whether a person talks with the model in them.
        provenance: Knows whether answers of a model may train another.
        pseudonym: A keyed hash that ids are made with, such as a store's `Custodian.pseudonym`.
            Without one, an id made of a call's content lets whoever sees it test guesses at that.
    """

    model: str = "unknown"
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    client: str | None = None
    workload: str | None = None
    interactive: bool = False
    provenance: Provenance = field(default_factory=Provenance)
    pseudonym: Callable[[str], str] | None = None

    def over(self, record: CallRecord) -> CallRecord:
        """The record with what it does not say."""
        known = self.provenance.of(record.model, record.served_model)
        return replace(
            record,
            id=record.id if self.pseudonym is None else _keyed(record.id, self.pseudonym),
            source="import",
            client_id=record.client_id or self.client,
            workload=record.workload or self.workload,
            interactive=record.interactive or self.interactive,
            trainable=known if known != "unknown" else record.trainable,
        )


def record_id(time: datetime | None, *parts: Any) -> str:
    """The same id for the same entry, whenever it is imported: a UUID of version 8 (RFC 9562).

    Args:
        time: The entry's own; ``None`` where it has none. Ids rise with it.
        parts: What tells the entry from others, as JSON data.
    """
    told = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)
    milliseconds = 0 if time is None else max(0, int(time.timestamp() * 1000)) % (1 << 48)
    return _id(milliseconds, told)


def _keyed(id: str, pseudonym: Callable[[str], str]) -> str:  # noqa: A002 - as the record has it
    """The id without what could be computed from a call's content alone."""
    return _id(int(id[:12], 16), pseudonym(id))


def _id(milliseconds: int, told: str) -> str:
    digest = int.from_bytes(hashlib.sha256(told.encode()).digest()[:10], "big")
    value = (milliseconds << 80) | digest
    value = value & ~(0xF << 76) | (0x8 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"{value:032x}"


def moment(value: Any) -> datetime | None:
    """A time as logs have it: ISO 8601, or seconds, milliseconds or nanoseconds since 1970.

    Raises:
        InputError: It is none of these.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not value.lstrip("-").replace(".", "", 1).isdigit():
            found = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        since = float(value)
        for unit, least in ((1e9, 1e17), (1e6, 1e14), (1e3, 1e11)):
            if abs(since) >= least:
                since /= unit
                break
        return datetime.fromtimestamp(since, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{value!r} is no time.", hint="Times are ISO 8601, or seconds since 1970."
        ) from error


def mapping(value: Any) -> dict[str, Any]:
    """It, where it is a mapping; an empty one otherwise."""
    return dict(value) if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """It, where it is a list; an empty one otherwise."""
    return list(value) if isinstance(value, list | tuple) else []


def text(value: Any) -> str | None:
    """It, where it is a text with anything in it."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """It, where it is a number, or a text that is one."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def count(value: Any) -> int | None:
    """It, where it is a whole number, or a text that is one."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None
