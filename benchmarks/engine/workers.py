"""The measured systems, each in a process of its own that stays loaded."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from benchmarks.report import CannotMeasureError

__all__ = [
    "BARE",
    "BEST_LABEL",
    "FLOOR",
    "OURS",
    "REFERENCE",
    "SYSTEMS",
    "Failed",
    "System",
    "Worker",
]

ROOT = Path(__file__).parents[2]
CLOSE_SECONDS = 30
ALIVE_SECONDS = 2


class Failed(Exception):  # noqa: N818 - a finding about a peer, reported as a row
    """A system could not be loaded or gave no answer."""


@dataclass(frozen=True)
class System:
    """How a system is run.

    Attributes:
        name: In the report.
        module: What is run with ``python -m``.
        environment: The virtual environment made by ``nox -s "peers(NAME)"``; ``None`` for this
            one.
        cells: The cells it can take part in.
        concurrent: Whether it works on several calls at once; else it is measured with one
            caller, and that stands for any number.
        instance_per_skill: Whether it has an instance for each skill also where there are no
            adapters: as many copies of everything, where the others have one.
        best_label: Whether only the best label of a choice is looked for (hetagent's
            ``all_labels=False``), which is all that most peers give.
    """

    name: str
    module: str
    environment: str | None = None
    cells: str = "abcde"
    concurrent: bool = False
    instance_per_skill: bool = False
    best_label: bool = False


OURS = System("hetagent", "benchmarks.engine.ours", concurrent=True)
BEST_LABEL = System(
    "hetagent, best label", "benchmarks.engine.ours", cells="abde", concurrent=True, best_label=True
)
FLOOR = System("floor", "benchmarks.engine.floor", concurrent=True)
BARE = System("bare loop", "benchmarks.engine.bare")
REFERENCE = System("reference", "benchmarks.engine.reference")
PEERS = "benchmarks.engine.peers"
SYSTEMS = (
    OURS,
    BEST_LABEL,
    FLOOR,
    System("llama-cpp-python", f"{PEERS}.llama_cpp_python", "llama-cpp-python"),
    System("outlines", f"{PEERS}.outlines_llama_cpp", "outlines"),
    System("guidance", f"{PEERS}.guidance_llama_cpp", "guidance"),
    System("typed-gguf", f"{PEERS}.typed_gguf_choices", "typed-gguf", cells="abd"),
    System(
        "llama-cpp-python, 8 instances",
        f"{PEERS}.llama_cpp_python",
        "llama-cpp-python",
        cells="d",
        instance_per_skill=True,
    ),
    System(
        "guidance, 8 instances",
        f"{PEERS}.guidance_llama_cpp",
        "guidance",
        cells="d",
        instance_per_skill=True,
    ),
    System("server", f"{PEERS}.llama_cpp_server", "llama-cpp-python"),
)


class Worker:
    """A running system; commands go to its standard input, one JSON a line.

    Args:
        system: What to run.
        venvs: Folder with the peers' virtual environments.

    Raises:
        CannotMeasureError: Its virtual environment is not there.
    """

    def __init__(self, system: System, *, venvs: Path) -> None:
        self.system = system
        self.peak_rss = 0
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see close
        environment = dict(os.environ)
        if system.environment is not None:
            # A peer must not find this environment's packages.
            environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [interpreter(system, venvs), "-m", system.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its reply.

        Raises:
            Failed: The process ended instead; with the last lines it wrote.
        """
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None
        assert pipes[1] is not None
        try:
            pipes[0].write(json.dumps({"do": do, **command}) + "\n")
            pipes[0].flush()
            line = self._next_line(pipes[1])
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"{self.system.name} ended: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        self.peak_rss = max(self.peak_rss, reply["peak_rss"])
        return reply

    def _next_line(self, pipe: IO[str]) -> str:
        """The next line; empty once the process is dead, also where a child holds the pipe."""
        while not select.select([pipe], [], [], ALIVE_SECONDS)[0]:
            if self._process.poll() is not None:
                return ""
        return pipe.readline()

    def memory(self) -> int:
        """Peak resident memory of everything the system runs in, in bytes."""
        if self.system.name == "server":
            return int(self.ask("memory")["peak"])
        return self.peak_rss

    def close(self) -> None:
        if self._process.poll() is None:
            if self.system.name == "server":
                self.ask("close")
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return " | ".join(lines[-3:])[-500:] or f"status {self._process.returncode}"


def interpreter(system: System, venvs: Path) -> str:
    if system.environment is None:
        return sys.executable
    folders = (venvs / f"peers-{system.environment}", venvs / system.environment)
    for folder in folders:
        python = folder / "bin" / "python"
        if python.exists():
            return str(python)
    raise CannotMeasureError(
        f"The virtual environment of {system.name} is not at {folders[0]}. Make it with "
        f'`nox -s "peers({system.environment})"`, name another folder with --venvs, or leave the '
        "system out with --systems."
    )
