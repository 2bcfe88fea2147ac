"""Stores of call records: on SQLite, and on a real PostgreSQL where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hetagent.learn.keys import FolderKeys
from hetagent.learn.record import CallRecord, new_id
from tests.support.postgres import HINT, Postgres, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip(HINT)
    pytest.importorskip("psycopg")
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is to be made: a new file, or a new database."""
    if request.param == "sqlite":
        return str(tmp_path / "records.db")
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def keys(tmp_path: Path) -> FolderKeys:
    return FolderKeys(tmp_path / "keys")


@pytest.fixture
def record() -> Callable[..., CallRecord]:
    """Makes a record; what is not given is as plain as can be."""

    def made(said: str = "hello", **given: Any) -> CallRecord:
        plain = {
            "id": new_id(),
            "time": datetime.now(UTC),
            "form": "openai.chat",
            "source": "gateway",
            "model": "gpt-4o",
            "request": {"messages": [{"role": "user", "content": said}]},
            "response": {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
        }
        return CallRecord(**(plain | given))

    return made
