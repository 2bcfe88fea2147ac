"""A stand-in Hugging Face hub on loopback: file listing, metadata and ranged downloads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Fault = Literal["truncate", "garble", "500"]


class Hub:
    """Serves the files of repositories.

    Attributes:
        requests: ``"METHOD path"`` of each request for a file or listing.
        gated: Repositories whose licence was not accepted.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.gated: set[str] = set()
        self.faults: deque[Fault] = deque()
        self._files: dict[str, dict[str, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, repo: str, file: str, content: bytes) -> None:
        """Serve a file."""
        self._files.setdefault(repo, {})[file] = content

    def downloads(self) -> int:
        """How many requests asked for a file's content."""
        return sum(
            request.startswith("GET") and "/resolve/" in request for request in self.requests
        )

    def _handler(hub: Self) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                path = unquote(urlsplit(self.path).path).strip("/")
                pieces = path.split("/")
                if path.startswith("api/models/"):
                    hub.requests.append(f"{self.command} /{path}")
                    self._list("/".join(pieces[2:4]))
                elif len(pieces) > 4 and pieces[2] == "resolve":
                    hub.requests.append(f"{self.command} /{path}")
                    self._file("/".join(pieces[:2]), "/".join(pieces[4:]), with_body=with_body)
                else:
                    self._fail(404, "")

            def _list(self, repo: str) -> None:
                if repo not in hub._files:
                    self._fail(404, "RepoNotFound")
                    return
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in hub._files[repo].items()
                ]
                body = json.dumps(entries).encode()
                self._head(200, {"Content-Type": "application/json"}, len(body))
                self.wfile.write(body)

            def _file(self, repo: str, file: str, *, with_body: bool) -> None:
                if repo in hub.gated:
                    self._fail(403, "GatedRepo")
                elif repo not in hub._files:
                    self._fail(404, "RepoNotFound")
                elif file not in hub._files[repo]:
                    self._fail(404, "EntryNotFound")
                else:
                    self._content(hub._files[repo][file], with_body=with_body)

            def _content(self, content: bytes, *, with_body: bool) -> None:
                headers = {
                    "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                    "X-Repo-Commit": COMMIT,
                    "Accept-Ranges": "bytes",
                }
                fault = hub.faults.popleft() if with_body and hub.faults else None
                if fault == "500":
                    self._fail(500, "")
                    return
                asked = self.headers.get("Range")
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                body = content[start:]
                if asked:
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._head(206 if asked else 200, headers, len(body))
                if fault == "garble":
                    body = body[:8] + bytes(b ^ 0xFF for b in body[8:])
                if with_body:
                    self.wfile.write(body[: len(body) // 2] if fault == "truncate" else body)
                    self.close_connection = fault == "truncate"

            def _fail(self, status: int, code: str) -> None:
                headers = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
                self._head(status, headers, 0)

            def _head(self, status: int, headers: dict[str, str], length: int) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler
