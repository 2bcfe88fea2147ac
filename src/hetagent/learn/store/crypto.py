"""Encryption of what records say, and pseudonyms for whose they are.

What was said is encrypted with AES-256-GCM (NIST SP 800-38D) under a random 96-bit nonce. The
record's id, its key's id and its plain columns are bound to it as associated data: a row whose
columns were changed, or whose text was moved to another row, does not decrypt. One key should
encrypt at most 2**32 records, which is what random nonces allow (section 8.3 there).

Origins are hashed with HMAC-SHA-256, cut to 128 bits: equal origins stay equal, so that they join,
and without the key nobody can try names until one fits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hetagent.errors import StoreError
from hetagent.learn.keys import Key, Keys

__all__ = ["Opener", "Origin", "Sealer", "pseudonym"]

Origin = Literal["client", "conversation", "trace"]

_FORMAT = b"\x01"
_NONCE_BYTES = 12


def pseudonym(key: Key, origin: Origin, value: str) -> str:
    """What an origin is kept as: 32 hex digits."""
    said = f"{origin}\0{value}".encode("utf-8", "surrogatepass")
    return hmac.new(key.secret, said, hashlib.sha256).hexdigest()[:32]


class Sealer:
    """Encrypts under one key."""

    def __init__(self, key: Key) -> None:
        self.key_id = key.id
        self._cipher = AESGCM(key.secret)

    def seal(self, payload: bytes, *, bound: Sequence[object]) -> bytes:
        """Format, nonce, ciphertext and tag, in this order.

        Args:
            payload: What is encrypted.
            bound: Values that are not, and must be the same when it is opened.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, payload, _associated(self.key_id, bound))
        return _FORMAT + nonce + sealed


class Opener:
    """Decrypts under any of several keys."""

    def __init__(self, keys: Keys) -> None:
        self._ciphers = {key.id: AESGCM(key.secret) for key in keys.all}

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._ciphers

    def open(self, sealed: bytes, *, key_id: str, bound: Sequence[object]) -> bytes:
        """What `Sealer.seal` was given.

        Raises:
            StoreError: The key is not here, or the row was changed.
        """
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise StoreError(
                f"Record {bound[0]} is encrypted with key {key_id}, which is not here.",
                hint="Those who may read records have it: HETAGENT_RECORDS_KEY, or a key file.",
            )
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _FORMAT:
                raise InvalidTag
            return cipher.decrypt(nonce, rest, _associated(key_id, bound))
        except (InvalidTag, ValueError) as error:
            raise StoreError(
                f"Record {bound[0]} was changed after it was written.",
                hint="Restore it from a backup, or delete it.",
            ) from error


def _associated(key_id: str, bound: Sequence[object]) -> bytes:
    """One byte string for each list of values."""
    return _FORMAT + json.dumps([key_id, *bound], separators=(",", ":")).encode("ascii")
