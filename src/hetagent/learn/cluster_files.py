"""Call records in files of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from hetagent.errors import InputError
from hetagent.learn.record import CallRecord

__all__ = ["read_records"]


def read_records(paths: Iterable[Path]) -> Iterator[CallRecord]:
    """The records of files that hold a line of `CallRecord.to_json` for each; blank lines are none.

    Raises:
        InputError: A file cannot be read, or a line of it is no record.
    """
    for path in paths:
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield _record(line, f"{path}, line {number}")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}.", hint="Check --records.") from error


def _record(line: str, where: str) -> CallRecord:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}.", hint="Give JSON lines.") from error
    if not isinstance(data, dict):
        raise InputError(f"{where} is no call record.", hint="Give a line for each call record.")
    try:
        return CallRecord.from_dict(data)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
