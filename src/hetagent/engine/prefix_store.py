"""Evaluated prefixes on disk, so that a new process need not evaluate them again.

A file holds what llama.cpp gave for one sequence, behind a header with the SHA-256 of all that it
depends on (model, adapters, build, precision, tokens) and of the content. A file whose header does
not match, be it cut short, corrupt or of something else, is not given to llama.cpp, and is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hetagent.engine.prefixes import Adapters, PrefixKey

__all__ = ["PrefixStore"]

_log = logging.getLogger("hetagent")

_MAGIC = b"hetagent prefix 1\n"
_DIGEST = 32
DEFAULT_BYTES = 1 << 30
"""Bytes a folder of prefixes may take."""


class PrefixStore:
    """A folder of evaluated prefixes.

    Args:
        folder: Where they are; made at the first write.
        model: What identifies the model, the build and the cache's layout, as JSON data.
        name_adapters: What identifies loaded adapters, as JSON data.
        limit: Bytes the folder may take; the least recently used files leave.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: Any,
        name_adapters: Callable[[Adapters], Any],
        limit: int = DEFAULT_BYTES,
    ) -> None:
        self._folder = folder
        self._model = model
        self._name_adapters = name_adapters
        self._limit = limit

    def get(self, key: PrefixKey) -> bytes | None:
        """A prefix that was stored; ``None`` where there is none that can be trusted."""
        identity = self._identity(key)
        path = self._path(identity)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        header = len(_MAGIC) + 2 * _DIGEST
        content = data[header:]
        expected = _MAGIC + identity + hashlib.sha256(content).digest()
        if data[:header] != expected:
            _log.warning("The stored prefix %s is corrupt or foreign; it is removed.", path.name)
            with contextlib.suppress(OSError):  # as in a folder that cannot be written
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # so that the least recently used can be told
        return content

    def put(self, key: PrefixKey, content: bytes) -> None:
        """Store a prefix; a full or read-only disk is no error."""
        identity = self._identity(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content))
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                try:
                    file.write(_MAGIC + identity + hashlib.sha256(content).digest() + content)
                    file.close()
                    os.replace(file.name, self._path(identity))
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            _log.warning("An evaluated prefix could not be stored: %s", error)

    def _path(self, identity: bytes) -> Path:
        return self._folder / f"{identity.hex()}.prefix"

    def _identity(self, key: PrefixKey) -> bytes:
        adapters, tokens = key
        facts = json.dumps([self._model, self._name_adapters(adapters), tokens])
        return hashlib.sha256(facts.encode()).digest()

    def _make_room(self, size: int) -> None:
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*.prefix"):
            with contextlib.suppress(FileNotFoundError):  # another process may remove it, too
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = size + sum(size for _, size, _ in found)
        for _, freed, path in sorted(found):
            if total <= self._limit:
                return
            total -= freed
            path.unlink(missing_ok=True)
