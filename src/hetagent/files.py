"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["write_whole"]


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
    target = Path(path)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    partial = target.with_name(f".{target.name}.{writer}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target
