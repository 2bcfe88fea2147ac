"""Records from a Parquet export that has what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from hetagent.errors import InputError, MissingExtraError
from hetagent.learn.record import CallError, CallRecord, Usage

__all__ = ["parquet_files", "read_parquet"]

_AT_ONCE = 500
_TEXTS = ("request", "response", "tags")
_SAME = (
    "id", "form", "source", "model", "served_model", "served_by", "reason", "cost_usd", "seconds",
    "first_token_seconds", "attempts", "streamed", "complete", "workload", "trainable",
    "interactive",
)  # fmt: skip


def parquet_files(path: Path) -> list[Path]:
    """The files of an export, by day; or the one that is named."""
    return sorted(path.glob("day=*/*.parquet")) if path.is_dir() else [path]


def read_parquet(files: Sequence[Path]) -> Iterator[CallRecord]:
    """The records of an export, some hundred at a time.

    Of what redaction replaced an export says only whether there was any.

    Raises:
        InputError: A file is no export, or one without what was said.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="records") from error
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                missing = sorted({*_TEXTS, *_SAME} - set(file.schema_arrow.names))
                if missing:
                    raise InputError(
                        f"{path} has no {', '.join(missing)}.",
                        hint="Export what was said, too: `hetagent records export FOLDER --text`.",
                    )
                for batch in file.iter_batches(_AT_ONCE):
                    yield from map(_record, batch.to_pylist())
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(
                f"{path} cannot be read: {error}.", hint="Export the records again."
            ) from error


def _record(row: Mapping[str, Any]) -> CallRecord:
    said = {name: json.loads(row[name]) for name in _TEXTS}
    error = None
    if row["error_kind"] is not None:
        error = CallError(row["error_kind"], row["error_status"], row["error_message"] or "")
    return CallRecord(
        **{name: row[name] for name in _SAME},
        time=row["time"].astimezone(UTC),
        request=said["request"],
        response=said["response"],
        tags=said["tags"] or {},
        error=error,
        usage=Usage(
            row["prompt_tokens"],
            row["completion_tokens"],
            row["cached_tokens"],
            row["thinking_tokens"],
        ),
        trace_id=row["trace"],
        conversation_id=row["conversation"],
        client_id=row["client"],
        redacted={} if row["redacted"] else None,
    )
