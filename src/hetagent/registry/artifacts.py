"""Artifacts: files that are named by the SHA-256 of their content, and never change."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from hetagent.errors import RegistryError
from hetagent.registry import disk

__all__ = ["Artifacts", "is_hash"]

_HASH = re.compile(r"[0-9a-f]{64}")
_PIECE = 2**22


class Artifacts:
    """A folder of artifacts, which several threads and processes may add to at once.

    They may hold examples of calls, so that only their owner can read them.

    Args:
        folder: It is made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._partial = folder / "partial"

    def put(
        self, source: bytes | os.PathLike[str], *, tell: Callable[[int], None] | None = None
    ) -> str:
        """Keep a copy of a file, or bytes; what is there already stays.

        When this returns, it is on the disk.

        Args:
            source: The content, or the path of a file with it.
            tell: Told how many bytes of a file were copied, piece by piece.

        Returns:
            The SHA-256 of the content, in hexadecimal.

        Raises:
            RegistryError: The file cannot be read, or there is no room; ``retryable`` then.
        """
        what = f"{len(source):,} bytes" if isinstance(source, bytes) else os.fspath(source)
        with (
            disk.told(f"{what} cannot be kept in {self._objects.parent}"),
            disk.partial(self._partial) as written,
        ):
            if isinstance(source, bytes):
                written.write_bytes(source)
            else:
                # Never a link: who has the file could change what is kept.
                _copy(source, written, tell)
            sha256 = _sha256_of(written)
            target = self._place(sha256)
            for folder in (self._objects, target.parent):
                disk.make_folder(folder)
            if target.is_file() and _sha256_of(target) == sha256:
                disk.sync_folder(target.parent)  # who put it there may not have come so far
            else:
                disk.settle(written, target)
            disk.sync_folder(self._objects)
        return sha256

    def path(self, sha256: str) -> Path:
        """Where an artifact is; its content is not looked at.

        Raises:
            RegistryError: There is none.
        """
        path = self._place(sha256) if is_hash(sha256) else None
        if path is None or not path.is_file():
            raise RegistryError(
                f"There is no artifact {sha256} in {self._objects.parent}.",
                hint="`hetagent registry verify` lists all that is missing; bring it back from a "
                "copy of the folder.",
            )
        return path

    def has(self, sha256: str) -> bool:
        """Whether there is such an artifact."""
        return is_hash(sha256) and self._place(sha256).is_file()

    def read(self, sha256: str) -> bytes:
        """The content of an artifact.

        Raises:
            RegistryError: There is none, or its content is not what it was.
        """
        path = self.path(sha256)
        with disk.told(f"The artifact {path} cannot be read"):
            data = path.read_bytes()
        _check(path, sha256, hashlib.sha256(data).hexdigest())
        return data

    def verify(self, sha256: str) -> None:
        """Hash an artifact again.

        Raises:
            RegistryError: There is none, or its content is not what it was.
        """
        path = self.path(sha256)
        with disk.told(f"The artifact {path} cannot be read"):
            found = _sha256_of(path)
        _check(path, sha256, found)

    def __iter__(self) -> Iterator[str]:
        """The hashes of all, sorted."""
        for path in sorted(self._objects.glob("??/*")):
            if is_hash(name := path.parent.name + path.name):
                yield name

    def _place(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256[2:]


def is_hash(text: str) -> bool:
    """Whether a text is a SHA-256 as artifacts are named by."""
    return _HASH.fullmatch(text) is not None


def _check(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise RegistryError(
            f"The artifact {path} was changed or damaged: its SHA-256 is {found}.",
            hint="Put the file it was made of again, or bring it back from a copy of the folder.",
        )


def _copy(source: os.PathLike[str], target: Path, tell: Callable[[int], None] | None) -> None:
    if tell is None:
        shutil.copyfile(source, target)
        return
    with open(source, "rb") as found, target.open("wb") as file:
        while piece := found.read(_PIECE):
            file.write(piece)
            tell(len(piece))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
