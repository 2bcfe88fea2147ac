"""The way of an answer to the client: at its pace, and stopped at once where it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any

from hetagent.errors import HetagentError
from hetagent.gateway.apis import Api, Refusal, error_body, refusal_of
from hetagent.gateway.calls import Answer
from hetagent.gateway.intake import Receive, Scope, Send
from hetagent.gateway.limits import Limits
from hetagent.gateway.tap import Recording
from hetagent.learn.record import CallError
from hetagent.raised import raised

__all__ = ["ABORT", "Relay", "send_whole"]

_log = logging.getLogger("hetagent")

ABORT = "hetagent.abort"
"""In a scope's extensions: a function that ends the connection without waiting for the client."""

_DRAIN_BYTES = 256 * 1024 * 1024
_DRAIN_SECONDS = 5.0


class Relay:
    """Answers one request.

    Args:
        scope: As ASGI has it.
        receive: As ASGI has it.
        send: As ASGI has it.
        api: Whose errors the client reads.
        limits: Of slow clients.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, api: Api, limits: Limits
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._api = api
        self._limits = limits
        self._all_sent = False

    async def answer(self, asked: Coroutine[Any, Any, Answer], recording: Recording) -> None:
        """Wait for the upstream's answer, and send it as it comes.

        Where the client goes away, the upstream is let go of at once. Where the upstream breaks
        off, so does the client's connection, as it would without a gateway between them.
        """
        work = asyncio.create_task(self._carry(asked, recording))
        gone = asyncio.create_task(self._client_leaves())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if self._all_sent:
                await work
            if not work.done():
                error = None if recording.has_end else CallError("Disconnected", None, _WENT_AWAY)
                recording.end(complete=error is None, error=error)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error."""
        closing = [(b"connection", b"close")] if refusal.unread else []
        await send_whole(
            self._send,
            refusal.status,
            error_body(self._api, refusal),
            headers=[*refusal.headers, *closing],
            before_end=self._drain() if refusal.unread else None,
        )

    async def _carry(self, asked: Coroutine[Any, Any, Answer], recording: Recording) -> None:
        try:
            answer = await asked
        except asyncio.CancelledError:
            recording.stop()
            raise
        except Exception as error:
            if not isinstance(error, HetagentError | Refusal):
                _log.error("An upstream failed in a way that is not foreseen: %s.", raised(error))
            refusal = refusal_of(error)
            recording.end(complete=True, error=_call_error(error, refusal))
            self._all_sent = True
            await self.refuse(refusal)
            return
        try:
            await self._pump(answer, recording)
        finally:
            await asyncio.shield(answer.close())

    async def _pump(self, answer: Answer, recording: Recording) -> None:
        status = answer.status if 200 <= answer.status < 600 else 502
        recording.begin(status, answer)
        kept = recording.room is not None
        own = [(b"x-hetagent-record", recording.call.id.encode())] if kept else []
        try:
            await self._send(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": [*answer.headers, *own],
                }
            )
            async for piece in answer.pieces:
                recording.add(piece)
                async with asyncio.timeout(self._limits.send_seconds):
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
        except TimeoutError:
            recording.end(complete=False, error=CallError("SlowClient", None, _TOO_SLOW))
            await self._abort()
            return
        except asyncio.CancelledError:
            recording.stop()
            raise
        except Exception as error:
            _log.warning("An answer broke off: %s.", raised(error))
            recording.end(complete=False, error=CallError(type(error).__name__, None, str(error)))
            return  # what is sent already goes out; then the server ends the connection
        recording.end(complete=True)
        self._all_sent = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _client_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _drain(self) -> None:
        """Take in the rest of a request: a client that writes before it reads sees the answer."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while size < _DRAIN_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return

    async def _abort(self) -> None:
        abort = self._scope.get("extensions", {}).get(ABORT)
        if abort is not None:
            abort()
            await asyncio.sleep(0)  # so that the server knows of it before this call ends
            await asyncio.sleep(0)


_WENT_AWAY = "The client went away."
_TOO_SLOW = "The client took the answer too slowly."


async def send_whole(
    send: Send,
    status: int,
    body: bytes,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    before_end: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Send an answer of the gateway's own, as JSON."""
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"date", formatdate(usegmt=True).encode()),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": before_end is not None})
    if before_end is not None:
        await before_end
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _call_error(error: Exception, refusal: Refusal) -> CallError:
    kind = type(error.__cause__ if isinstance(error.__cause__, HetagentError) else error)
    return CallError(kind.__name__, refusal.status, refusal.message)
