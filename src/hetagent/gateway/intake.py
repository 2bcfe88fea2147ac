"""A request read: let in, within limits, and understood as far as the gateway has to."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from hetagent.gateway.apis import Api, Refusal
from hetagent.gateway.calls import Call
from hetagent.gateway.headers import OWN_PREFIX, Headers, header
from hetagent.gateway.keys import Keys
from hetagent.gateway.limits import Limits
from hetagent.gateway.marks import call_marks
from hetagent.learn.record import Form

__all__ = ["ClientGoneError", "Intake", "Receive", "Scope", "Send", "as_written"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OWN_KEY = OWN_PREFIX + b"key"
_KEY_HEADERS = (b"x-api-key", b"api-key", b"authorization")


class ClientGoneError(Exception):
    """The client hung up before its request was whole."""


class Intake:
    """Reads requests.

    Args:
        keys: Who is let in; ``None`` lets in everyone but browsers.
        limits: Of bodies.
    """

    def __init__(self, *, keys: Keys | None, limits: Limits) -> None:
        self._keys = keys
        self._limits = limits

    async def read(
        self, scope: Scope, receive: Receive, *, api: Api, path: str, form: Form | None
    ) -> Call:
        """Read one request.

        Args:
            scope: As ASGI has it.
            receive: As ASGI has it.
            api: Whose path it came by.
            path: Within the API.
            form: Of its record; ``None`` for what is passed on unread.

        Raises:
            Refusal: It is not let in, is too large, too slow, or no JSON object.
            ClientGoneError: There is nobody to answer any more.
        """
        headers: Headers = [(name.lower(), value) for name, value in scope["headers"]]
        try:
            secrets = _secrets(headers)
            tags, headers = self.admit(headers)
            _refuse_climbing(scope["path"])
            body = await self._body(receive, headers)
        except Refusal as refusal:
            refusal.unread = True
            raise
        data: Mapping[str, Any] = {}
        if form is not None:
            data = _object(_decoded(body, headers, self._limits.body_bytes))
        params = scope.get("path_params", {})
        model = params.get("model") or data.get("model")
        return Call(
            api=api,
            method=scope["method"],
            path=path,
            query=scope.get("query_string", b""),
            headers=headers,
            body=body,
            data=data,
            model=model if isinstance(model, str) else "",
            form=form,
            streamed=data.get("stream") is True,
            marks=call_marks(headers, data, workload=params.get("workload"), tags=tags),
            secrets=secrets,
        )

    def admit(self, headers: Headers) -> tuple[dict[str, str], Headers]:
        """Check the gateway's key; what to note of it, and the headers without it.

        Raises:
            Refusal: There is none, or it is wrong; or a web page calls where no key is needed.
        """
        if self._keys is None:
            if header(headers, b"origin") is not None:
                # Any page that is open in a browser on this machine could spend the user's money.
                raise Refusal(
                    403, "Web pages may not call a gateway without keys.", code="origin_refused"
                )
            return {}, headers
        for place in (_OWN_KEY, *_KEY_HEADERS):
            name = self._keys.name_of(_key(header(headers, place)))
            if name is not None:
                return {"key": name}, [pair for pair in headers if pair[0] != place]
        raise Refusal(
            401,
            "The gateway's key is missing or wrong. Send it as the API key, or in the header "
            "x-hetagent-key beside the provider's own key.",
            code="invalid_api_key",
        )

    async def _body(self, receive: Receive, headers: Headers) -> bytes:
        limit = self._limits.body_bytes
        declared = header(headers, b"content-length") or "0"
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    message = await receive()
            except TimeoutError:
                raise Refusal(
                    408, "The request's body came too slowly.", code="request_timeout"
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)


def as_written(scope: Scope) -> str:
    """The rest of a path that a route ends with, with the escapes that it came with.

    What is decoded cannot be put together again: ``a%2Fb`` is one name, and ``a/b`` two.
    """
    path: str = scope["path"]
    rest: str = scope["path_params"]["path"]
    raw = scope.get("raw_path")
    if not raw:
        return rest
    before = path.removesuffix(rest).count("/")
    return str(raw.decode("latin-1").split("/", before)[-1])


def _refuse_climbing(path: str) -> None:
    """Refuse a path that would leave the upstream's address."""
    if any(step in (".", "..") for step in path.split("/")):
        raise Refusal(400, "The path has a step . or .. in it.", code="invalid_path")


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        f"The request's body is larger than the gateway's limit of {limit} bytes.",
        code="request_too_large",
    )


def _decoded(body: bytes, headers: Headers, limit: int) -> bytes:
    encoding = (header(headers, b"content-encoding") or "identity").lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refusal(
            415, f"The gateway cannot read the encoding {encoding!r}.", code="unsupported_encoding"
        )
    plain = b""
    try:
        # Gzip may have several members, one behind the other (RFC 1952, section 2.2).
        while body and len(plain) <= limit:
            # 32 adds the detection of gzip's and zlib's heads.
            reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            plain += reader.decompress(body, limit + 1 - len(plain))
            body = reader.unused_data
    except zlib.error:
        raise Refusal(400, f"The body is no {encoding}.", code="invalid_encoding") from None
    if len(plain) > limit:
        raise _too_large(limit)
    return plain


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except RecursionError:
        raise Refusal(400, "The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refusal(400, f"The body is not valid JSON{where}.", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Refusal(400, "The body is not a JSON object.", code="invalid_json")
    return found


def _secrets(headers: Headers) -> tuple[str, ...]:
    found = [_key(header(headers, name)) for name in (_OWN_KEY, *_KEY_HEADERS)]
    return tuple(one for one in found if one)


def _key(given: str | None) -> str:
    """A key without the word before it (RFC 6750, section 2.1)."""
    given = given or ""
    return given[6:].strip() if given[:6].lower() == "bearer" else given
