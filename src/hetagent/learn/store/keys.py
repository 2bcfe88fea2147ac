"""Which keys a store is read and written with.

A store knows the ids of the keys in use, never a key. Only a key it knows can write: the database
itself refuses records under any other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from hetagent.errors import StoreError
from hetagent.learn.keys import Key, Keys, KeySource, Purpose
from hetagent.learn.store.database import Database
from hetagent.learn.store.schema import keys as key_table
from hetagent.learn.store.schema import store_id

__all__ = ["known_keys", "load_keys", "missing_keys", "register_key", "store_name", "writing_key"]


def load_keys(database: Database, source: KeySource, purpose: Purpose) -> Keys:
    """Keys to read with, or to hash origins with: those of the source that the store knows.

    Raises:
        StoreError: They are not here, or are another store's.
    """
    with database.read() as connection:
        name, known = store_name(connection), known_keys(connection, purpose)
    found = source.load(name, purpose)
    useful = () if found is None else tuple(key for key in found.all if key.id in known)
    if not useful:
        raise missing_keys(database, source.place(name, purpose), purpose, known)
    return Keys(useful)


def writing_key(database: Database, source: KeySource, purpose: Purpose) -> Key:
    """The key to write with: the newest of those here that the store knows.

    A store that knows none gets one: what the source has, or a new one.

    Raises:
        StoreError: None of the keys here is one of the store's.
    """
    with database.read() as connection:
        name, known = store_name(connection), known_keys(connection, purpose)
    found = source.load(name, purpose)
    if not known:
        found, known = _first(database, source, purpose)
    for key in () if found is None else found.all:
        if key.id in known:
            return key
    raise missing_keys(database, source.place(name, purpose), purpose, known)


def _first(database: Database, source: KeySource, purpose: Purpose) -> tuple[Keys, list[str]]:
    """Give a new store its key; whoever opens it at the same time waits and gets the same."""
    with database.write() as connection:
        if not database.sqlite:
            connection.execute(sa.text("LOCK TABLE call_record_keys IN EXCLUSIVE MODE"))
        name, known = store_name(connection), known_keys(connection, purpose)
        found = source.load(name, purpose)
        if known and found is not None:
            return found, known
        if known:
            raise missing_keys(database, source.place(name, purpose), purpose, known)
        if found is None:
            found = Keys((Key.new(),))
            source.save(name, purpose, found)
        register_key(connection, found.all[0], purpose)
        return found, [found.all[0].id]


def register_key(connection: Connection, key: Key, purpose: Purpose) -> None:
    """Let the store know a key, if it does not yet.

    Raises:
        StoreError: It knows it for another purpose.
    """
    found = connection.scalar(sa.select(key_table.c.purpose).where(key_table.c.id == key.id))
    if found == purpose:
        return
    if found is not None:
        raise StoreError(
            f"The key {key.id} is already that of {found}, and cannot be that of {purpose} too.",
            hint="Use two keys, so that two people can hold them; `hetagent records new-key` "
            "prints one.",
        )
    connection.execute(
        key_table.insert().values(id=key.id, purpose=purpose, since_us=time.time_ns() // 1000)
    )


def known_keys(connection: Connection, purpose: Purpose) -> list[str]:
    """Ids of the keys that the store knows, the oldest first."""
    found = sa.select(key_table.c.id).where(key_table.c.purpose == purpose)
    return list(connection.scalars(found.order_by(key_table.c.since_us)))


def store_name(connection: Connection) -> str:
    """What sources have the store's keys under.

    Raises:
        StoreError: The store has no such name.
    """
    found = store_id(connection)
    if found is None:
        raise StoreError("The store has no id.", hint="Make it anew: `hetagent records init`.")
    return found


def missing_keys(
    database: Database, place: str, purpose: Purpose, known: Sequence[str]
) -> StoreError:
    """The error where keys are not in their place."""
    whose = "read its records" if purpose == "records" else "find whose its records are"
    return StoreError(
        f"The key to {whose} is not here: {database.name} needs {', '.join(known) or 'one'}.",
        hint=f"It was looked for in {place}.",
    )
