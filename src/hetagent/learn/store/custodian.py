"""Finding a client's records by who it is, and erasing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from hetagent.errors import StoreError
from hetagent.learn.keys import Key, KeySource, key_source
from hetagent.learn.store.attached import detach
from hetagent.learn.store.crypto import Origin, pseudonym
from hetagent.learn.store.database import Database
from hetagent.learn.store.keys import load_keys
from hetagent.learn.store.rows import microseconds
from hetagent.learn.store.schema import records

__all__ = ["Custodian"]

_AT_ONCE = 1_000


class Custodian:
    """Knows whose records are whose, and erases them; cannot read what they say.

    It needs the ``origins`` key, and not that of the records. Retention needs no key at all.

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
        self._database = Database(where, timeout=timeout)
        self._source = key_source() if keys is None else keys
        self._origins: Key | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def pseudonym(self, value: str, *, origin: Origin = "client") -> str:
        """What a client, conversation or trace is called in records that are read.

        Raises:
            StoreError: The key of origins is not here.
        """
        if self._origins is None:
            self._origins = load_keys(self._database, self._source, "origins").all[0]
        return pseudonym(self._origins, origin, value)

    def identify(
        self, candidates: Iterable[str], *, origin: Origin = "client"
    ) -> Mapping[str, str]:
        """Which of these clients have records: their pseudonyms, and who they are.

        Raises:
            StoreError: The key of origins is not here.
        """
        column = records.c[origin]
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for one in candidates:
                name = self.pseudonym(one, origin=origin)
                if connection.scalar(sa.select(column).where(column == name).limit(1)):
                    found[name] = one
        return found

    def forget(self, client: str, *, rewrite: bool = False) -> int:
        """Erase all records of a client.

        It is done when this returns: the records are neither in SQLite's file nor in its log. In
        PostgreSQL their space is free for reuse; see ``rewrite``. Records that are still waiting to
        be written are not erased. Workloads that were found may quote them and are removed with
        them. Run again after an error, it goes on.

        Args:
            client: Who it is, as calls had it.
            rewrite: Write the whole database anew too, so that nothing is left in freed space.

        Returns:
            How many records were erased.

        Raises:
            StoreError: The key of origins is not here, or somebody still reads the records.
        """
        erased = self._delete(records.c.client == self.pseudonym(client))
        self._database.wipe(rewrite=rewrite)
        return erased

    def retain(
        self,
        days: float,
        *,
        rewrite: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Erase all records that are older.

        Args:
            days: How old a record may be.
            rewrite: Write the whole database anew too.
            progress: Called with how many are erased so far.

        Returns:
            How many records were erased.

        Raises:
            StoreError: The store failed, or somebody still reads the records.
        """
        if not days >= 0:
            raise StoreError(f"Records cannot be {days} days old.", hint="Give 0 or more days.")
        oldest = microseconds(datetime.now(UTC) - timedelta(days=days))
        erased = self._delete(records.c.time_us < oldest, progress)
        self._database.wipe(rewrite=rewrite)
        return erased

    def _delete(
        self, which: ColumnElement[bool], progress: Callable[[int], None] | None = None
    ) -> int:
        """Some at a time, so that writers need not wait long."""
        erased = 0
        some = sa.select(records.c.id).where(which).limit(_AT_ONCE)
        while True:
            with self._database.write() as connection:
                done = connection.execute(
                    sa.delete(records).where(records.c.id.in_(some.scalar_subquery()))
                ).rowcount
            erased += done
            if progress is not None:
                progress(erased)
            if not done:
                break
        if erased:
            # Workloads that were found quote an example of each.
            detach(self._database)
        return erased
