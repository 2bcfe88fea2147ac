"""Work in stages: each is done once, and goes on where it was interrupted.

A stage has a folder of its own. What it follows from is written there when it begins, and what came
of it, with the hashes of its files, when it is done. A stage that is done is not done again; one
that began and follows from the same goes on in its folder; anything else begins anew.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hetagent.errors import InputError
from hetagent.files import write_whole
from hetagent.fingerprint import digest
from hetagent.models.fetch_store import content_hash

__all__ = ["Done", "Stages"]

_BEGUN, _DONE, _LOCK = "begun.json", "done.json", ".lock"
_FORMAT = 1

Make = Callable[[Path], Mapping[str, Any]]
"""Does a stage in its folder, and returns what came of it as JSON data."""


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is done.

    Attributes:
        name: Its own, and its folder's.
        folder: Where its files are.
        result: What came of it, as JSON data.
        files: SHA-256 of each of its files, by name.
        seconds: How long it took, without what interrupted runs had done before.
        again: Whether it had been done before.
    """

    name: str
    folder: Path
    result: Mapping[str, Any]
    files: Mapping[str, str]
    seconds: float
    again: bool

    @property
    def hash(self) -> str:
        """Of all that came of it; what later stages follow from."""
        return digest([self.result, self.files])


class Stages:
    """The stages of one piece of work, in a folder.

    Args:
        folder: Where they are; it is made where there is none.
        tell: Told the name of each stage before it begins.
    """

    def __init__(
        self, folder: Path, *, tell: Callable[[str, bool], None] = lambda name, again: None
    ) -> None:
        self.folder = folder
        self._tell = tell

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder.

        Raises:
            InputError: One is at work there.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            held = FileLock(self.folder / _LOCK).acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"Another process is at work in {self.folder}.",
                hint="Wait for it, or name another folder.",
            ) from error
        with held:
            yield

    def run(self, name: str, make: Make, *, of: Any) -> Done:
        """Do a stage, or take what came of it before.

        Args:
            name: Its name.
            make: Does it.
            of: All that it follows from, as JSON data; the hashes of earlier stages among them.
        """
        folder = self.folder / name
        wanted = digest([_FORMAT, of])
        found = self._found(name, wanted)
        self._tell(name, found is not None)
        if found is not None:
            return found
        if _read(folder / _BEGUN).get("of") != wanted and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / _DONE).unlink(missing_ok=True)
        write_whole(folder / _BEGUN, json.dumps({"of": wanted}) + "\n")
        began = time.monotonic()
        result = make(folder)
        done = {
            "of": wanted,
            # As it will be read, so that a first run and a later one have the same.
            "result": json.loads(json.dumps(result)),
            "files": _hashes(folder),
            "seconds": round(time.monotonic() - began, 3),
        }
        _sync(folder)
        write_whole(folder / _DONE, json.dumps(done, indent=1, ensure_ascii=False) + "\n")
        return Done(name, folder, done["result"], done["files"], done["seconds"], again=False)

    def _found(self, name: str, wanted: str) -> Done | None:
        folder = self.folder / name
        data = _read(folder / _DONE)
        if data.get("of") != wanted or _hashes(folder) != data.get("files"):
            return None
        return Done(name, folder, data["result"], data["files"], data["seconds"], again=True)


def _read(path: Path) -> dict[str, Any]:
    """A stage's note; empty where there is none, or none that is whole."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): content_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (_BEGUN, _DONE) and not path.name.startswith(".")
    }


def _sync(folder: Path) -> None:
    """Have a stage's files on the disk before the note that it is done."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
