"""A stand-in package index on loopback: PEP 503 pages, tiny wheels, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

Fault = Literal["500", "truncate", "stall"]


def make_wheel(package: str, version: str, member: str, content: bytes) -> bytes:
    """A minimal wheel with one data file."""
    info = f"{package.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    files = {
        member: content,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{_record_hash(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


class PackageIndex:
    """Serves wheels by package name.

    Attributes:
        served: How often each package's wheel was asked for.
        stalled: Set once a download stalls half way.
    """

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.stalled = threading.Event()
        self._go_on = threading.Event()
        self._wheels: dict[str, tuple[str, bytes]] = {}
        self._faults: dict[str, deque[Fault]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/simple"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, package: str, version: str, member: str, content: bytes) -> None:
        """Serve a package; a second call replaces its content."""
        name = f"{package.replace('-', '_')}-{version}-py3-none-any.whl"
        self._wheels[package] = (name, make_wheel(package, version, member, content))

    def fail(self, package: str, *faults: Fault) -> None:
        """Fail the next downloads of a package's wheel, one fault each."""
        self._faults[package] = deque(faults)

    def release(self) -> None:
        """Break off the downloads that stall."""
        self._go_on.set()

    def _handler(index: Self) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                package = self.path.strip("/").split("/")[1]
                if package not in index._wheels:
                    self._send(404, b"no such package")
                elif self.path.startswith("/simple/"):
                    name = index._wheels[package][0]
                    page = f'<!DOCTYPE html><a href="/files/{package}/{name}">{name}</a>'
                    self._send(200, page.encode(), kind="text/html")
                else:
                    self._send_wheel(package)

            def _send_wheel(self, package: str) -> None:
                index.served[package] += 1
                body = index._wheels[package][1]
                faults = index._faults.get(package)
                fault = faults.popleft() if faults else None
                if fault == "500":
                    self._send(500, b"out of order")
                elif fault is None:
                    self._send(200, body)
                else:
                    self._head(200, len(body))
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    if fault == "stall":
                        index.stalled.set()
                        index._go_on.wait(30)
                    self.close_connection = True

            def _send(self, status: int, body: bytes, kind: str = "application/zip") -> None:
                self._head(status, len(body), kind)
                self.wfile.write(body)

            def _head(self, status: int, length: int, kind: str = "application/zip") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler
