"""Where records come from: a store, a log, or an export, named in one way everywhere.

    with record_source() as records:                    # the default store
        Workloads.fit(records)
    with record_source("calls.jsonl") as records:       # a log of any tool that can be imported
        curate(records, to="datasets/calls", sources=records.facts())

A source can be read as often as one likes, each time from its beginning and in bounded memory.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hetagent.errors import InputError
from hetagent.learn.keys import KeySource
from hetagent.learn.pipeline import Redacts
from hetagent.learn.record import CallRecord

__all__ = ["RecordSource", "kind_of", "record_source", "until_of"]

Kind = Literal["store", "log", "parquet"]
Where = str | Path

_SQLITE, _PARQUET = b"SQLite format 3\0", b"PAR1"
_OWN = "hetagent"


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Records of one place, or of several after one another.

    Attributes:
        name: What it is called, without passwords.
        kinds: Of its places: ``"store"``, ``"log"`` or ``"parquet"``.
    """

    name: str
    kinds: tuple[Kind, ...]
    _read: Callable[[], Iterator[CallRecord]]
    _count: Callable[[], int | None]
    _facts: Callable[[], list[dict[str, Any]]]

    def __iter__(self) -> Iterator[CallRecord]:
        """The records, those of a store and of an export by time."""
        return self._read()

    def count(self) -> int | None:
        """How many there are; ``None`` where only reading them tells."""
        return self._count()

    def facts(self) -> list[dict[str, Any]]:
        """What it is, for the card of a dataset: of a file its name and hash, of a store its end.

        Raises:
            InputError: A file cannot be read.
        """
        return self._facts()


@contextmanager
def record_source(
    *places: Where | None,
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
                found.append(stack.enter_context(_of_store(place, end, assigned, keys)))
            elif kind == "parquet":
                found.append(_of_parquet(Path(place or "")))
            else:
                found.append(_of_log(Path(place or ""), redact))
        yield found[0] if len(found) == 1 else _together(found)


def kind_of(place: Where | None) -> Kind:
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


@contextmanager
def _of_store(
    place: Where | None, until: datetime, assigned: bool, keys: KeySource | None
) -> Iterator[RecordSource]:
    from hetagent.learn.store import Query, Reader

    query = Query(until=until)
    with Reader(place, keys=keys) as reader:

        def facts() -> list[dict[str, Any]]:
            known = {"store": reader.name, "until": until.isoformat()}
            return [{**known, "records": reader.count(query)}]

        yield RecordSource(
            reader.name,
            ("store",),
            lambda: reader.records(query, assigned=assigned),
            lambda: reader.count(query),
            facts,
        )


def _of_parquet(path: Path) -> RecordSource:
    from hetagent.learn.store_parquet_read import parquet_files, read_parquet

    files = parquet_files(path)
    return RecordSource(
        str(path),
        ("parquet",),
        lambda: read_parquet(files),
        lambda: None,
        lambda: [
            {"file": str(one.relative_to(path.parent)), "sha256": _hash(one)} for one in files
        ],
    )


def _of_log(path: Path, redact: Redacts | None) -> RecordSource:
    from hetagent.integrations.importing import detect, read_records

    path = path.expanduser()
    try:
        # An empty file is a log of no calls.
        name = detect(path) if path.stat().st_size else _OWN
    except InputError as error:
        raise InputError(
            error.message,
            hint="`hetagent records import --help` lists formats; it can be told one.",
        ) from error
    facts = {"file": path.name, "sha256": _hash(path)}
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
    from hetagent.integrations.imported import Defaults
    from hetagent.integrations.importing import read_records

    defaults = Defaults(
        time=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        pseudonym=lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32],
    )
    for record in read_records(path, format=name, defaults=defaults):
        yield redact(record)


def _redactor(key: bytes) -> Redacts:
    from hetagent.learn.redact import Redactor

    return Redactor(key=key)


def _together(sources: Sequence[RecordSource]) -> RecordSource:
    def read() -> Iterator[CallRecord]:
        for one in sources:
            yield from one

    def count() -> int | None:
        counts = [one.count() for one in sources]
        known = [one for one in counts if one is not None]
        return sum(known) if len(known) == len(counts) else None

    return RecordSource(
        ", ".join(one.name for one in sources),
        tuple(kind for one in sources for kind in one.kinds),
        read,
        count,
        lambda: [fact for one in sources for fact in one.facts()],
    )


def _key(path: Path) -> bytes:
    """A secret that only who has the whole file can know: its hash is not that of the facts."""
    return _digest(path, hashlib.blake2b(person=b"hetagent redact", digest_size=32))


def _hash(path: Path) -> str:
    return _digest(path, hashlib.sha256()).hex()


def _digest(path: Path, digest: Any) -> bytes:
    try:
        with path.open("rb") as opened:
            while part := opened.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    found: bytes = digest.digest()
    return found


def until_of(facts: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Until when a dataset's stores were read, by its sources."""
    ends = [datetime.fromisoformat(one["until"]) for one in facts if "until" in one]
    return max(ends, default=None)
