"""Artifacts are there whole, under the hash of their content, for their owner alone."""

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from hetagent.errors import RegistryError
from hetagent.registry.artifacts import Artifacts
from tests.support.registry_work import Worker, put_for_ever, put_the_same, put_without_room


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "registry")


def test_bytes_and_files_are_found_by_their_hash(artifacts, tmp_path):
    source = tmp_path / "adapter.gguf"
    source.write_bytes(b"GGUF and so on")
    name = artifacts.put(source)
    assert name == sha256(b"GGUF and so on") == artifacts.put(b"GGUF and so on")
    assert artifacts.path(name).read_bytes() == artifacts.read(name) == b"GGUF and so on"
    assert artifacts.has(name)
    assert list(artifacts) == [name]
    artifacts.verify(name)


def test_what_is_kept_does_not_change_with_its_source(artifacts, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"before")
    name = artifacts.put(source)
    with source.open("r+b") as file:
        file.write(b"after!")
    assert artifacts.read(name) == b"before"
    assert not artifacts.path(name).samefile(source)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_only_the_owner_can_read_what_is_kept(tmp_path):
    before = os.umask(0)
    try:
        Artifacts(tmp_path / "new" / "registry").put(b"a call")
    finally:
        os.umask(before)
    found = list((tmp_path / "new").rglob("*"))
    assert len(found) == 5
    for path in [tmp_path / "new", *found]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_what_is_not_there_is_said(artifacts, tmp_path):
    for name in (sha256(b"none"), "", "../../etc/passwd", "A" * 64):
        assert not artifacts.has(name)
        with pytest.raises(RegistryError, match="There is no artifact"):
            artifacts.path(name)
    with pytest.raises(RegistryError, match=r"nothing.*No such file"):
        artifacts.put(tmp_path / "nothing")
    with pytest.raises(RegistryError, match="cannot be kept"):
        artifacts.put(tmp_path)
    assert files(tmp_path) == []


def test_damage_is_recognised_and_mended_by_putting_it_again(artifacts):
    name = artifacts.put(b"right")
    artifacts.path(name).write_bytes(b"wrong")
    for look in (artifacts.verify, artifacts.read):
        with pytest.raises(RegistryError, match="changed or damaged"):
            look(name)
    assert artifacts.put(b"right") == name
    assert artifacts.read(name) == b"right"


def test_without_room_nothing_is_left_and_it_may_be_tried_again(artifacts, tmp_path):
    small = artifacts.put(b"small")
    source = tmp_path / "source"
    source.write_bytes(b"x" * 100_000)
    worker = Worker(put_without_room, tmp_path / "registry", source)
    assert worker.ends() == [(True, [small])] * 2
    assert len(files(tmp_path / "registry")) == 1


def test_leftovers_of_a_kill_go_a_day_later(artifacts, tmp_path):
    artifacts.put(b"first")
    old, new = (tmp_path / "registry" / "partial" / name for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    artifacts.put(b"second")
    assert (old.exists(), new.exists()) == (False, True)


def test_many_processes_put_the_same_at_once(artifacts, tmp_path):
    workers = [Worker(put_the_same, tmp_path / "registry") for _ in range(4)]
    expected = [sha256(bytes([number]) * 50_000) for number in range(10)]
    assert [one.ends() for one in workers] == [expected] * 4
    assert list(artifacts) == sorted(expected)
    assert len(files(tmp_path / "registry")) == 10


def test_killed_while_it_puts_only_whole_artifacts_are_there(artifacts, tmp_path):
    for wait in (0.0, 0.003, 0.007, 0.011, 0.017):
        worker = Worker(put_for_ever, tmp_path / "registry")
        promised = {worker.connection.recv()}
        time.sleep(wait)
        promised |= set(worker.ends(killed=True))
        assert promised <= set(artifacts)
    for name in artifacts:
        artifacts.verify(name)


def test_a_disk_that_fails_leaves_nothing(artifacts, tmp_path, monkeypatch):
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    artifacts.put(b"first")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(RegistryError, match="Input/output error") as caught:
        artifacts.put(b"second")
    assert not caught.value.retryable
    assert list(artifacts) == [sha256(b"first")]
    assert len(files(tmp_path)) == 1
