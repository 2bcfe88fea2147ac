"""An upstream on loopback that answers with bytes as they are scripted, in pieces, at its pace.

    with StreamServer() as server:
        server.reply = lambda request: Piecewise([b"data: 1\\n\\n", b"data: 2\\n\\n"], pause=0.01)
        httpx.post(f"{server.url}/v1/chat/completions", json={})
        server.requests[0].body

Unlike `tests.support.openai_server` it knows no API, holds hundreds of streams at once, and tells
when a client hangs up in the middle of one. It runs an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

__all__ = ["Gate", "Got", "Piecewise", "StreamServer", "cut"]


@dataclass(frozen=True)
class Piecewise:
    """What the server does with one request.

    Attributes:
        pieces: The body, each written on its own.
        status: HTTP status.
        headers: Sent as they are; without a Content-Length among them the body is chunked.
        pause: Seconds before each piece but the first.
        delay: Seconds before anything is sent.
        broken: Close the connection where the body should end.
        gate: Waited for between the first piece and the others.
    """

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: Sequence[tuple[str, str]] = (("Content-Type", "application/json"),)
    pause: float = 0.0
    delay: float = 0.0
    broken: bool = False
    gate: Gate | None = None


@dataclass(frozen=True)
class Got:
    """One request: method, target with its query, headers with names in lower case, and body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gate:
    """Holds answers back until it is opened, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened = asyncio.Event()
        self._loop = loop

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self.opened.set)


class StreamServer:
    """The server; use it as a context manager.

    Attributes:
        reply: From a request to what is done with it.
        requests: All so far.
        hung_up: How often a client closed its connection before its answer was whole.
        most_at_once: The largest number of answers under way at the same time.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Got], Piecewise] = lambda got: Piecewise([b"{}"])
        self.requests: list[Got] = []
        self.hung_up = 0
        self.most_at_once = 0
        self._active = 0
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def gate(self) -> Gate:
        """A gate that is closed."""
        return Gate(self._loop)

    def wait_for(self, condition: Callable[[], bool], *, timeout: float = 20.0) -> bool:
        end = time.monotonic() + timeout
        while not condition() and time.monotonic() < end:
            time.sleep(0.005)
        return condition()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(begin, "127.0.0.1", 0, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (got := await _read(reader)) is not None:
                self.requests.append(got)
                if not await self._answer(got, reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(
        self, got: Got, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self._active += 1
        self.most_at_once = max(self.most_at_once, self._active)
        work = asyncio.create_task(_write(self.reply(got), writer))
        # A client that goes on sending before its answer is whole is none that is served here.
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.hung_up += 1
                return False
            work.result()
            return not self.reply(got).broken
        except ConnectionError:
            self.hung_up += 1
            return False
        finally:
            self._active -= 1
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Got | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length") or 0))
    return Got(method, target, headers, body)


async def _write(reply: Piecewise, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(reply.delay)
    chunked = not any(name.lower() == "content-length" for name, _ in reply.headers)
    head = [f"HTTP/1.1 {reply.status} Scripted"]
    head += [f"{name}: {value}" for name, value in reply.headers]
    head += ["Transfer-Encoding: chunked"] if chunked else []
    writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
    for number, piece in enumerate(reply.pieces):
        if number:
            await asyncio.sleep(reply.pause)
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
        if not number and reply.gate is not None:
            await reply.gate.opened.wait()
    if chunked and not reply.broken:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Bytes in pieces, cut at some places, which may be any numbers."""
    places = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(places)]
