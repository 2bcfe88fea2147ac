"""Images, files and other encoded bytes in texts: dropped, with a tag left in their place.

Nothing here can tell what is on a picture, so its bytes are not kept unless asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

from hetagent.learn.redact.targets import Edit

__all__ = ["find_blobs", "tag"]

_URL = re.compile(r"(data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,)([A-Za-z0-9+/_=%-]{24,})", re.IGNORECASE)
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{1024,}={0,2}")


def find_blobs(text: str, key: bytes) -> Iterator[Edit]:
    """Data URLs and long runs of base64 in a text, and the tags that stand for them."""
    if ";base64," in text:
        for match in _URL.finditer(text):
            yield Edit(*match.span(2), tag(match[2], key), "blob")
    if len(text) >= 1024:
        for match in _LONG.finditer(text):
            yield Edit(match.start(), match.end(), tag(match[0], key), "blob")


def tag(blob: str, key: bytes) -> str:
    """Sixteen hexadecimal digits, which are base64 too: equal bytes have equal ones."""
    return hmac.digest(key, blob.encode(errors="surrogatepass"), hashlib.sha256).hex()[:16]
