"""Where records come from: a store, a log, or an export, named in one way everywhere.

with record_source() as records:                    # the default store
Workloads.fit(records)
with record_source("calls.jsonl") as records:       # a log of any tool that can be imported
curate(records, to="datasets/calls", sources=records.facts())
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hetagent.errors import InputError
from hetagent.integrations.imported import Defaults
from hetagent.integrations.importing import detect, read_records
from hetagent.learn.keys import KeySource
from hetagent.learn.pipeline import Redacts
from hetagent.learn.record import CallRecord
from hetagent.learn.source import (
    Kind,
    RecordSource,
    digest,
    parquet_source,
    store_source,
    together,
)

__all__ = ["kind_of", "record_source"]

_SQLITE, _PARQUET = b"SQLite format 3\0", b"PAR1"
_OWN = "hetagent"


@contextmanager
def record_source(
    *places: str | Path | None,
    until: datetime | None = None,
    assigned: bool = True,
    redact: Redacts | None = None,
    keys: KeySource | None = None,
) -> Iterator[RecordSource]:
    """Open a source, or several as one.

    Logs of other tools are redacted as they are read, under a key made of the file, so that they
    read alike each time. Hetagent's own records are as they are, and say whether they were.

    Args:
        places: A store (its file or ``postgresql://`` address), a log of a format that can be
            imported, or a Parquet export with text; ``None``, or nothing at all, is the default
            store: that of ``HETAGENT_RECORDS``, else the user's own.
        until: The time that all records of a store are before. By default it is now, so that
            reading twice gives the same.
        assigned: Whether records that were assigned to workloads in a store have them as their own.
        redact: What redacts logs instead of `hetagent.learn.redact.Redactor`.
        keys: Where a store's keys are; by default `hetagent.learn.keys.key_source`.

    Raises:
        InputError: There is no such file, or it is none of these.
        StoreError: There is no such store, or its key is not here.
        MissingExtraError: A package that reading needs is not installed.
    """
    end = datetime.now(UTC) if until is None else until
    found: list[RecordSource] = []
    with ExitStack() as stack:
        for place in places or (None,):
            kind = kind_of(place)
            if kind == "store":
                found.append(
                    stack.enter_context(
                        store_source(place, until=end, assigned=assigned, keys=keys)
                    )
                )
            elif kind == "parquet":
                found.append(parquet_source(Path(place or "").expanduser()))
            else:
                found.append(_of_log(Path(place or ""), redact))
        yield found[0] if len(found) == 1 else together(found)


def kind_of(place: str | Path | None) -> Kind:
    """What a place is.

    Raises:
        InputError: There is nothing there.
    """
    if place is None or "://" in (text := str(place)):
        return "store"
    path = Path(text).expanduser()
    if path.is_dir():
        if any(path.glob("day=*/*.parquet")):
            return "parquet"
        raise InputError(
            f"{path} is a folder that is no export.",
            hint="Name a store, a log, or what `hetagent records export FOLDER --text` wrote.",
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Name a store, a log of calls, or leave it out for the default store.",
        ) from error
    if start.startswith(_SQLITE):
        return "store"
    return "parquet" if start.startswith(_PARQUET) else "log"


def _of_log(path: Path, redact: Redacts | None) -> RecordSource:
    path = path.expanduser()
    try:
        # An empty file is a log of no calls.
        name = detect(path) if path.stat().st_size else _OWN
    except InputError as error:
        raise InputError(
            error.message,
            hint="`hetagent records import --help` lists formats; it can be told one.",
        ) from error
    facts = {"file": path.name, "sha256": digest(path).hex()}
    made: list[Redacts] = [] if redact is None else [redact]

    def read() -> Iterator[CallRecord]:
        if name == _OWN:
            return read_records(path, format=name)
        key = _key(path)
        if not made:
            made.append(_redactor(key))
        return _read_log(path, name, made[0], key)

    return RecordSource(
        str(path),
        ("log",),
        read,
        lambda: None,
        lambda: [facts if name == _OWN else {**facts, "format": name}],
    )


def _read_log(path: Path, name: str, redact: Redacts, key: bytes) -> Iterator[CallRecord]:
    defaults = Defaults(
        time=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        pseudonym=lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32],
    )
    for record in read_records(path, format=name, defaults=defaults):
        yield redact(record)


def _redactor(key: bytes) -> Redacts:
    from hetagent.learn.redact import Redactor

    return Redactor(key=key)


def _key(path: Path) -> bytes:
    """A secret that only who has the whole file can know: its hash is not that of the facts."""
    return digest(path, hashlib.blake2b(person=b"hetagent redact", digest_size=32))
