"""Which keys a store is written with, and how they are replaced.

A store knows the ids of the keys in use, never a key. Only a key it knows can write. Rotation adds
a new one, encrypts all records anew, and takes the old one off the list; the database refuses that
as long as a record needs it, and refuses records under a key that is off the list.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hetagent.errors import StoreError
from hetagent.learn.keys import Key, Keys, KeySource, Purpose
from hetagent.learn.store_crypto import Opener, Sealer
from hetagent.learn.store_database import Database
from hetagent.learn.store_rows import BOUND, resealed
from hetagent.learn.store_schema import keys as key_table
from hetagent.learn.store_schema import records, store_id

__all__ = ["KeyUse", "Rotated", "key_uses", "load_keys", "rotate", "writing_key"]

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key that a store knows.

    Attributes:
        id: Its id.
        purpose: ``"records"`` or ``"origins"``.
        since: When the store came to know it, in microseconds since 1970.
        records: How many are encrypted with it; ``None`` for the key of origins.
        here: Whether the key itself is at hand.
    """

    id: str
    purpose: Purpose
    since: int
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


def load_keys(database: Database, source: KeySource, purpose: Purpose) -> Keys:
    """Keys to read with, or to hash origins with.

    Raises:
        StoreError: They are not here, or are another store's.
    """
    with database.read() as connection:
        name, known = _name(connection), _known(connection, purpose)
    found = source.load(name, purpose)
    if found is None or not any(found.get(one) for one in known):
        raise _missing(database, source.place(name, purpose), purpose, known)
    return found


def writing_key(database: Database, source: KeySource, purpose: Purpose) -> Key:
    """The key to write with: the newest of those here that the store knows.

    A store that knows none gets one: what the source has, or a new one.

    Raises:
        StoreError: None of the keys here is one of the store's.
    """
    with database.read() as connection:
        name, known = _name(connection), _known(connection, purpose)
    found = source.load(name, purpose)
    if not known:
        found, known = _first(database, source, purpose)
    for key in () if found is None else found.all:
        if key.id in known:
            return key
    raise _missing(database, source.place(name, purpose), purpose, known)


def key_uses(database: Database, source: KeySource) -> list[KeyUse]:
    """All keys that a store knows, the newest first."""
    with database.read() as connection:
        name = _name(connection)
        counts = sa.select(records.c.key_id, sa.func.count()).group_by(records.c.key_id)
        uses: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts)}
        rows = connection.execute(sa.select(key_table).order_by(key_table.c.since_us.desc())).all()
    here = {
        (purpose, key.id)
        for purpose in ("records", "origins")
        if (found := source.load(name, purpose)) is not None
        for key in found.all
    }
    return [
        KeyUse(
            row.id,
            row.purpose,
            row.since_us,
            uses.get(row.id, 0) if row.purpose == "records" else None,
            (row.purpose, row.id) in here,
        )
        for row in rows
    ]


def rotate(
    database: Database,
    source: KeySource,
    *,
    keep_old: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Rotated:
    """Encrypt all records with a new key, in batches, while others read and write.

    One that was interrupted goes on where it ended. Where the source cannot be written (the
    environment), the new key is the first that it has. Old keys leave the source when no record
    needs them any more; copies of the store from before then become unreadable.

    Args:
        database: The store's.
        source: Where its keys are.
        keep_old: Leave old keys in the source, for copies of the store from before.
        progress: Called with how many records are done, and of how many.

    Raises:
        StoreError: A key is missing, or the store failed; run it again to go on.
    """
    with database.read() as connection:
        name, known = _name(connection), _known(connection, "records")
    held = load_keys(database, source, "records")
    unfinished = [one for one in known if one != held.all[0].id]
    if not unfinished:
        held = held.with_new()
        source.save(name, "records", held)
    new = held.all[0]
    old = [one for one in known if one != new.id]
    absent = [one for one in old if held.get(one) is None]
    if absent:
        raise _missing(database, source.place(name, "records"), "records", absent)
    with database.write() as connection:
        _register(connection, new, "records")
    done = _reseal_all(database, Opener(held), Sealer(new), old, progress)
    if not keep_old:
        # Whoever set a variable of the environment is told which ids to take out.
        with contextlib.suppress(StoreError):
            source.save(name, "records", Keys((new,)))
    return Rotated(new.id, done, tuple(old))


def _reseal_all(
    database: Database,
    opener: Opener,
    sealer: Sealer,
    old: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> int:
    count = sa.select(sa.func.count()).where(records.c.key_id.in_(old))
    with database.read() as connection:
        total = connection.scalar(count) or 0
    done = 0
    for key_id in old:
        few = False
        while True:
            changed = _reseal_some(database, opener, sealer, key_id, retire=few)
            done += changed
            if progress is not None and changed:
                progress(done, max(done, total))
            if few and changed < _AT_ONCE:
                break
            few = changed < _AT_ONCE
    return done


def _reseal_some(
    database: Database, opener: Opener, sealer: Sealer, key_id: str, *, retire: bool
) -> int:
    """Encrypt some records anew; where no more are left, take the key off the list if told."""
    wanted = [records.c[name] for name in (*BOUND, "key_id", "payload")]
    some = sa.select(*wanted).where(records.c.key_id == key_id).limit(_AT_ONCE)
    change = (
        sa.update(records)
        .where(records.c.id == sa.bindparam("one"), records.c.key_id == key_id)
        .values(payload=sa.bindparam("new_payload"), key_id=sa.bindparam("new_key_id"))
    )
    with database.write() as connection:
        if retire and not database.sqlite:
            # Writers with the old key would else always be one record ahead.
            connection.execute(sa.text("LOCK TABLE call_records IN SHARE ROW EXCLUSIVE MODE"))
        rows = connection.execute(some.with_for_update()).mappings().all()
        changes = []
        for row in rows:
            new = resealed(dict(row), opener=opener, sealer=sealer)
            changes.append(
                {"one": row["id"], "new_payload": new["payload"], "new_key_id": new["key_id"]}
            )
        if changes:
            connection.execute(change, changes)
        if retire and len(changes) < _AT_ONCE:
            connection.execute(sa.delete(key_table).where(key_table.c.id == key_id))
    return len(changes)


def _first(database: Database, source: KeySource, purpose: Purpose) -> tuple[Keys, list[str]]:
    """Give a new store its key; whoever opens it at the same time waits and gets the same."""
    with database.write() as connection:
        if not database.sqlite:
            connection.execute(sa.text("LOCK TABLE call_record_keys IN EXCLUSIVE MODE"))
        name, known = _name(connection), _known(connection, purpose)
        found = source.load(name, purpose)
        if known and found is not None:
            return found, known
        if known:
            raise _missing(database, source.place(name, purpose), purpose, known)
        if found is None:
            found = Keys((Key.new(),))
            source.save(name, purpose, found)
        _register(connection, found.all[0], purpose)
        return found, [found.all[0].id]


def _register(connection: Connection, key: Key, purpose: Purpose) -> None:
    if key.id in _known(connection, purpose):
        return
    connection.execute(
        key_table.insert().values(id=key.id, purpose=purpose, since_us=time.time_ns() // 1000)
    )


def _known(connection: Connection, purpose: Purpose) -> list[str]:
    found = sa.select(key_table.c.id).where(key_table.c.purpose == purpose)
    return list(connection.scalars(found.order_by(key_table.c.since_us)))


def _name(connection: Connection) -> str:
    found = store_id(connection)
    if found is None:
        raise StoreError("The store has no id.", hint="Make it anew: `hetagent records init`.")
    return found


def _missing(database: Database, place: str, purpose: Purpose, known: Sequence[str]) -> StoreError:
    whose = "read its records" if purpose == "records" else "find whose its records are"
    return StoreError(
        f"The key to {whose} is not here: {database.name} needs {', '.join(known) or 'one'}.",
        hint=f"It was looked for in {place}.",
    )
