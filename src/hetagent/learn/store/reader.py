"""Reading call records: queries, counts and totals, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from hetagent.errors import StoreError
from hetagent.learn.keys import KeySource, key_source
from hetagent.learn.record import CallRecord
from hetagent.learn.store.attached import read_attached
from hetagent.learn.store.crypto import Opener
from hetagent.learn.store.database import Database
from hetagent.learn.store.keys import load_keys
from hetagent.learn.store.rows import microseconds, moment, opened
from hetagent.learn.store.schema import records

__all__ = ["Query", "Reader", "Totals", "conditions"]

_PAGE = 500
_MOST_BYTES = 16_000_000
_PLAIN = [column for column in records.c if column.name not in ("payload", "key_id")]
_workload = sa.func.coalesce(records.c.workload, records.c.assigned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records are wanted; those for which all that is given holds.

    Attributes:
        since: The earliest time.
        until: The time that all are before.
        workload: Its name, as the caller said it or as it was assigned.
        unassigned: Only records of no workload.
        model: As the caller named it.
        trace: A trace's pseudonym, as records that were read have it.
        conversation: A conversation's pseudonym.
        client: A client's pseudonym.
        failed: Only calls that failed, or only others.
        interactive: Only calls in which a person talks with the model, or only others.
        newest_first: Begin with the latest.
        limit: How many at most.
    """

    since: datetime | None = None
    until: datetime | None = None
    workload: str | None = None
    unassigned: bool = False
    model: str | None = None
    trace: str | None = None
    conversation: str | None = None
    client: str | None = None
    failed: bool | None = None
    interactive: bool | None = None
    newest_first: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some records.

    Attributes:
        name: What they have in common: a workload, a model, a day; ``None`` where that is not said.
        calls: How many there are.
        share: Of all records that were asked for.
        failed: How many failed.
        prompt_tokens: Of all prompts; calls whose tokens are not known count as none.
        completion_tokens: Of all completions.
        cost_usd: US dollars of the calls whose cost is known.
        seconds: Mean duration of the calls whose duration is known.
        first: The earliest, in UTC.
        last: The latest.
        median_seconds: Of the same calls; only from Parquet.
        p95_seconds: What 95% of them took at most; only from Parquet.
    """

    name: str | None
    calls: int
    share: float
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float | None
    first: datetime
    last: datetime
    median_seconds: float | None = None
    p95_seconds: float | None = None


class Reader:
    """Reads records, and changes nothing.

    Whose a record is stays hidden: its trace, conversation and client are pseudonyms. Plain columns
    and totals need no key; what was said needs the ``records`` key.

    Args:
        where: A file or ``postgresql://`` address; by default that of ``HETAGENT_RECORDS``.
        keys: Where the keys are; by default `hetagent.learn.keys.key_source`.
        timeout: Seconds to wait for a lock or a connection.

    Raises:
        StoreError: There is no store, or it cannot be opened.
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        keys: KeySource | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._database = Database(where, only_read=True, timeout=timeout)
        self._source = key_source() if keys is None else keys
        self._opener: Opener | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The store, without passwords."""
        return self._database.name

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def get(self, name: str) -> CallRecord:
        """The record of this id.

        Raises:
            StoreError: There is none, its key is not here, or it was changed.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(records).where(records.c.id == name)).mappings()
            found = row.one_or_none()
        if found is None:
            raise StoreError(
                f"There is no record {name!r}.", hint="`hetagent records list` shows ids."
            )
        return self._opened([found])[0]

    def records(self, query: Query | None = None, *, assigned: bool = True) -> Iterator[CallRecord]:
        """Records by time, decrypted as they are taken.

        At most some 16 MB of them are in memory at once, or one record where it is larger. Nothing
        is locked between two of them, so a slow reader hinders nobody; records that are written
        or erased meanwhile may be among them or not.

        Args:
            query: Which records; all by default.
            assigned: Whether a record that was assigned to a workload has it as its own; else only
                those have one whose caller said it.

        Raises:
            StoreError: The key is not here, or a record was changed.
        """
        for page in self._pages(query or Query(), sa.func.length(records.c.payload).label("size")):
            for some in _bundles(page):
                yield from self._some([row["id"] for row in some], assigned=assigned)

    def rows(self, query: Query | None = None) -> Iterator[Mapping[str, Any]]:
        """Plain columns of records by time, which need no key.

        ``time`` is in UTC, ``workload`` the one that was said or assigned.
        """
        for page in self._pages(query or Query()):
            for row in page:
                plain = dict(row)
                plain["time"] = moment(plain.pop("time_us"))
                assigned = plain.pop("assigned")
                if plain["workload"] is None:
                    plain["workload"] = assigned
                yield plain

    def attached(self, name: str) -> bytes | None:
        """What `Store.attach` put beside the store; ``None`` where nothing is.

        Raises:
            StoreError: It cannot be read, or its key is not here.
        """
        keys = load_keys(self._database, self._source, "records")
        return read_attached(self._database, name, opener=Opener(keys))

    def count(self, query: Query | None = None) -> int:
        """How many records there are."""
        wanted = sa.select(sa.func.count()).select_from(records).where(*conditions(query))
        with self._database.read() as connection:
            return connection.scalar(wanted) or 0

    def totals(
        self, query: Query | None = None, *, by: Literal["workload", "model", "form"] = "workload"
    ) -> list[Totals]:
        """Sums for each workload or model, the most frequent first.

        The query's order and limit do not matter.
        """
        group = _workload if by == "workload" else records.c[by]
        calls = sa.func.count()
        wanted = (
            sa.select(
                group.label("name"),
                calls.label("calls"),
                sa.func.count(records.c.error_kind).label("failed"),
                sa.func.coalesce(sa.func.sum(records.c.prompt_tokens), 0).label("prompt"),
                sa.func.coalesce(sa.func.sum(records.c.completion_tokens), 0).label("completion"),
                sa.func.coalesce(sa.func.sum(records.c.cost_usd), 0.0).label("cost"),
                sa.func.avg(records.c.seconds).label("seconds"),
                sa.func.min(records.c.time_us).label("first"),
                sa.func.max(records.c.time_us).label("last"),
            )
            .where(*conditions(query))
            .group_by(group)
            .order_by(calls.desc(), group)
        )
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        every = sum(row.calls for row in rows)
        return [
            Totals(
                row.name,
                row.calls,
                row.calls / every,
                row.failed,
                int(row.prompt),
                int(row.completion),
                float(row.cost),
                None if row.seconds is None else float(row.seconds),
                moment(row.first),
                moment(row.last),
            )
            for row in rows
        ]

    def _pages(self, query: Query, *more: ColumnElement[Any]) -> Iterator[list[Mapping[str, Any]]]:
        """Rows a page at a time, each page in a transaction of its own."""
        left, last = query.limit, None
        place = sa.tuple_(records.c.time_us, records.c.id)
        descending = query.newest_first
        order = [c.desc() if descending else c.asc() for c in (records.c.time_us, records.c.id)]
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = sa.select(*_PLAIN, *more).where(*conditions(query)).order_by(*order).limit(size)
            if last is not None:
                mark = sa.tuple_(*(sa.literal(one) for one in last))
                page = page.where(place < mark if descending else place > mark)
            with self._database.read() as connection:
                rows = [dict(row) for row in connection.execute(page).mappings()]
            if rows:
                yield list(rows)
            if len(rows) < size:
                return
            last = (rows[-1]["time_us"], rows[-1]["id"])
            left = None if left is None else left - len(rows)

    def _some(self, names: list[str], *, assigned: bool) -> list[CallRecord]:
        with self._database.read() as connection:
            found = connection.execute(sa.select(records).where(records.c.id.in_(names)))
            by_name = {row["id"]: dict(row) for row in found.mappings()}
        if not assigned:
            for row in by_name.values():
                row["assigned"] = None
        return self._opened([by_name[name] for name in names if name in by_name])

    def _opened(self, rows: list[Any]) -> list[CallRecord]:
        if self._opener is None or any(row["key_id"] not in self._opener for row in rows):
            self._opener = Opener(load_keys(self._database, self._source, "records"))
        return [opened(row, opener=self._opener) for row in rows]


def conditions(query: Query | None) -> list[ColumnElement[bool]]:
    """What a query asks for, in SQL; its order and limit are left out."""
    asked = query or Query()
    found: list[ColumnElement[bool]] = []
    if asked.since is not None:
        found.append(records.c.time_us >= microseconds(asked.since))
    if asked.until is not None:
        found.append(records.c.time_us < microseconds(asked.until))
    if asked.workload is not None:
        found.append(_workload == asked.workload)
    if asked.unassigned:
        found.append(_workload.is_(None))
    for name in ("model", "trace", "conversation", "client"):
        value = getattr(asked, name)
        if value is not None:
            found.append(records.c[name] == value)
    if asked.failed is not None:
        error = records.c.error_kind
        found.append(error.is_not(None) if asked.failed else error.is_(None))
    if asked.interactive is not None:
        found.append(records.c.interactive.is_(asked.interactive))
    return found


def _bundles(rows: list[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Rows in runs whose payloads together are not too large."""
    some: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        if some and size + row["size"] > _MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(row)
        size += row["size"]
    if some:
        yield some
