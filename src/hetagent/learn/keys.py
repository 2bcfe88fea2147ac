"""Keys of a store of call records, and where they are kept.

A store has two sets of keys, so that two people can hold them. The ``records`` keys encrypt what
was said; whoever holds them can read it. The ``origins`` key hashes whose call it was, and what
surrogates are drawn with is derived from it; whoever holds it can find a client's records and test
guesses at what was replaced, and without the other keys cannot read anything.

Each store has keys of its own. The first key of a set is the newest; the others are older ones
that rotation has not replaced everywhere yet.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

from hetagent.errors import MissingExtraError, StoreError

__all__ = [
    "EnvironmentKeys",
    "FolderKeys",
    "Key",
    "KeySource",
    "KeyringKeys",
    "Keys",
    "Purpose",
    "key_source",
]

Purpose = Literal["records", "origins"]
"""What keys are for: encrypting records, or hashing whose they are."""

KEY_BYTES = 32
VARIABLES: Mapping[Purpose, str] = {
    "records": "HETAGENT_RECORDS_KEY",
    "origins": "HETAGENT_ORIGINS_KEY",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One secret key of 32 bytes; printing it shows only its id."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise StoreError(
                f"A key has {KEY_BYTES} bytes, not {len(self.secret)}.",
                hint="`hetagent records new-key` prints a key.",
            )

    @classmethod
    def new(cls) -> Self:
        """A random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def id(self) -> str:
        """A name that follows from the key and does not give it away: 16 hex digits."""
        return hmac.new(self.secret, b"hetagent key id", hashlib.sha256).hexdigest()[:16]

    def derived(self, use: str) -> bytes:
        """Another secret of 32 bytes, which follows from this one and gives nothing of it away.

        Args:
            use: What it is for; each use has its own.
        """
        said = b"hetagent derived key\0" + use.encode()
        return hmac.digest(self.secret, said, "sha256")

    def to_text(self) -> str:
        """In base64, as key files and environment variables have it."""
        return base64.b64encode(self.secret).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key that `to_text` wrote.

        Raises:
            StoreError: It is no key.
        """
        try:
            secret = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StoreError(
                "A key is not written in base64.", hint="`hetagent records new-key` prints a key."
            ) from error
        return cls(secret)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys for one purpose, the newest first; never none."""

    all: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not self.all:
            raise StoreError("There is no key.", hint="`hetagent records new-key` prints one.")

    def get(self, name: str) -> Key | None:
        """The key of this id, if it is here."""
        return next((key for key in self.all if key.id == name), None)

    def with_new(self) -> Keys:
        """These keys behind a new one."""
        return Keys((Key.new(), *self.all))

    def without(self, name: str) -> Keys:
        """These keys but one."""
        return Keys(tuple(key for key in self.all if key.id != name))

    def to_text(self) -> str:
        """One key a line."""
        return "".join(f"{key.to_text()}\n" for key in self.all)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Keys between commas or white space.

        Raises:
            StoreError: One of them is no key, or there is none.
        """
        return cls(tuple(Key.from_text(part) for part in re.split(r"[,\s]+", text) if part))


@runtime_checkable
class KeySource(Protocol):
    """A place for keys."""

    def load(self, store: str, purpose: Purpose) -> Keys | None:
        """Keys of a store, by the store's id; ``None`` where there are none."""

    def save(self, store: str, purpose: Purpose, keys: Keys) -> None:
        """Keep keys in place of what was there.

        Raises:
            StoreError: This place cannot be written.
        """

    def place(self, store: str, purpose: Purpose) -> str:
        """Where they are, in words."""


class FolderKeys:
    """Keys in files that only their owner may read, one file for each store and purpose.

    Args:
        folder: By default ``keys`` in the user's configuration folder of hetagent: apart from the
            store, so that a copy of the store alone gives nothing away.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        if folder is None:
            import platformdirs

            folder = Path(platformdirs.user_config_dir("hetagent", appauthor=False)) / "keys"
        self.folder = Path(folder).expanduser()

    def load(self, store: str, purpose: Purpose) -> Keys | None:
        """Read the file.

        Raises:
            StoreError: It cannot be read, or others than its owner may read it.
        """
        path = self._path(store, purpose)
        try:
            with path.open(encoding="ascii") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as error:
            raise StoreError(
                f"The key file {path} cannot be read: {error}.",
                hint="Only those who may use this key can read it; ask one of them.",
            ) from error
        if os.name == "posix" and mode & 0o077:
            raise StoreError(
                f"Others than its owner may read the key file {path}.",
                hint=f"Run: chmod 600 '{path}'",
            )
        return Keys.from_text(text)

    def save(self, store: str, purpose: Purpose, keys: Keys) -> None:
        """Replace the file as a whole, durably."""
        path = self._path(store, purpose)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(keys.to_text())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise StoreError(
                f"The key file {path} cannot be written: {error}.",
                hint="Name another folder for keys with HETAGENT_KEYS.",
            ) from error

    def place(self, store: str, purpose: Purpose) -> str:
        """The file."""
        return str(self._path(store, purpose))

    def _path(self, store: str, purpose: Purpose) -> Path:
        return self.folder / f"{store}.{purpose}.key"


class KeyringKeys:
    """Keys in the system's keyring, through the package ``keyring``.

    Args:
        service: The name that they are kept under.
    """

    def __init__(self, service: str = "hetagent") -> None:
        self.service = service

    def load(self, store: str, purpose: Purpose) -> Keys | None:
        """Ask the keyring.

        Raises:
            StoreError: There is no keyring, or it is closed.
        """
        import_keyring()
        import keyring

        with self._told():
            text = keyring.get_password(self.service, f"{store}.{purpose}")
        return None if text is None else Keys.from_text(text)

    def save(self, store: str, purpose: Purpose, keys: Keys) -> None:
        """Put them into the keyring."""
        import_keyring()
        import keyring

        with self._told():
            keyring.set_password(self.service, f"{store}.{purpose}", keys.to_text())

    def place(self, store: str, purpose: Purpose) -> str:
        """The entry."""
        return f"the keyring's entry {self.service!r}, user '{store}.{purpose}'"

    @contextlib.contextmanager
    def _told(self):  # type: ignore[no-untyped-def]
        from keyring.errors import KeyringError

        try:
            yield
        except KeyringError as error:
            raise StoreError(
                f"The system's keyring does not answer: {error}.",
                hint="Unlock it, or keep keys in files: HETAGENT_KEYS names their folder.",
            ) from error


class EnvironmentKeys:
    """Keys in ``HETAGENT_RECORDS_KEY`` and ``HETAGENT_ORIGINS_KEY``, else from another place.

    A variable holds one key, or several with commas between them, the newest first.

    Args:
        otherwise: Where to look for keys whose variable is not set.
        environment: The variables; by default the process's own.
    """

    def __init__(
        self,
        otherwise: KeySource | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._otherwise = otherwise
        self._environment = os.environ if environment is None else environment

    def load(self, store: str, purpose: Purpose) -> Keys | None:
        """Read the variable."""
        text = self._environment.get(VARIABLES[purpose], "").strip()
        if text:
            return Keys.from_text(text)
        return None if self._otherwise is None else self._otherwise.load(store, purpose)

    def save(self, store: str, purpose: Purpose, keys: Keys) -> None:
        """Keep them in the other place.

        Raises:
            StoreError: The variable is set, or there is no other place.
        """
        if self._otherwise is None or self._environment.get(VARIABLES[purpose], "").strip():
            raise StoreError(
                f"The keys are in the environment variable {VARIABLES[purpose]}, which a program "
                "cannot change for others.",
                hint="Put a new key first and a comma behind it; `hetagent records new-key` "
                "prints one. Take old keys out when rotation is done.",
            )
        self._otherwise.save(store, purpose, keys)

    def place(self, store: str, purpose: Purpose) -> str:
        """The variable, or the other place."""
        if self._otherwise is None or self._environment.get(VARIABLES[purpose], "").strip():
            return f"the environment variable {VARIABLES[purpose]}"
        return self._otherwise.place(store, purpose)


def key_source() -> KeySource:
    """The environment's keys, else those of the keyring or folder that ``HETAGENT_KEYS`` names.

    ``HETAGENT_KEYS=keyring`` means the system's keyring, anything else a folder; where it is not
    set, keys are files in the user's configuration folder.
    """
    named = os.environ.get("HETAGENT_KEYS", "").strip()
    other: KeySource = KeyringKeys() if named == "keyring" else FolderKeys(named or None)
    return EnvironmentKeys(other)


def import_keyring() -> None:
    """Say what to install where ``keyring`` is not.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import keyring  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("keyring", extra="keyring") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
