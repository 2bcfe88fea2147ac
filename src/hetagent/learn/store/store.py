"""Where call records are kept: SQLite or PostgreSQL, encrypted.

Three objects for three roles, each with the keys that it needs and no other:

    Store       writes records                       needs both keys
    Reader      reads what was said                  needs the ``records`` key
    Custodian   finds records by client, erases      needs the ``origins`` key
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hetagent.errors import HetagentError, MissingExtraError, StoreError
from hetagent.learn.keys import KeySource, key_source
from hetagent.learn.record import CallRecord

try:
    import cryptography  # noqa: F401
    import sqlalchemy as sa
except ImportError as error:
    raise MissingExtraError(error.name or "sqlalchemy", extra="records") from error

from sqlalchemy.dialects import postgresql, sqlite

from hetagent.learn.store.attached import write_attached
from hetagent.learn.store.crypto import Sealer
from hetagent.learn.store.custodian import Custodian
from hetagent.learn.store.database import Database
from hetagent.learn.store.keys import writing_key
from hetagent.learn.store.reader import Query, Reader, Totals, conditions
from hetagent.learn.store.rows import sealed
from hetagent.learn.store.schema import records as table

__all__ = ["Custodian", "Query", "Reader", "Store", "Totals"]


class Store:
    """Writes records, durably; a `hetagent.learn.pipeline.RecordStore`.

    It is made where it does not exist. Several threads and several processes may write at once,
    each process with a store of its own or one that it inherited by forking.

    Args:
        where: A file or ``postgresql://`` address; by default that of ``HETAGENT_RECORDS``, else
            ``records.db`` in the user's data folder.
        keys: Where the keys are; by default `hetagent.learn.keys.key_source`. A new store gets new
            ones.
        timeout: Seconds to wait for a lock or a connection.

    Raises:
        StoreError: It cannot be opened or made, or its keys are not here.
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        keys: KeySource | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._database = Database(where, make=True, timeout=timeout)
        self._source = key_source() if keys is None else keys
        try:
            self._load_keys()
        except BaseException:
            self._database.close()
            raise
        insert = sqlite.insert if self._database.sqlite else postgresql.insert
        # An append whose acknowledgement got lost is made again; what is there stays.
        self._insert = insert(table).on_conflict_do_nothing()
        self._turns = _Turns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The store, without passwords."""
        return self._database.name

    @property
    def surrogate_key(self) -> bytes:
        """What surrogates of the store's records are drawn with: ``Redactor(key=...)``.

        It is derived from the ``origins`` key, which is never replaced, so the same trace has the
        same surrogates in all processes. Who has it can test guesses at values that were replaced.
        """
        return self._origins.derived("surrogates")

    def append(
        self, records: Sequence[CallRecord], *, assigned: Mapping[str, str] | None = None
    ) -> None:
        """Keep all of them, durably, or none. A record whose id is there already is left out.

        Args:
            records: What to keep.
            assigned: The workload of each record's id that is of one, as `assign` says it.

        Raises:
            StoreError: They could not be kept; ``retryable`` where that may pass.
        """
        if not records:
            return
        mine = _Append(records, assigned or {})
        mine.rows = self._sealed(mine)
        if self._database.sqlite:
            self._turns.take(mine, self._write_together)
        else:
            # The server itself makes several commits durable at once.
            self._write(mine)
        if mine.error is not None:
            raise mine.error

    def assign(self, workloads: Mapping[str, str | None]) -> None:
        """Say which workloads records belong to, all or none.

        A workload that the caller of a record had said stays.

        Args:
            workloads: The workload for each record's id; ``None`` takes it back.

        Raises:
            StoreError: It could not be kept.
        """
        if not workloads:
            return
        change = (
            sa.update(table)
            .where(table.c.id == sa.bindparam("one"))
            .where(table.c.assigned.is_distinct_from(sa.bindparam("name")))
            .values(assigned=sa.bindparam("name"))
        )
        with self._database.write() as connection:
            connection.execute(
                change, [{"one": one, "name": name} for one, name in workloads.items()]
            )

    def unassign(self, query: Query) -> None:
        """Take workloads back that records were assigned to.

        Args:
            query: Which records; its order and limit do not matter.

        Raises:
            StoreError: It could not be kept.
        """
        change = sa.update(table).where(table.c.assigned.is_not(None), *conditions(query))
        with self._database.write() as connection:
            connection.execute(change.values(assigned=None))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _load_keys(self) -> None:
        self._origins = writing_key(self._database, self._source, "origins")
        self._sealer = Sealer(writing_key(self._database, self._source, "records"))

    def attach(self, name: str, data: bytes) -> Path:
        """Put something beside the store, encrypted as records are; see `Reader.attached`.

        Raises:
            StoreError: It cannot be written.
        """
        return write_attached(self._database, name, data, sealer=self._sealer)

    def _sealed(self, append: _Append) -> list[dict[str, Any]]:
        sealer, origins = self._sealer, self._origins
        rows = [sealed(record, sealer=sealer, origins=origins) for record in append.records]
        for row in rows:
            row["assigned"] = append.assigned.get(row["id"])
        return rows

    def _write_together(self, appends: Sequence[_Append]) -> None:
        """All of them in one transaction; each alone where one of them cannot be kept."""
        try:
            self._insert_all([row for one in appends for row in one.rows])
        except StoreError as error:
            if len(appends) > 1 and not error.retryable:
                for one in appends:
                    self._write(one)
                return
            for one in appends:
                one.error = error
        except _RetiredKeyError:
            for one in appends:
                self._write(one)

    def _write(self, append: _Append) -> None:
        try:
            try:
                self._insert_all(append.rows)
            except _RetiredKeyError:
                # A rotation ended since the keys were loaded.
                self._load_keys()
                append.rows = self._sealed(append)
                self._insert_all(append.rows)
        except HetagentError as error:
            append.error = error
        except _RetiredKeyError as error:
            append.error = StoreError(
                f"The key {self._sealer.key_id} is no longer one of the store {self.name}.",
                hint="`hetagent records keys` lists those that are.",
            )
            append.error.__cause__ = error

    def _insert_all(self, rows: Sequence[dict[str, Any]]) -> None:
        with self._database.write() as connection:
            try:
                connection.execute(self._insert, rows)
            except sa.exc.IntegrityError as error:
                if _names_a_foreign_key(error.orig):
                    raise _RetiredKeyError from error
                raise


def _names_a_foreign_key(error: BaseException | None) -> bool:
    """A record's key is the one column that refers to another table."""
    said = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return said in ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")


class _RetiredKeyError(Exception):
    """The database refuses a row because its key is off the store's list."""


class _Append:
    """One call of `Store.append` that waits for its turn."""

    def __init__(self, records: Sequence[CallRecord], assigned: Mapping[str, str]) -> None:
        self.records = records
        self.assigned = assigned
        self.rows: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.done = False


class _Turns:
    """Lets the writers of a process share a commit, whose price is one flush of the disk.

    While one commits, others queue up; the next one whose turn it is commits for all of them.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Append] = []

    def take(self, mine: _Append, write: Any) -> None:
        with self._guard:
            self._waiting.append(mine)
        with self._turn:
            if mine.done:
                return
            with self._guard:
                together, self._waiting = self._waiting, []
            try:
                write(together)
            except BaseException as error:
                # Ctrl-C, say: nobody else may wait for ever, or take it for done.
                for one in together:
                    if one is not mine and one.error is None:
                        one.error = StoreError(f"The writer was interrupted: {error!r}.")
                raise
            finally:
                for one in together:
                    one.done = True
