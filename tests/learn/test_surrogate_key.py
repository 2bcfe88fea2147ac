"""Surrogates follow from a store's keys: the same in every process, whatever is rotated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hetagent import Answer, Orchestrator, Recorder, Scripted, skill
from hetagent.learn.keys import FolderKeys, Key
from hetagent.learn.redact import Redactor
from hetagent.learn.store import Reader, Store
from hetagent.learn.store.rotation import KeyRing
from tests.support.memory import MemoryStore


@skill
def greeting(message: str) -> str:
    """Greet the guest."""


def recorded(where: Path, text: str, *, trace: str) -> str:
    """What is kept of a message, by a recorder of its own as each process has one."""
    slm = Scripted(Answer("Hello."), name="tiny")
    with Recorder(str(where)) as recorder, recorder.marked(trace=trace):
        Orchestrator(slm, record=recorder).run(greeting, text)
        assert recorder.flush().lost == 0
    with Reader(where) as reader:
        return list(reader.records())[-1].request["text"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("HETAGENT_ORIGINS_KEY", raising=False)
    monkeypatch.delenv("HETAGENT_RECORDS_KEY", raising=False)
    return tmp_path / "calls.db"


def test_the_same_trace_has_the_same_surrogates_after_a_restart_and_a_rotation(place):
    pytest.importorskip("presidio_analyzer")
    said = "I am Maria Keller, maria.keller@web.de."
    first = recorded(place, said, trace="run-1")
    assert "Maria" not in first
    assert "web.de" not in first
    assert recorded(place, said, trace="run-1") == first
    with KeyRing(place) as ring:
        ring.rotate()
    assert recorded(place, said, trace="run-1") == first
    assert recorded(place, said, trace="run-2") != first


def test_another_store_has_other_surrogates(tmp_path):
    keys = FolderKeys(tmp_path / "keys")
    with Store(tmp_path / "a.db", keys=keys) as one, Store(tmp_path / "b.db", keys=keys) as other:
        assert one.surrogate_key != other.surrogate_key


def test_the_key_is_that_of_origins_and_gives_it_not_away(tmp_path):
    keys = FolderKeys(tmp_path / "keys")
    with Store(tmp_path / "a.db", keys=keys) as store:
        key = store.surrogate_key
    (file,) = (tmp_path / "keys").glob("*.origins.key")
    origins = Key.from_text(file.read_text().strip())
    assert key == origins.derived("surrogates")
    assert key not in (origins.secret, origins.derived("something else"))
    assert len(key) == 32


def test_a_key_of_ones_own_goes_before_that_of_the_store(tmp_path):
    own = os.urandom(32)
    with Store(tmp_path / "a.db", keys=FolderKeys(tmp_path / "keys")) as store:
        kept = Redactor(key=own, presidio=False).redact("I am Maria Keller.", scope="t")
        by_store = Redactor(key=store.surrogate_key, presidio=False)
        assert by_store.redact("I am Maria Keller.", scope="t") != kept


def test_a_store_of_another_kind_needs_no_key():
    pytest.importorskip("presidio_analyzer")
    store = MemoryStore()
    with Recorder(store) as recorder:
        slm = Scripted(Answer("Hello."), name="tiny")
        Orchestrator(slm, record=recorder).run(greeting, "I am Maria Keller.")
    (record,) = store.kept
    assert "Maria" not in record.to_json()
