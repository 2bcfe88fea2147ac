"""The gateway on a port: uvicorn, with what a gateway needs besides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hetagent.errors import InputError, MissingExtraError
from hetagent.gateway.relay import ABORT

if TYPE_CHECKING:
    import uvicorn

    from hetagent.gateway.app import Gateway

__all__ = ["DEFAULT_PORT", "run", "serving"]

DEFAULT_PORT = 8765
_SECONDS_TO_START = 30.0
_KEEP_ALIVE = 75  # seconds; clients keep connections for a minute


def run(
    gateway: Gateway,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; what is under way is finished and recorded then.

    Args:
        gateway: What to serve.
        host: Where to listen.
        port: The same.
        ready: Called once clients can connect.

    Raises:
        InputError: The port is taken, or the address is none of this machine's.
        MissingExtraError: The packages of the extra ``gateway`` are not installed.
    """
    listening = _listen(host, port)
    with listening, contextlib.suppress(KeyboardInterrupt):
        if ready is not None:
            ready()
        _server(gateway).run(sockets=[listening])


@contextlib.contextmanager
def serving(gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread for as long as the block lasts.

    Args:
        gateway: What to serve.
        host: Where to listen.
        port: The same; 0 takes a free one.

    Yields:
        Its address, without a slash at the end.

    Raises:
        InputError: The port is taken, or the address is none of this machine's.
    """
    with _listen(host, port) as listening:
        server = _server(gateway)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="hetagent-gateway", daemon=True
        )
        thread.start()
        try:
            _wait_until_up(server, thread)
            yield f"http://{_shown(host)}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _server(gateway: Gateway) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", extra="gateway") from error

    config = uvicorn.Config(
        _patient(gateway.app),
        http=_connection_class(gateway.limits.header_seconds, gateway.limits.send_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Headers are the upstream's; its own Date and Server go through.
        date_header=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(gateway.limits.stop_seconds)),
    )
    return uvicorn.Server(config)


def _patient(inner: Any) -> Any:
    """An application whose end is not told as a fault where it is hurried by a second Ctrl-C."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await inner(scope, receive, send)
            return
        task = asyncio.current_task()

        async def tell(message: Any) -> None:
            if task is None or not task.cancelling():
                await send(message)

        with contextlib.suppress(asyncio.CancelledError):
            await inner(scope, receive, tell)

    return app


def _connection_class(header_seconds: float, send_seconds: float) -> Any:
    """Uvicorn's connection, but one that bounds what a silent client can hold.

    Args:
        header_seconds: Until the head of a request is there.
        send_seconds: Until the client's machine takes what was sent.
    """
    # Not httptools, even where it is installed: it loses the body of a request that offers an
    # upgrade, as Java's HTTP client does with each one.
    from uvicorn.protocols.http.h11_impl import H11Protocol

    base: Any = H11Protocol

    class Connection(base):  # type: ignore[misc,unused-ignore]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            _bound(transport.get_extra_info("socket"), send_seconds)
            inner: Any = self.app

            async def app(scope: Any, receive: Any, send: Any) -> None:
                scope.setdefault("extensions", {})[ABORT] = transport.abort
                await inner(scope, receive, send)

            self.app: Any = app
            self._waiting = self.loop.call_later(header_seconds, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            under_way = self.cycle is not None and not self.cycle.response_complete
            if under_way:
                self._stop_waiting()
            elif self._waiting is None and not self.transport.is_closing():
                self._waiting = self.loop.call_later(header_seconds, self.transport.abort)

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(error)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return Connection


def _bound(connection: socket.socket | None, seconds: float) -> None:
    """Let the kernel drop a peer that is gone, or takes nothing, also where nobody waits for it."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"{host!r} is no address here: {error}.", hint="Try 127.0.0.1.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(
            f"Port {port} of {host} cannot be listened on: {error}.",
            hint="Take another one with --port.",
        ) from error
    return listening


def _wait_until_up(server: uvicorn.Server, thread: threading.Thread) -> None:
    import time

    end = time.monotonic() + _SECONDS_TO_START
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise InputError("The gateway did not start.", hint="The log says why.")
        time.sleep(0.005)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
