"""An OpenAI-compatible chat server on loopback, with scripted answers and faults.

    with OpenAIServer() as server:
        server.answer('{"answer": "book"}')             # every call, until told otherwise
        server.script([Reply(status=429), Reply("ok")])  # the next calls, in order
        server.handler = lambda request: Reply(request["messages"][-1]["content"])
        LiteLLM("openai/any", api_base=server.base_url)
        server.requests[0].body, server.requests[0].headers

It speaks real HTTP/1.1 over real sockets with keep-alive, one thread for each connection.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Handler", "OpenAIServer", "ReceivedRequest", "Reply"]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request.

    Attributes:
        content: The assistant's message; ``None`` is sent as null.
        status: HTTP status; from 400 on, the body is an error with ``error`` as its message.
        error: Message of an error body.
        finish_reason: As in the API: ``"stop"``, ``"length"``, ``"content_filter"``.
        logprobs: The choice's ``logprobs``; ``None`` leaves it out.
        prompt_tokens: Reported usage; ``None`` leaves ``usage`` out of the body.
        completion_tokens: Reported usage.
        cached_tokens: Part of the prompt tokens reported as read from a cache.
        headers: Further headers, e.g. ``{"Retry-After": "1"}``.
        delay: Seconds to wait before answering.
        raw_body: Sent instead of any of the above, as it is.
        content_type: Of the body.
        drop: Close the connection without an answer.
        cut: Close the connection in the middle of the body.
        hang: Never answer; returns when the client gives up or the server stops.
    """

    content: str | None = ""
    status: int = 200
    error: str = "The scripted server failed."
    finish_reason: str = "stop"
    logprobs: Any = None
    prompt_tokens: int | None = 10
    completion_tokens: int = 5
    cached_tokens: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    raw_body: str | bytes | None = None
    content_type: str = "application/json"
    drop: bool = False
    cut: bool = False
    hang: bool = False

    def body(self, model: str) -> bytes:
        """The body to send."""
        if self.raw_body is not None:
            return self.raw_body.encode() if isinstance(self.raw_body, str) else self.raw_body
        if self.status >= 400:
            return json.dumps({"error": {"message": self.error, "type": "scripted"}}).encode()
        message = {"role": "assistant", "content": self.content}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        if self.logprobs is not None:
            choice["logprobs"] = self.logprobs
        answer: dict[str, Any] = {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [choice],
        }
        if self.prompt_tokens is not None:
            answer["usage"] = {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": self.prompt_tokens + self.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            }
        return json.dumps(answer).encode()


Handler = Callable[[dict[str, Any]], Reply]
"""From a request's JSON body to what the server does with it."""

NOTHING_SCRIPTED = Reply(status=418, error="The test scripted no answer for this request.")


@dataclass(frozen=True)
class ReceivedRequest:
    """One request the server got.

    Attributes:
        body: Its JSON.
        headers: Its headers, names in lower case.
        at: When it came, on `time.monotonic`'s clock, in seconds.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    at: float


class OpenAIServer:
    """The server; use it as a context manager.

    Attributes:
        handler: Answers each request for which nothing is scripted.
        paths: Endings of the paths that there are.
        requests: Every chat request so far, in the order of arrival.
        disconnects: How many clients hung up while they waited for an answer.
        most_at_once: The largest number of requests that were being answered at the same time.
    """

    def __init__(self) -> None:
        self.handler: Handler = lambda request: NOTHING_SCRIPTED
        self.paths: tuple[str, ...] = ("/chat/completions",)
        self.requests: list[ReceivedRequest] = []
        self.disconnects = 0
        self.most_at_once = 0
        self._active = 0
        self._script: deque[Reply] = deque()
        self._sockets: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._listen(0)

    @property
    def base_url(self) -> str:
        """What to give as ``api_base``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def answer(self, content: str | None, **options: Any) -> None:
        """Give this answer to every request from now on."""
        reply = Reply(content, **options)
        self.handler = lambda request: reply

    def script(self, replies: Iterable[Reply]) -> None:
        """Answer the next requests with these, in order; then with the handler again."""
        with self._changed:
            self._script.extend(replies)

    def go_down(self) -> None:
        """Refuse connections, and end those that are open, until `come_up`."""
        self.close()

    def come_up(self) -> None:
        """Listen again, at the same address."""
        self._stopping.clear()
        self._listen(self._http.server_port)
        self._thread.start()

    def wait_for_requests(self, count: int, *, timeout: float = 5.0) -> bool:
        """Wait until so many requests came; false if they do not within ``timeout`` seconds."""
        return self._wait(lambda: len(self.requests) >= count, timeout)

    def wait_for_disconnects(self, count: int, *, timeout: float = 5.0) -> bool:
        """Wait until so many clients hung up; false if they do not within ``timeout`` seconds."""
        return self._wait(lambda: self.disconnects >= count, timeout)

    def close(self) -> None:
        """Stop; ends every open connection."""
        self._stopping.set()
        self._http.shutdown()
        with self._changed:
            for connection in self._sockets:
                _hang_up(connection)
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _listen(self, port: int) -> None:
        self._http = _Http(self, port)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="openai-server"
        )

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _receive(self, request: ReceivedRequest) -> Reply | None:
        with self._changed:
            self.requests.append(request)
            self._active += 1
            self.most_at_once = max(self.most_at_once, self._active)
            self._changed.notify_all()
            return self._script.popleft() if self._script else None

    def _finished(self, *, disconnected: bool) -> None:
        with self._changed:
            self._active -= 1
            self.disconnects += disconnected
            self._changed.notify_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = 64

    def __init__(self, owner: OpenAIServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.owner = owner


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        with self.server.owner._changed:
            self.server.owner._sockets.add(self.connection)
            if self.server.owner._stopping.is_set():
                _hang_up(self.connection)

    def finish(self) -> None:
        with self.server.owner._changed:
            self.server.owner._sockets.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client hung up; what it was told is recorded elsewhere
            self.close_connection = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith(self.server.owner.paths):
            self._send(Reply(status=404, error=f"There is no {self.path} here."), "")
            return
        owner = self.server.owner
        body = json.loads(raw)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = owner._receive(ReceivedRequest(body, headers, time.monotonic()))
        gone = False
        try:
            reply = reply or owner.handler(body)
            gone = self._client_leaves(None if reply.hang else reply.delay)
            if gone or reply.hang or reply.drop:
                self.close_connection = True
                _hang_up(self.connection)
            else:
                self._send(reply, body.get("model", ""))
        finally:
            owner._finished(disconnected=gone)

    def _client_leaves(self, seconds: float | None) -> bool:
        """Wait, for ever if ``None``; true as soon as the client closes the connection."""
        end = float("inf") if seconds is None else time.monotonic() + seconds
        while not self.server.owner._stopping.is_set() and (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.02))
            if readable and not self._peek():
                return True
        return False

    def _peek(self) -> bytes:
        try:
            return self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return b""

    def _send(self, reply: Reply, model: str) -> None:
        body = reply.body(model)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut:
            self.close_connection = True
            self.wfile.write(body[: len(body) // 2])
            _hang_up(self.connection)
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was faster
        return
