"""What is kept beside a store, encrypted as its records are: the workloads found in them, say.

It lies in a file ``STORE.NAME`` beside SQLite's, or for PostgreSQL in the user's data folder of the
machine that made it. It may quote records, so it goes when records are erased.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from hetagent.errors import StoreError
from hetagent.learn.store.crypto import Opener, Sealer
from hetagent.learn.store.database import Database
from hetagent.learn.store.keys import store_name

__all__ = ["WORKLOADS", "attached_path", "detach", "read_attached", "reseal", "write_attached"]

WORKLOADS = "workloads"
"""The name that found workloads have beside a store."""

_NAMES = (WORKLOADS,)
_FORMAT = 1
_LONGEST_HEAD = 1000


def attached_path(database: Database, name: str) -> Path:
    """The file of something beside a store."""
    if database.path is not None:
        return database.path.with_name(f"{database.path.name}.{name}")
    import platformdirs

    folder = Path(platformdirs.user_data_dir("hetagent", appauthor=False))
    with database.read() as connection:
        return folder / f"{store_name(connection)}.{name}"


def write_attached(database: Database, name: str, data: bytes, *, sealer: Sealer) -> Path:
    """Encrypt something and put it beside a store, whole, in the place of what was there.

    Raises:
        StoreError: It cannot be written.
    """
    target = attached_path(database, name)
    head = json.dumps({"format": _FORMAT, "key_id": sealer.key_id}).encode()
    sealed = sealer.seal(data, bound=_bound(database, name))
    fresh = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(head + b"\n" + sealed)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error}.", hint="Free some space beside the store."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    return target


def read_attached(database: Database, name: str, *, opener: Opener) -> bytes | None:
    """What was put beside a store; ``None`` where nothing is.

    Raises:
        StoreError: It cannot be read, or its key is not here.
    """
    target = attached_path(database, name)
    try:
        head, _, sealed = target.read_bytes().partition(b"\n")
        key_id = str(json.loads(head[:_LONGEST_HEAD])["key_id"])
        return opener.open(sealed, key_id=key_id, bound=_bound(database, name))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
        said = error.message if isinstance(error, StoreError) else str(error)
        raise StoreError(
            f"{target} cannot be read: {said.rstrip('.')}.",
            hint="Find them again: `hetagent workloads`.",
        ) from error


def detach(database: Database) -> bool:
    """Remove what is beside a store; whether anything was."""
    found = [attached_path(database, name) for name in _NAMES]
    found = [path for path in found if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


def reseal(database: Database, *, opener: Opener, sealer: Sealer) -> None:
    """Encrypt what is beside a store under a new key; what cannot be read is removed."""
    for name in _NAMES:
        try:
            data = read_attached(database, name, opener=opener)
        except StoreError:
            attached_path(database, name).unlink(missing_ok=True)
            continue
        if data is not None:
            write_attached(database, name, data, sealer=sealer)


def _bound(database: Database, name: str) -> list[object]:
    with database.read() as connection:
        return [name, store_name(connection)]
