"""A peer's code in a process of its own, in its own virtual environment."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Self

from benchmarks.engine.workers import Failed, System, Worker
from benchmarks.report import CannotMeasureError

__all__ = ["VENVS", "Peer", "environment"]

ROOT = Path(__file__).parents[3]
VENVS = ROOT / ".nox"
SERVED = "benchmarks.escalation.peers.served"


def environment(name: str, *, venvs: Path) -> Path:
    """The folder of a peer's virtual environment, as ``nox -s "peers(NAME)"`` makes it.

    Raises:
        CannotMeasureError: It is in neither of the places where it is looked for.
    """
    folders = (venvs / f"peers-{name}", venvs / name)
    for folder in folders:
        if (folder / "bin").is_dir():
            return folder
    raise CannotMeasureError(
        f'{folders[0]} is not there. Make it with `nox -s "peers({name})"`, or name another folder '
        "with --venvs."
    )


class Peer:
    """A peer that answers commands until it is closed.

    Args:
        name: The peer, and its virtual environment.
        module: The module of ``benchmarks.escalation.peers.served`` that is run.
        population: What it is given once and may refer to later.
        options: What it is made with.
        venvs: Folder with the virtual environments.

    Raises:
        benchmarks.report.CannotMeasureError: The virtual environment is not there.
        benchmarks.engine.workers.Failed: The peer could not be loaded.

    Attributes:
        facts: What it says of itself: its version, its settings.
    """

    def __init__(
        self,
        name: str,
        *,
        module: str,
        population: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        venvs: Path = VENVS,
    ) -> None:
        self._worker = Worker(System(name, f"{SERVED}.{module}", name), venvs=venvs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "population.json"
            path.write_text(json.dumps(population or {}), encoding="utf-8")
            try:
                reply = self.ask("load", workload=str(path), options=options or {})
            except Failed:
                self.close()
                raise
        self.facts: dict[str, Any] = reply["facts"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its reply.

        Raises:
            benchmarks.engine.workers.Failed: The process ended instead.
        """
        return self._worker.ask(do, **command)

    def close(self) -> None:
        """End the process."""
        self._worker.close()
