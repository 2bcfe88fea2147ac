"""Where the benchmark's stores are: new ones, in a folder that goes away."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hetagent.learn.keys import FolderKeys
from tests.support.postgres import Postgres, programs

DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Place:
    """A store that does not exist yet, and where its keys will be."""

    where: str
    keys: FolderKeys
    server: Postgres | None = None


@contextlib.contextmanager
def place(database: str) -> Iterator[Place | None]:
    """A new place; ``None`` where PostgreSQL is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        keys = FolderKeys(Path(folder) / "keys")
        if database == "sqlite":
            yield Place(str(Path(folder) / "records.db"), keys)
        elif programs() is None:
            yield None
        else:
            with Postgres(durable=True) as server:
                yield Place(server.database(), keys, server)


@contextlib.contextmanager
def silence(*loggers: str) -> Iterator[None]:
    """Without the warnings of faults that are made on purpose."""
    before = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
