"""Real servers with an OpenAI-like API, as processes on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["llama_cpp_python", "llama_server"]

_SECONDS_TO_START = 180
# llama.cpp's own server, as the package xllamacpp carries it.
_LLAMA_SERVER = """
import signal, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.hostnames = ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 2
server = xllamacpp.Server(params)
signal.pause()
"""


@contextmanager
def llama_cpp_python(weights: Path, *options: str) -> Iterator[str]:
    """llama-cpp-python's server; yields what to give as ``api_base``."""
    port = _free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(weights)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048"]
    with _running([*command, "--verbose", "false", *options], port) as url:
        yield url


@contextmanager
def llama_server(weights: Path) -> Iterator[str]:
    """llama.cpp's own server; yields what to give as ``api_base``."""
    port = _free_port()
    with _running([sys.executable, "-c", _LLAMA_SERVER, str(weights), str(port)], port) as url:
        yield url


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    # Two llama.cpp processes that spin on the same cores starve each other.
    process = subprocess.Popen(command, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    url = f"http://127.0.0.1:{port}/v1"
    try:
        _wait_until_up(f"{url}/models", process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended at once"
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server did not come up")
