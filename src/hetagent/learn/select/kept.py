"""Finished measurements, kept in a file so that an interrupted race goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hetagent.errors import StoreError
from hetagent.files import write_whole

__all__ = ["Kept", "made_folder", "write_kept"]


class Kept:
    """Measurements by key, in a file of JSON lines.

    The file is written whole each time, so that a process that is killed leaves what there was. A
    line that cannot be read is measured again.

    Args:
        path: The file; ``None`` to remember them in this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot("read", path, error) from error
        for line in lines:
            try:
                entry = json.loads(line)
                self._found[entry["key"]] = entry["measured"]
            except (ValueError, KeyError, TypeError):
                continue

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> dict[str, Any] | None:
        """What was measured; ``None`` where it was not yet."""
        return self._found.get(key)

    def put(self, key: str, measured: dict[str, Any]) -> None:
        """Keep a measurement.

        Raises:
            StoreError: It could not be written; what the file had it still has.
        """
        self._found[key] = measured
        if self._path is None:
            return
        lines = [json.dumps({"key": k, "measured": one}) for k, one in self._found.items()]
        write_kept(self._path, "\n".join(lines) + "\n")


def made_folder(path: Path | str) -> Path:
    """A folder, which is made where it is not there.

    Raises:
        StoreError: It cannot be.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot("made", folder, error) from error
    return folder


def write_kept(path: Path, text: str) -> None:
    """Write a file, which is there whole or as it was before.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise _cannot("written", path, error) from error


def _cannot(done: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be {done}: {error.strerror or error}.",
        hint="Make room, or name another folder.",
    )
