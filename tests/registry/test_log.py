"""The log: whole lines only, in one order, and an edited one is recognised."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import RegistryError
from hetagent.registry.log import Change, Event, Log
from tests.support.registry_work import Worker, append_many, append_without_room


def add(log: Log, why: str = "") -> Event:
    return log.append(lambda events: Change(skill="intent", mode="off", why=why))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "log.jsonl"


def test_events_come_back_in_order(path):
    log = Log(path)
    assert log.read().events == ()
    events = [add(log, why) for why in ("one", "zwei\n", "\ud800 \0 three")]
    assert [event.n for event in events] == [1, 2, 3]
    assert [event.before for event in events] == ["", events[0].checksum, events[1].checksum]
    assert Log(path).read().events == log.read().events == tuple(events)
    assert len(path.read_bytes().splitlines()) == 3
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_who_decides_sees_all_that_was_before(path):
    ours, theirs = Log(path), Log(path)
    add(ours)
    ours.read()
    add(theirs, "theirs")
    seen: list[tuple[Event, ...]] = []

    def decide(events: tuple[Event, ...]) -> Change:
        seen.append(events)
        return Change(skill="intent", mode="off")

    ours.append(decide)
    assert [event.why for event in seen[0]] == ["", "theirs"]


def test_a_decision_against_it_appends_nothing(path):
    log = Log(path)
    add(log)

    def refuse(events: tuple[Event, ...]) -> Change:
        raise RegistryError("No.")

    with pytest.raises(RegistryError, match="No"):
        log.append(refuse)
    assert add(log).n == 2


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> tuple[Path, bytes, tuple[Event, ...]]:
    """A log of three events, its content, and they."""
    path = tmp_path_factory.mktemp("three") / "log.jsonl"
    events = tuple(add(Log(path), str(number)) for number in range(3))
    return path, path.read_bytes(), events


@settings(max_examples=40)
@given(st.data())
def test_a_log_cut_anywhere_has_its_whole_lines_and_goes_on(three, data):
    path, whole, events = three
    path.write_bytes(whole)
    log = Log(path)
    assert log.read().events == events
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    left = events[: whole[:cut].count(b"\n")]
    assert log.read().events == Log(path).read().events == left
    following = add(Log(path), "after")
    assert log.read().events == Log(path).read().events == (*left, following)


@settings(max_examples=40)
@given(st.data())
def test_any_other_byte_is_recognised(three, data):
    path, whole, _ = three
    at = data.draw(st.integers(0, len(whole) - 2))  # without the last end of a line
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
    for attempt in (Log(path).read, lambda: add(Log(path))):
        with pytest.raises(RegistryError, match=r"Line \d of the log"):
            attempt()


def test_a_line_edited_with_its_checksum_is_recognised_by_the_next(path):
    log = Log(path)
    first, _ = add(log, "first"), add(log, "second")
    lines = path.read_bytes().splitlines(keepends=True)
    forged = Event(**{**{k: v for k, v in first.to_dict().items() if k != "format"}, "why": "x"})
    data = {**forged.to_dict(), "checksum": forged.checksum}
    path.write_bytes(json.dumps(data).encode() + b"\n" + lines[1])
    with pytest.raises(RegistryError, match=r"Line 2 .* does not follow from the line before it"):
        Log(path).read()
    path.write_bytes(lines[1])
    with pytest.raises(RegistryError, match="Line 1"):
        Log(path).read()


@pytest.mark.parametrize("line", [b"[]", b"{}", b"[" * 100_000, b"\xff", b"null", b""])
def test_a_line_that_is_no_event_is_named(path, line):
    log = Log(path)
    add(log)
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RegistryError, match="Line 2 of the log"):
        log.read()


def test_a_line_of_a_later_version_says_so(path):
    log = Log(path)
    event = add(log)
    with path.open("ab") as file:
        file.write(json.dumps({**event.to_dict(), "format": 2, "new": 1}).encode() + b"\n")
    with pytest.raises(RegistryError, match="format 2, and this version reads 1") as caught:
        log.read()
    assert caught.value.hint == "Update hetagent."


def test_a_log_that_was_replaced_or_shortened_is_read_anew(path, tmp_path):
    log, other = Log(path), Log(tmp_path / "other.jsonl")
    ours = [add(log, "a"), add(log, "b")]
    theirs = [add(other, why) for why in ("c", "d", "e")]
    assert log.read().events == tuple(ours)
    path.write_bytes((tmp_path / "other.jsonl").read_bytes())
    assert log.read().events == tuple(theirs)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert log.read().events == tuple(theirs[:1])
    path.unlink()
    assert log.read().events == ()


def test_the_version_changes_with_each_event_and_with_nothing_else(path):
    log, versions = Log(path), []
    for number in range(5):
        versions.append(log.version())
        assert log.version() == log.version()
        add(log, str(number))
    assert len(set(versions)) == 5


def test_only_what_was_appended_is_read(path):
    log, other = Log(path), Log(path)
    for _ in range(50):
        add(other, "x" * 1000)
    log.read()
    seen: list[int] = []
    opened = Path.open

    def watched(self, *arguments, **named):
        file = opened(self, *arguments, **named)
        return _Counted(file, seen) if self == path else file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", watched)
        for _ in range(100):
            log.read()
        assert seen == []
        add(other, "new")
        seen.clear()
        assert log.read().events[-1].why == "new"
    assert sum(seen) < 4000 < path.stat().st_size


class _Counted:
    """A file that notes how many bytes are read of it."""

    def __init__(self, file, seen):
        self._file, self._seen = file, seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def read(self, *sizes):
        data = self._file.read(*sizes)
        self._seen.append(len(data))
        return data


def test_eight_processes_append_at_once_and_none_is_lost(path):
    workers = [Worker(append_many, path, f"skill {number}", 12) for number in range(8)]
    numbers = [number for one in workers for number in one.ends()]
    assert sorted(numbers) == list(range(1, 97))
    events = Log(path).read().events
    assert [event.n for event in events] == list(range(1, 97))
    for number in range(8):
        assert sum(event.skill == f"skill {number}" for event in events) == 12


def test_threads_share_one_log(path):
    log, numbers = Log(path), []

    def work() -> None:
        for _ in range(10):
            numbers.append(add(log).n)
            log.read()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(numbers) == list(range(1, 61))
    assert len(log.read().events) == 60


def test_killed_while_it_appends_all_that_was_promised_is_there(path):
    log, there = Log(path), 0
    for wait in (0.0, 0.002, 0.005, 0.009, 0.014):
        worker = Worker(append_many, path, "intent", 100_000)
        first = worker.connection.recv()
        time.sleep(wait)
        promised = [first, *worker.ends(killed=True)]
        assert promised == list(range(there + 1, there + 1 + len(promised)))
        there = len(log.read().events)
        assert there - promised[-1] in (0, 1)  # the last may not have come to be told
    assert add(log, "after").n == there + 1 == len(Log(path).read().events)


def test_without_room_nothing_is_left_of_the_attempt(path):
    assert Worker(append_without_room, path).ends() == [(True, True, 1), 2]


def test_what_may_not_be_on_the_disk_is_taken_back(path, monkeypatch):
    log = Log(path)
    add(log, "kept")
    whole = path.read_bytes()

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(RegistryError, match="Input/output error"):
            add(log, "lost")
    assert path.read_bytes() == whole
    assert add(log, "next").n == 2


def test_a_log_that_is_held_says_so(path, monkeypatch):
    from filelock import FileLock

    log = Log(path)
    add(log)
    monkeypatch.setattr("hetagent.registry.log._SECONDS_TO_WAIT", 0.05)
    held = FileLock(path.with_name(f".{path.name}.lock"))
    with held, pytest.raises(RegistryError, match="Another process has held") as caught:
        add(log)
    assert caught.value.retryable
    assert add(log).n == 2
