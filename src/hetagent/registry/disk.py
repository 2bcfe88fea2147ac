"""Files that are on the disk, whole, once they have their name; for their owner alone."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hetagent.errors import RegistryError

__all__ = ["make_folder", "partial", "settle", "sync_folder", "told"]

_STALE_AFTER = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they do not exist, for their owner alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def partial(folder: Path) -> Iterator[Path]:
    """An empty file to write to before it is moved into place; removed where it was not.

    What a kill left behind goes a day later.

    Args:
        folder: Where it is made; on the disk of the place it is for.
    """
    make_folder(folder)
    _sweep(folder)
    path = folder / secrets.token_hex(8)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def settle(written: Path, target: Path) -> None:
    """Move a file into place once its content is on the disk."""
    handle = os.open(written, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(written, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":  # which has no handles of folders, and needs none
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(message: str) -> Iterator[None]:
    """Raise a `RegistryError` for what the system refuses within.

    Args:
        message: What could not be done, without a full stop.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        found = RegistryError(
            f"{message}: {error.strerror or error}.",
            hint="Free some space, and try again." if full else "Check the path and its rights.",
        )
        found.retryable = full
        raise found from error


def _sweep(folder: Path) -> None:
    oldest = time.time() - _STALE_AFTER
    for path in folder.iterdir():
        with suppress(OSError):  # another process removes it, too
            if path.stat().st_mtime < oldest:
                path.unlink()
