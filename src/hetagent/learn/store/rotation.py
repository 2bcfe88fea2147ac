"""The keys of a store as a whole: what each is used for, and replacing the records' key.

Rotation adds a new key, encrypts all records anew, and takes the old key off the store's list; the
database refuses records under a key that is off it, so no writer with an old key slips in behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection

from hetagent.errors import StoreError
from hetagent.learn.keys import Keys, KeySource, Purpose, key_source
from hetagent.learn.store.attached import reseal
from hetagent.learn.store.crypto import Opener, Sealer
from hetagent.learn.store.database import Database
from hetagent.learn.store.keys import (
    known_keys,
    missing_keys,
    register_key,
    store_name,
)
from hetagent.learn.store.rows import BOUND, moment, resealed
from hetagent.learn.store.schema import keys as key_table
from hetagent.learn.store.schema import records

__all__ = ["KeyRing", "KeyUse", "Rotated"]

_AT_ONCE = 200
_FEW = _AT_ONCE  # records that writers may wait for
_PURPOSES: tuple[Purpose, ...] = ("records", "origins")


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key that a store knows.

    Attributes:
        id: Its id.
        purpose: ``"records"`` or ``"origins"``.
        since: When the store came to know it, in UTC.
        records: How many are encrypted with it; ``None`` for the key of origins.
        here: Whether the key itself is at hand.
    """

    id: str
    purpose: Purpose
    since: datetime
    records: int | None
    here: bool


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did.

    Attributes:
        key_id: Of the key that all records have now.
        records: How many were encrypted anew.
        retired: Ids of the keys that no record needs any more.
    """

    key_id: str
    records: int
    retired: tuple[str, ...]


class KeyRing:
    """All keys of a store.

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
        with self._database.read() as connection:
            self._name = store_name(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def places(self) -> Mapping[Purpose, str]:
        """Where keys for each purpose are, in words."""
        return {purpose: self._source.place(self._name, purpose) for purpose in _PURPOSES}

    def uses(self) -> list[KeyUse]:
        """All keys that the store knows, the newest first."""
        counts = sa.select(records.c.key_id, sa.func.count()).group_by(records.c.key_id)
        newest = sa.select(key_table).order_by(key_table.c.since_us.desc())
        with self._database.read() as connection:
            uses: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts)}
            rows = connection.execute(newest).all()
        here = {
            (purpose, key.id)
            for purpose in _PURPOSES
            if (found := self._source.load(self._name, purpose)) is not None
            for key in found.all
        }
        return [
            KeyUse(
                row.id,
                row.purpose,
                moment(row.since_us),
                uses.get(row.id, 0) if row.purpose == "records" else None,
                (row.purpose, row.id) in here,
            )
            for row in rows
        ]

    def rotate(
        self,
        *,
        keep_old: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Rotated:
        """Encrypt all records with a new key, in batches, while others read and write.

        One that was interrupted goes on where it ended. Where the keys are in the environment, the
        new key is the first of the variable. Old keys leave their place when no record needs them
        any more; copies of the store from before then become unreadable.

        Args:
            keep_old: Leave old keys in their place, for copies of the store from before.
            progress: Called with how many records are done so far.

        Raises:
            StoreError: A key is missing, or the store failed; run it again to go on.
        """
        with self._database.read() as connection:
            known = known_keys(connection, "records")
        held = self._source.load(self._name, "records")
        if held is None:
            raise self._missing(known)
        if known == [held.all[0].id]:  # else a rotation has begun already
            held = held.with_new()
            self._source.save(self._name, "records", held)
        new = held.all[0]
        old = [one for one in known if one != new.id]
        absent = [one for one in old if held.get(one) is None]
        if absent:
            raise self._missing(absent)
        with self._database.write() as connection:
            register_key(connection, new, "records")
        done = _reseal_all(self._database, Opener(held), Sealer(new), old, progress)
        reseal(self._database, opener=Opener(held), sealer=Sealer(new))
        if not keep_old:
            # A variable of the environment is changed by who set it.
            with contextlib.suppress(StoreError):
                self._source.save(self._name, "records", Keys((new,)))
        return Rotated(new.id, done, tuple(old))

    def _missing(self, names: Sequence[str]) -> StoreError:
        place = self._source.place(self._name, "records")
        return missing_keys(self._database, place, "records", names)


def _reseal_all(
    database: Database,
    opener: Opener,
    sealer: Sealer,
    old: Sequence[str],
    progress: Callable[[int], None] | None,
) -> int:
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done)

    for key_id in old:
        _reseal_most(database, opener, sealer, key_id, tell)
        _reseal_rest(database, opener, sealer, key_id, tell)
    return done


def _reseal_most(
    database: Database, opener: Opener, sealer: Sealer, key_id: str, tell: Callable[[int], None]
) -> None:
    """Encrypt records anew in passes, each over what came during the last, until few are left.

    It ends too where writers with the old key are faster.
    """
    left = _count(database, key_id)
    while left > _FEW:
        done, last = 0, ""
        while done < left:
            with database.write() as connection:
                changed, last = _reseal_some(connection, opener, sealer, key_id, after=last)
            if not changed:
                break
            done += changed
            tell(changed)
        now = _count(database, key_id)
        if now >= left:
            return
        left = now


def _reseal_rest(
    database: Database, opener: Opener, sealer: Sealer, key_id: str, tell: Callable[[int], None]
) -> None:
    """Encrypt the rest anew and take the key off the list, while writers wait."""
    with database.write() as connection:
        if not database.sqlite:
            connection.execute(sa.text("LOCK TABLE call_records IN SHARE ROW EXCLUSIVE MODE"))
        changed, last = _reseal_some(connection, opener, sealer, key_id, after="")
        while changed:
            tell(changed)
            changed, last = _reseal_some(connection, opener, sealer, key_id, after=last)
        connection.execute(sa.delete(key_table).where(key_table.c.id == key_id))


def _count(database: Database, key_id: str) -> int:
    wanted = sa.select(sa.func.count()).where(records.c.key_id == key_id)
    with database.read() as connection:
        return connection.scalar(wanted) or 0


def _reseal_some(
    connection: Connection, opener: Opener, sealer: Sealer, key_id: str, *, after: str
) -> tuple[int, str]:
    """Encrypt some records anew, by rising id; how many, and the last one's id."""
    wanted = [records.c[name] for name in (*BOUND, "key_id", "payload")]
    some = (
        sa.select(*wanted)
        .where(records.c.key_id == key_id, records.c.id > after)
        .order_by(records.c.id)
        .limit(_AT_ONCE)
    )
    change = (
        sa.update(records)
        .where(records.c.id == sa.bindparam("one"), records.c.key_id == key_id)
        .values(payload=sa.bindparam("new_payload"), key_id=sa.bindparam("new_key_id"))
    )
    rows = connection.execute(some.with_for_update()).mappings().all()
    changes = []
    for row in rows:
        new = resealed(dict(row), opener=opener, sealer=sealer)
        changes.append(
            {"one": row["id"], "new_payload": new["payload"], "new_key_id": new["key_id"]}
        )
    if changes:
        connection.execute(change, changes)
    return len(changes), str(rows[-1]["id"]) if rows else after
