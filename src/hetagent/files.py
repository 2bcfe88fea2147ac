"""Files that are there whole or not at all, and files of whole lines."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path

__all__ = ["append_line", "private", "write_whole", "write_whole_bytes"]


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write text to a file, which has all of it or what it had before.

    Several threads and processes may write one file; the last one's text stays.

    Args:
        path: The file; its folder must be there.
        text: Its new content, written as UTF-8.

    Returns:
        The file.

    Raises:
        OSError: It could not be written; nothing is left of the attempt.
    """
    return write_whole_bytes(path, text.encode("utf-8"))


def write_whole_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write bytes to a file; see `write_whole`.

    Raises:
        OSError: It could not be written; nothing is left of the attempt.
    """
    target = Path(path)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    partial = target.with_name(f".{target.name}.{writer}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target


def private(path: str, flags: int) -> int:
    """For ``open(..., opener=private)``: a file that is made is readable by its owner alone."""
    return os.open(path, flags, 0o600)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append a line to a file, which is made, with its folder, where there is none.

    Several threads and processes may append to one file. Each line is one write to the end of it,
    and the file is opened anew for each, so that it can be moved away at any time. What was left
    of a line by a full disk or a power cut is ended first. Only the owner may look into the file.

    Args:
        path: The file.
        line: The line in ASCII, without its end.

    Raises:
        OSError: It could not be written, or not wholly.
    """
    target = Path(path)
    try:
        file = _opened(target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = _opened(target)
    try:
        _take_turn(file)
        data = _ending_of_last_line(file) + line.encode("ascii") + b"\n"
        written = os.write(file, data)
    finally:
        os.close(file)
    if written < len(data):
        raise OSError(f"only {written} of {len(data)} bytes were written to {target}")


def _opened(path: Path) -> int:
    # Readable, to see how the file ends.
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take_turn(file: int) -> None:
    """Wait until no other writer is in the middle of a line; closing the file ends the turn.

    A write shows page by page, so that another's line would look cut off in its middle.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    # A file system without locks still keeps each line whole.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def _ending_of_last_line(file: int) -> bytes:
    """A newline where the file does not end with one."""
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size == 0:
        return b""
    return b"" if os.pread(file, 1, facts.st_size - 1) == b"\n" else b"\n"
