"""The gateway's own keys: made here, kept as hashes, compared in constant time.

A key is 256 random bits, so that a plain SHA-256 of it, without salt or stretching, tells nothing
of it. The file has one line for each key: its name, a space, and ``sha256:`` with 64 hex digits.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from hetagent.errors import InputError

__all__ = ["Keys", "add_key"]

_PREFIX = "hk-"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class Keys:
    """Whom the gateway lets in.

    Args:
        hashes: The hash of each key, as the file has it, by the key's name.

    Raises:
        InputError: A name or a hash is not of that form.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        for name, value in hashes.items():
            if not _NAME.fullmatch(name) or not _HASH.fullmatch(value):
                raise InputError(
                    f"The key {name!r} has no hash of the form sha256:<64 hex digits>.",
                    hint="Make keys with: hetagent serve --keys FILE --new-key NAME",
                )
        self._hashes = {name: value.encode() for name, value in hashes.items()}

    def __len__(self) -> int:
        return len(self._hashes)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """The keys in a file.

        Raises:
            InputError: It cannot be read, or a line of it is no key.
        """
        hashes: dict[str, str] = {}
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise InputError(
                f"The keys in {os.fspath(path)} cannot be read: {error}.",
                hint="Make one with: hetagent serve --keys FILE --new-key NAME",
            ) from error
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                name, _, value = line.strip().partition(" ")
                hashes[name] = value.strip()
        if not hashes:
            raise InputError(
                f"{os.fspath(path)} has no keys.",
                hint="Make one with: hetagent serve --keys FILE --new-key NAME",
            )
        return cls(hashes)

    def name_of(self, key: str) -> str | None:
        """The name of a key, or ``None`` where it is none of these.

        All are compared, each in constant time, so that how long it takes tells nothing.
        """
        given = _hash(key).encode()
        found = None
        for name, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def add_key(path: str | os.PathLike[str], name: str) -> str:
    """Make a key, and add its hash to a file that only its owner may read.

    Returns:
        The key, which is nowhere else.

    Raises:
        InputError: The name is no name, or is taken, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a key.", hint="Use letters, digits, dots, dashes; up to 64."
        )
    file = Path(path)
    if file.exists() and any(line.split()[:1] == [name] for line in _lines(file)):
        raise InputError(
            f"{file} has a key {name!r} already.", hint="Take another name, or delete its line."
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as target:
            target.write(f"{name} {_hash(key)}\n")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error}.", hint="Check the path.") from error
    return key


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Check the path.") from error


def _hash(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()
