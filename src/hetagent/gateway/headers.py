"""Which headers go through a gateway, and which end at it (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

__all__ = ["OWN_PREFIX", "Headers", "header", "onward", "readable_encodings", "returned"]

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""

OWN_PREFIX = b"x-hetagent-"

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Made anew for the next connection; an Expect is answered by the gateway itself.
_OF_THE_CONNECTION = frozenset({b"host", b"content-length", b"expect"})


def header(headers: Headers, name: bytes) -> str | None:
    """The first value of a header, as text: UTF-8, as most clients write it, or else Latin-1."""
    for key, value in headers:
        if key == name:
            try:
                return value.decode().strip()
            except UnicodeDecodeError:
                return value.decode("latin-1").strip()
    return None


def onward(headers: Headers) -> list[tuple[bytes, bytes]]:
    """What of a request's headers the upstream gets, but for keys.

    What the caller accepts is narrowed to the encodings that can be read for the record.
    """
    named = _named_by_connection(headers)
    kept = [
        (name, value)
        for name, value in headers
        if name not in _HOP_BY_HOP
        and name not in _OF_THE_CONNECTION
        and name not in named
        and name != b"accept-encoding"
        and not name.startswith(OWN_PREFIX)
    ]
    accepted = _accepted(value for name, value in headers if name == b"accept-encoding")
    return [*kept, (b"accept-encoding", accepted)]


def returned(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of a response's headers the client gets."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_by_connection(lowered)
    return [
        (name, value) for name, value in lowered if name not in _HOP_BY_HOP and name not in named
    ]


def readable_encodings() -> frozenset[bytes]:
    """Content encodings that can be read here."""
    found = {b"gzip", b"deflate", b"identity"}
    if find_spec("brotli") or find_spec("brotlicffi"):
        found.add(b"br")
    if find_spec("zstandard"):
        found.add(b"zstd")
    return frozenset(found)


_READABLE = readable_encodings()


def _accepted(values: Iterable[bytes]) -> bytes:
    wanted = [one.strip() for value in values for one in value.split(b",")]
    kept = [one for one in wanted if one.split(b";")[0].strip().lower() in _READABLE]
    return b", ".join(kept) or b"identity"


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    return frozenset(
        one.strip().lower()
        for name, value in headers
        if name == b"connection"
        for one in value.split(b",")
    )
