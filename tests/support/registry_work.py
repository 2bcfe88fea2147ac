"""What other processes do with a registry, and how tests start them.

They fork from one server that imports hetagent once, so that a test may have many of them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hetagent.errors import RegistryError
from hetagent.registry import Registry
from hetagent.registry.artifacts import Artifacts
from hetagent.registry.log import Change, Log

__all__ = [
    "Worker",
    "append_many",
    "append_without_room",
    "put_for_ever",
    "put_the_same",
    "put_without_room",
    "tell_states",
]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", __name__])


class Worker:
    """A process that runs one of the functions below, and what it tells.

    Args:
        work: The function; it is given a connection, and the arguments.
        arguments: Those after the connection.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ends(self, *, killed: bool = False) -> list[Any]:
        """All it told until its end, which a kill brings on at once."""
        if killed:
            self._process.kill()
        found = []
        with suppress(EOFError, OSError), self.connection:
            while True:
                found.append(self.connection.recv())
        self._process.join()
        assert killed or self._process.exitcode == 0
        self._process.close()
        return found


def append_many(told: Connection, path: Path, skill: str, count: int) -> None:
    """Append to a log; tells each event's number once it is acknowledged."""
    log = Log(path)
    for _ in range(count):
        event = log.append(lambda events: Change(skill=skill, mode="off", why="x" * 2000))
        told.send(event.n)


def append_without_room(told: Connection, path: Path) -> None:
    """Append to a log before, while and after no more than 100 bytes more may be written."""
    log = Log(path)

    def append() -> int:
        return log.append(lambda events: Change(skill="intent", mode="off")).n

    append()
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    try:
        append()
    except RegistryError as error:
        told.send((error.retryable, path.stat().st_size == size, len(log.read().events)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    told.send(append())


def put_the_same(told: Connection, folder: Path) -> None:
    """Put ten artifacts that others put, too, and check each; tells their hashes."""
    artifacts = Artifacts(folder)
    for number in range(10):
        name = artifacts.put(bytes([number]) * 50_000)
        artifacts.verify(name)
        told.send(name)


def put_for_ever(told: Connection, folder: Path) -> None:
    """Put one artifact after another; tells each hash once it is acknowledged."""
    artifacts = Artifacts(folder)
    while True:
        told.send(artifacts.put(os.urandom(200_000)))


def put_without_room(told: Connection, folder: Path, source: Path) -> None:
    """Put a file and bytes that are larger than may be written."""
    artifacts = Artifacts(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    for what in (source, b"y" * 100_000):
        try:
            artifacts.put(what)
        except RegistryError as error:
            told.send((error.retryable, list(artifacts)))


def tell_states(told: Connection, folder: Path, skill: str) -> None:
    """Tell which binding is live whenever asked, until asked for nothing."""
    registry = Registry(folder)
    while told.recv():
        state = registry.state(skill)
        told.send(None if state is None or state.live is None else state.live.id)
