"""Records that can be read as often as one likes, each time from the beginning, in bounded memory.

`hetagent.integrations.sources.record_source` opens them by what a user calls them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hetagent.errors import InputError
from hetagent.learn.keys import KeySource
from hetagent.learn.record import CallRecord

__all__ = [
    "Kind",
    "RecordSource",
    "digest",
    "parquet_source",
    "store_source",
    "together",
    "until_of",
]

Kind = Literal["store", "log", "parquet"]


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
def store_source(
    where: str | Path | None = None,
    *,
    until: datetime | None = None,
    assigned: bool = True,
    keys: KeySource | None = None,
) -> Iterator[RecordSource]:
    """The records of a store, by time.

    Args:
        where: The store; by default that of ``HETAGENT_RECORDS``.
        until: The time that all are before; by default it is now, so that reading twice gives the
            same.
        assigned: Whether records that were assigned to workloads have them as their own.
        keys: Where its keys are.

    Raises:
        StoreError: There is no such store, or its key is not here.
    """
    from hetagent.learn.store import Query, Reader

    end = datetime.now(UTC) if until is None else until
    query = Query(until=end)
    with Reader(where, keys=keys) as reader:

        def facts() -> list[dict[str, Any]]:
            known = {"store": reader.name, "until": end.isoformat()}
            return [{**known, "records": reader.count(query)}]

        yield RecordSource(
            reader.name,
            ("store",),
            lambda: reader.records(query, assigned=assigned),
            lambda: reader.count(query),
            facts,
        )


def parquet_source(path: Path) -> RecordSource:
    """The records of a Parquet export with text, by day."""
    from hetagent.learn.store.parquet_read import parquet_files, read_parquet

    files = parquet_files(path)
    return RecordSource(
        str(path),
        ("parquet",),
        lambda: read_parquet(files),
        lambda: None,
        lambda: [
            {"file": str(one.relative_to(path.parent)), "sha256": digest(one).hex()}
            for one in files
        ],
    )


def together(sources: Sequence[RecordSource]) -> RecordSource:
    """Several sources as one: their records after one another."""

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


def until_of(facts: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Until when a dataset's stores were read, by its sources."""
    ends = [datetime.fromisoformat(one["until"]) for one in facts if "until" in one]
    return max(ends, default=None)


def digest(path: Path, hashing: Any = None) -> bytes:
    """The hash of a file's content; SHA-256 unless told.

    Raises:
        InputError: It cannot be read.
    """
    hashed = hashlib.sha256() if hashing is None else hashing
    try:
        with path.open("rb") as opened:
            while part := opened.read(1 << 20):
                hashed.update(part)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    found: bytes = hashed.digest()
    return found
