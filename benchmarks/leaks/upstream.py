"""A provider on loopback that says again what it was told, in the way that the model's name asks.

echo      in the answer; with "stream": true in pieces of seven characters
tool      in the arguments of a call of a tool, whole or in pieces
refuse    in the message and the kind of an error
page      in a page of HTML that is no error of the API's
break     in an answer that breaks off
head      in headers, and in the answer
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

__all__ = ["WAYS", "upstream"]

WAYS = ("echo", "tool", "refuse", "page", "break", "head")
_PIECE = 7


@contextmanager
def upstream() -> Iterator[str]:
    """Serve in a thread; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """It is no part of what is searched."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            asked = json.loads(body)
        except ValueError:
            self._send(400, b'{"error": {"message": "no JSON", "type": "invalid_request"}}')
            return
        text, way = _said(asked), str(asked.get("model", "")).rpartition("/")[2]
        if self.path.split("?")[0].endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            self._json({"object": "list", "data": data, "model": way, "usage": {}})
        elif way == "refuse":
            kind = text.split("\n")[0][:40]
            error = {"message": f"Cannot take {text}", "type": kind, "code": "bad", "param": None}
            self._json({"error": error, "type": "error"}, status=400)
        elif way == "page":
            self._send(502, f"<html>{text}</html>".encode(), kind="text/html")
        elif "messages" in self.path.rpartition("/")[2]:
            self._anthropic(asked, text)
        else:
            self._openai(asked, text, way)

    def _openai(self, asked: dict[str, Any], text: str, way: str) -> None:
        head = {"id": "c-1", "created": 1, "model": way}
        if asked.get("stream"):
            events = [{**head, "object": "chat.completion.chunk", "choices": [one]}
                      for one in _choices(text, tool=way == "tool")]  # fmt: skip
            data = [f"data: {json.dumps(one)}\n\n".encode() for one in events]
            self._stream([*data, b"data: [DONE]\n\n"], broken=way == "break")
            return
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if way == "tool":
            message = {"role": "assistant", "content": None, "tool_calls": [_call(text)]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        said = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        more = {"x-echo": quote(text)[:3000], "set-cookie": f"s={quote(text)[:3000]}"}
        self._json(said, headers=more if way == "head" else {})

    def _anthropic(self, asked: dict[str, Any], text: str) -> None:
        head = {"id": "m-1", "type": "message", "role": "assistant", "model": "m",
                "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 9}}  # fmt: skip
        if not asked.get("stream"):
            content = [{"type": "text", "text": text}]
            self._json({**head, "content": content, "stop_reason": "end_turn"})
            return
        block = {"type": "content_block_start", "index": 0,
                 "content_block": {"type": "text", "text": ""}}  # fmt: skip
        pieces = [{"type": "content_block_delta", "index": 0,
                   "delta": {"type": "text_delta", "text": one}} for one in _cut(text)]  # fmt: skip
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
               "usage": {"output_tokens": 9}}  # fmt: skip
        stop = {"type": "content_block_stop", "index": 0}
        begin = {"type": "message_start", "message": {**head, "content": []}}
        events = [begin, block, *pieces, stop, end, {"type": "message_stop"}]
        self._stream(
            [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
        )

    def _json(
        self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self._send(status, json.dumps(value).encode(), headers=headers)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: list[bytes], *, broken: bool = False) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events[: len(events) * 2 // 3 + 1] if broken else events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        if broken:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _said(asked: dict[str, Any]) -> str:
    """The last message of the user."""
    for message in reversed(asked.get("messages") or []):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content or [])
    return str(asked.get("input", ""))


def _cut(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _call(text: str, **more: Any) -> dict[str, Any]:
    arguments = json.dumps({"note": text}, ensure_ascii=False)
    function = {"name": "keep_note", "arguments": arguments}
    return {"id": "t-1", "type": "function", "function": function, **more}


def _choices(text: str, *, tool: bool) -> Iterator[dict[str, Any]]:
    yield {"index": 0, "delta": {"role": "assistant", "content": None if tool else ""}}
    if tool:
        whole = _call(text, index=0)
        arguments = whole["function"]["arguments"]
        whole["function"] = {"name": "keep_note", "arguments": ""}
        yield {"index": 0, "delta": {"tool_calls": [whole]}}
        for one in _cut(arguments):
            part = {"index": 0, "function": {"arguments": one}}
            yield {"index": 0, "delta": {"tool_calls": [part]}}
    else:
        for one in _cut(text):
            yield {"index": 0, "delta": {"content": one}}
    yield {"index": 0, "delta": {}, "finish_reason": "tool_calls" if tool else "stop"}
