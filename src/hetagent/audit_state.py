"""What audits have found, kept in a file from one process to the next."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from pathlib import Path

from hetagent.audit_queue import audit_loop
from hetagent.calibrate.audits import Audits
from hetagent.errors import HetagentError
from hetagent.files import write_whole

__all__ = ["AuditState", "loaded"]

_log = logging.getLogger("hetagent")
_SECONDS_BETWEEN = 2.0


class AuditState:
    """Writes audits to a file, at most every two seconds; thread-safe.

    Args:
        path: The file; its folder is made where there is none.
        audits: What to write.
    """

    def __init__(self, path: str | os.PathLike[str], audits: Audits) -> None:
        self._path = Path(path)
        self._audits = audits
        self._process = os.getpid()
        self._changed = False
        self._planned = False
        self._complained = False
        self._writing = threading.Lock()

    def changed(self) -> None:
        """Have it written before long."""
        self._changed = True
        if self._planned or os.getpid() != self._process:
            return
        self._planned = True
        with contextlib.suppress(RuntimeError):  # the process is ending, which writes it anyway
            loop = audit_loop()
            loop.call_soon_threadsafe(self._plan, loop)

    def save(self) -> None:
        """Write it now, where anything changed; a file that cannot be written is only told of.

        A forked child leaves its parent's file alone.
        """
        with self._writing:
            if not self._changed or os.getpid() != self._process:
                return
            self._changed = False
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._path, json.dumps(self._audits.to_dict()) + "\n")
                self._complained = False
            except OSError as error:
                self._changed = True
                if not self._complained:
                    _log.warning("What audits found cannot be kept in %s: %s", self._path, error)
                self._complained = True

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_SECONDS_BETWEEN, self._write)

    def _write(self) -> None:
        self._planned = False
        self.save()


def loaded(path: str | os.PathLike[str] | None, fresh: Audits) -> Audits:
    """What a file holds, drawn like fresh audits.

    A file that cannot be read is told of and put aside, with ``.unreadable`` behind its name, and
    the audits begin anew.

    Args:
        path: The file; ``None`` for none.
        fresh: Audits that know nothing yet, with the share and seed to go on with.
    """
    if path is None:
        return fresh
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = Audits.from_dict(json.loads(text))
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, HetagentError) as error:
        aside = Path(f"{os.fspath(path)}.unreadable")
        with contextlib.suppress(OSError):
            os.replace(path, aside)
        _log.warning(
            "What earlier audits found cannot be read from %s: %s The audits begin anew, and know "
            "of no drift found before; the file is now %s.",
            path,
            error,
            aside,
        )
        return fresh
    found.share, found.seed = fresh.share, fresh.seed
    return found
