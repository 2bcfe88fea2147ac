"""Records as Parquet, a file for each day, and totals over it by DuckDB.

What is exported are the plain columns, which say nothing of what was said, and the origins'
pseudonyms. Text comes along only if it is asked for, and then it is readable by whoever can read
the files; they are made so that only their owner can.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from hetagent.errors import MissingExtraError, StoreError
from hetagent.learn.record import CallRecord
from hetagent.learn.store.reader import Query, Reader, Totals
from hetagent.learn.store.rows import moment, plain

__all__ = ["Exported", "export_parquet", "forget_in_parquet", "parquet_totals"]

_ROWS_AT_ONCE = 20_000
_TEXTS_AT_ONCE = 500
_FILE = "records.parquet"
_TYPES: Mapping[str, str] = {
    "id": "string",
    "form": "string",
    "source": "string",
    "model": "string",
    "served_model": "string",
    "served_by": "string",
    "reason": "string",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "cached_tokens": "int64",
    "thinking_tokens": "int64",
    "cost_usd": "float64",
    "seconds": "float64",
    "first_token_seconds": "float64",
    "attempts": "int64",
    "streamed": "bool_",
    "complete": "bool_",
    "error_kind": "string",
    "error_status": "int64",
    "trace": "string",
    "conversation": "string",
    "client": "string",
    "workload": "string",
    "trainable": "string",
    "interactive": "bool_",
    "redacted": "bool_",
}
_TEXTS = ("request", "response", "error_message", "tags")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        records: How many.
        days: One file each.
    """

    records: int
    days: int


def export_parquet(
    reader: Reader,
    folder: str | Path,
    *,
    query: Query | None = None,
    text: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write ``day=YYYY-MM-DD/records.parquet`` for each day in UTC that has records.

    A day that was exported before is replaced as a whole, so a query that begins or ends within a
    day leaves the rest of it out. Days without records are left as they are.

    Args:
        reader: Where records come from.
        folder: Made where it does not exist.
        query: Which records; all by default. Its order does not matter.
        text: Whether to add ``request``, ``response``, ``error_message`` and ``tags``, readable, as
            JSON. It needs the records' key.
        progress: Called with how many are written so far.

    Raises:
        StoreError: They cannot be read, or files cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    asked = query or Query()
    if asked.newest_first:
        raise StoreError(
            "Records are exported by rising time.", hint="Leave newest_first of the query out."
        )
    rows = map(_with_text, reader.records(asked)) if text else reader.rows(asked)
    written = days = 0
    for day, some in groupby(rows, key=lambda row: row["time"].date()):
        for count in _write_day(Path(folder), str(day), some, text=text):
            written += count
            if progress is not None:
                progress(written)
        days += 1
    return Exported(written, days)


def parquet_totals(
    folder: str | Path, *, by: Literal["workload", "model", "form", "day"] = "workload"
) -> list[Totals]:
    """Sums over exported records for each workload, model or day, the most frequent first.

    Raises:
        StoreError: There are none, or they cannot be read.
        MissingExtraError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("duckdb", extra="records") from error
    files = _files(Path(folder))
    group = "CAST(day AS VARCHAR)" if by == "day" else by
    wanted = f"""
        SELECT {group} AS name, count(*), count(error_kind),
            coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
            coalesce(sum(cost_usd), 0), avg(seconds),
            epoch_us(min(time)), epoch_us(max(time)),
            median(seconds), quantile_cont(seconds, 0.95)
        FROM read_parquet(?, hive_partitioning = true)
        GROUP BY name ORDER BY count(*) DESC, name
    """
    try:
        with duckdb.connect() as connection:
            rows = connection.execute(wanted, [[str(file) for file in files]]).fetchall()
    except duckdb.Error as error:
        raise StoreError(
            f"The export in {folder} cannot be read: {error}.", hint="Export the records again."
        ) from error
    every = sum(row[1] for row in rows)
    return [
        Totals(
            name, calls, calls / every, failed, int(prompt), int(completion), float(cost), seconds,
            moment(first), moment(last), median, p95,
        )
        for name, calls, failed, prompt, completion, cost, seconds, first, last, median, p95 in rows
    ]  # fmt: skip


def forget_in_parquet(folder: str | Path, client: str) -> int:
    """Erase a client's records from an export, by the client's pseudonym.

    Returns:
        How many records were erased.

    Raises:
        StoreError: There is no export, or files cannot be written.
    """
    pa, pq = _pyarrow()

    erased = 0
    for file in _files(Path(folder)):
        table = pq.ParquetFile(file).read()
        others = table.filter(
            pa.compute.fill_null(pa.compute.not_equal(table["client"], client), True)
        )
        if len(others) == len(table):
            continue
        erased += len(table) - len(others)
        with _replaced(file) as fresh:
            pq.write_table(others, fresh, compression="zstd")
    return erased


def _write_day(
    folder: Path, day: str, rows: Iterator[Mapping[str, Any]], *, text: bool
) -> Iterator[int]:
    """Write one day's file; yields how many records each group has."""
    pa, pq = _pyarrow()
    schema = pa.schema(
        [pa.field("id", pa.string()), pa.field("time", pa.timestamp("us", tz="UTC"))]
        + [pa.field(name, getattr(pa, kind)()) for name, kind in _TYPES.items() if name != "id"]
        + [pa.field(name, pa.string()) for name in _TEXTS if text]
    )
    size = _TEXTS_AT_ONCE if text else _ROWS_AT_ONCE
    with (
        _replaced(folder / f"day={day}" / _FILE) as fresh,
        pq.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        while some := list(islice(rows, size)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            yield len(some)


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A new file that takes the place of an old one when it is whole; its owner's alone."""
    fresh = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield fresh
        fresh.replace(path)
    except OSError as error:
        raise StoreError(
            f"The export {path} cannot be written: {error}.",
            hint="Free some space, or export to another folder.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob(f"day=*/{_FILE}"))
    if not found:
        raise StoreError(
            f"There is no export in {folder}.", hint="Make one: `hetagent records export FOLDER`."
        )
    return found


def _with_text(record: CallRecord) -> dict[str, Any]:
    said = {
        "request": record.request,
        "response": record.response,
        "tags": record.tags,
    }
    return {
        **plain(record),
        **{name: json.dumps(value) for name, value in said.items()},
        "error_message": None if record.error is None else _utf8(record.error.message),
    }


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="records") from error
    return pyarrow, pyarrow.parquet
