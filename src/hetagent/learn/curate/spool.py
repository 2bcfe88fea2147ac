"""Candidates on disk while a dataset is made: each thing that was said once, found by what it says.

The file is in the working folder of one curation and goes with it.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.curate.example import FACTS, Candidate

__all__ = ["Spool", "Spooled", "Table"]

_SCHEMA = """
CREATE TABLE examples (
    number INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, time INTEGER NOT NULL,
    record BLOB NOT NULL, copies INTEGER NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL
)
"""
_CACHE_KILOBYTES = 32_768
_FAST = 1  # zlib's level: bodies are written once and read three times


@dataclass(frozen=True, slots=True)
class Spooled:
    """A candidate as it was put in.

    Attributes:
        record: Id of the record.
        copies: Records that say the same, this one included.
        body: As in `Candidate`.
    """

    record: str
    copies: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """All candidates, by time and then by key, so that the order they came in changes nothing.

    Attributes:
        numbers: In the spool, shape ``(n,)``.
        times: Microseconds since 1970, shape ``(n,)``.
        keys: Shape ``(n, 2)``: the 16 bytes of each key as two numbers.
        facts: Shape ``(n,)`` each, by the names of `FACTS`.
    """

    numbers: NDArray[np.int64]
    times: NDArray[np.int64]
    keys: NDArray[np.uint64]
    facts: dict[str, NDArray[np.uint64]]

    def __len__(self) -> int:
        return len(self.numbers)

    def id(self, row: int) -> str:
        """The id of a row's example: 32 hexadecimal digits."""
        return "".join(f"{int(part):016x}" for part in self.keys[row])


class Spool:
    """Keeps candidates in a file.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: Path) -> None:
        # Nothing of it outlives the curation, so nothing is made durable.
        self._database = sqlite3.connect(folder / "spool.sqlite", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KILOBYTES}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(_SCHEMA)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, one: Candidate) -> str | None:
        """Put a candidate in. Of several that say the same, the earliest stays.

        Returns:
            ``None`` where nobody said it before; else the id of the record that gives way.
        """
        record = one.record.encode(errors="surrogatepass")
        facts = np.array(one.facts, np.uint64).tobytes()
        body = zlib.compress(json.dumps(one.body).encode(), _FAST)
        new = self._database.execute(
            "INSERT INTO examples (key, time, record, copies, facts, body) "
            "VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (key) DO NOTHING",
            (one.key, one.time, record, facts, body),
        )
        if new.rowcount == 1:
            return None
        number, time, known, said = self._database.execute(
            "SELECT number, time, record, body FROM examples WHERE key = ?", (one.key,)
        ).fetchone()
        if (one.time, record, body) >= (time, known, said):
            self._database.execute(
                "UPDATE examples SET copies = copies + 1 WHERE number = ?", (number,)
            )
            return one.record
        self._database.execute(
            "UPDATE examples SET copies = copies + 1, time = ?, record = ?, facts = ?, body = ? "
            "WHERE number = ?",
            (one.time, record, facts, body, number),
        )
        return _text(known)

    def table(self) -> Table:
        """All candidates, but for what they say."""
        (count,) = self._database.execute("SELECT count(*) FROM examples").fetchone()
        numbers, times = np.zeros(count, np.int64), np.zeros(count, np.int64)
        keys = np.zeros((count, 2), np.uint64)
        facts = np.zeros((count, len(FACTS)), np.uint64)
        rows = self._database.execute("SELECT number, time, key, facts FROM examples")
        for row, (number, time, key, known) in enumerate(rows):
            numbers[row], times[row] = number, time
            keys[row] = np.frombuffer(key, ">u8")
            facts[row] = np.frombuffer(known, np.uint64)
        order = np.lexsort((keys[:, 1], keys[:, 0], times))
        return Table(
            numbers[order],
            times[order],
            keys[order],
            {name: facts[order, column] for column, name in enumerate(FACTS)},
        )

    def read(self, numbers: NDArray[np.int64]) -> Iterator[Spooled]:
        """The candidates of these numbers, in this order."""
        for number in numbers.tolist():
            record, copies, body = self._database.execute(
                "SELECT record, copies, body FROM examples WHERE number = ?", (number,)
            ).fetchone()
            yield Spooled(_text(record), copies, json.loads(zlib.decompress(body)))

    def record(self, number: int) -> str:
        """The id of the record of that number."""
        (record,) = self._database.execute(
            "SELECT record FROM examples WHERE number = ?", (number,)
        ).fetchone()
        return _text(record)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogatepass")
