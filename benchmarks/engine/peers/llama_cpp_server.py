"""llama-cpp-python's server over HTTP on the loopback, with a JSON schema.

Several adapters need a server each; one that serves several skills has its cache of states turned
on. A server answers one request at a time.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.engine.peers.serve import peak_rss, serve

START_SECONDS = 120
# The server drops connections that were idle for five.
IDLE_SECONDS = 2
CACHE_BYTES = 1 << 30


class Servers:
    """One call is one POST to a skill's server, over a connection that is kept open."""

    evaluated = None  # the server does not say

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self._skills = workload["skills"]
        adapters = {skill["adapter"]: None for skill in self._skills.values()}
        shared = len(adapters) < len(self._skills)
        servers = {key: Server(options, adapter=key, cache=shared) for key in adapters}
        self._servers = {name: servers[skill["adapter"]] for name, skill in self._skills.items()}
        self._processes = list(servers.values())
        for server in self._processes:
            server.wait()
        self.facts = {
            "version": metadata.version("llama-cpp-python"),
            "servers": len(self._processes),
        }

    def answer(self, call: dict[str, Any]) -> str:
        skill = self._skills[call["skill"]]
        reply = self._servers[call["skill"]].post(
            {
                "messages": [*skill["messages"], {"role": "user", "content": call["message"]}],
                "response_format": {"type": "json_object", "schema": skill["schema"]},
                "temperature": 0.0,
                "max_tokens": skill["max_tokens"],
            }
        )
        text = reply["choices"][0]["message"]["content"]
        return str(json.loads(text)) if skill["form"] == "choice" else text

    def memory(self) -> dict[str, Any]:
        """Peak resident memory of the servers and of this client, in bytes."""
        return {"peak": peak_rss() + sum(server.peak_rss() for server in self._processes)}

    def close(self) -> dict[str, Any]:
        for server in self._processes:
            server.close()
        return {}


class Server:
    """A server process."""

    def __init__(self, options: dict[str, Any], *, adapter: str | None, cache: bool) -> None:
        self._port = free_port()
        threads = str(options["threads"])
        command = [sys.executable, "-m", "llama_cpp.server", "--model", options["model"]]
        command += ["--port", str(self._port), "--n_ctx", str(options["context"])]
        command += ["--n_threads", threads, "--n_threads_batch", threads, "--verbose", "false"]
        if options["gpu_layers"]:
            command += ["--n_gpu_layers", str(options["gpu_layers"]), "--flash_attn", "true"]
        if adapter:
            command += ["--lora_path", adapter]
        if cache:
            command += ["--cache", "true", "--cache_size", str(CACHE_BYTES)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        self._last = time.monotonic()

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self._process.returncode}")
            try:
                self._connection.request("GET", "/v1/models")
                self._connection.getresponse().read()
                return
            except OSError:
                self._connection.close()
                time.sleep(0.1)
        raise RuntimeError(f"the server did not start in {START_SECONDS} s")

    def post(self, body: dict[str, Any]) -> Any:
        if time.monotonic() - self._last > IDLE_SECONDS:
            self._connection.close()  # opened anew by the request
        self._connection.request(
            "POST",
            "/v1/chat/completions",
            body=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        response = self._connection.getresponse()
        text = response.read()
        self._last = time.monotonic()
        if response.status != 200:
            raise RuntimeError(f"the server answered {response.status}: {text[:300]!r}")
        return json.loads(text)

    def peak_rss(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():  # not Linux
            return 0
        lines = status.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    serve(Servers)
