"""The log of switches: one line each, only ever appended, and each sealed by the one after it.

A line holds a checksum of itself and that of the line before it, so that a log which was edited is
recognised. Lines cut off its end are not: what the end was, nothing outside of it says.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hetagent.errors import RegistryError
from hetagent.fingerprint import digest
from hetagent.registry import disk

__all__ = ["Change", "Event", "Log", "Mode", "Read", "Version"]

FORMAT = 1

Mode = Literal["live", "canary", "shadow", "off"]
Version = tuple[int, int, int]

_NO_VERSION: Version = (0, 0, 0)
_SECONDS_TO_WAIT = 30.0
_SECONDS_BETWEEN_TRIES = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is switched.

    Attributes:
        skill: Name of the skill.
        mode: What its binding does from now on: serve (``"live"``), serve a share of the calls
            beside the live one (``"canary"``), answer without being heard (``"shadow"``), or
            nothing (``"off"``).
        binding: Its id; ``None`` for off.
        artifact: Hash of the binding's file; ``None`` for off.
        share: Of the calls that a canary serves or a shadow answers, in (0, 1].
        why: The reason, in words.
        undo: Whether it takes an earlier event back.
    """

    skill: str
    mode: Mode
    binding: str | None = None
    artifact: str | None = None
    share: float = 1.0
    why: str = ""
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Change):
    """A line of the log.

    Attributes:
        n: Its number, from 1.
        time: When, in UTC, ISO 8601.
        before: Checksum of the line before it; empty for the first.
    """

    n: int
    time: str
    before: str

    @property
    def checksum(self) -> str:
        """SHA-256 of all else that its line says."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a log.

    Attributes:
        version: Of the file, before it was read.
        events: All there are.
        end: Where the last whole line ends, in bytes.
        last: That line.
    """

    version: Version = _NO_VERSION
    events: tuple[Event, ...] = ()
    end: int = 0
    last: bytes = b""


class Log:
    """A log that many processes append to and read; threads may share one object.

    Args:
        path: Its file; made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Replaced as a whole, never changed: readers need no lock, and none is held over a fork.
        self._read = Read()

    def version(self) -> Version:
        """What changes whenever the log does; costs one look at the file's metadata.

        Raises:
            RegistryError: The folder cannot be read.
        """
        try:
            return _version(os.stat(self._path))
        except FileNotFoundError:
            return _NO_VERSION
        except OSError as error:
            with disk.told(f"The log {self._path} cannot be read"):
                raise error

    def read(self) -> Read:
        """All events; only what was appended since the last time is read.

        A last line without an end is of a writer that is at it, or was killed; it is left out.

        Raises:
            RegistryError: It cannot be read, or was edited.
        """
        known = self._read
        return known if self.version() == known.version else self._read_on(known)

    def append(self, decide: Callable[[tuple[Event, ...]], Change]) -> Event:
        """Append an event, durably.

        Args:
            decide: Given all events so far, while no other process can append, what to switch.

        Raises:
            RegistryError: The log cannot be written, or was edited; ``retryable`` where another
                process holds it, or there is no room. Nothing is left of the attempt.
        """
        with disk.told(f"The log {self._path} cannot be written"):
            disk.make_folder(self._path.parent)
            with self._locked():
                read = self._read_on(self._read)
                change = decide(read.events)
                event = Event(
                    **asdict(change),
                    n=len(read.events) + 1,
                    time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                    before=read.events[-1].checksum if read.events else "",
                )
                self._write(_line(event), at=read.end)
        return event

    def _read_on(self, before: Read) -> Read:
        """What was read before, and what was appended since; all, where that is no longer so."""
        with disk.told(f"The log {self._path} cannot be read"):
            try:
                file = self._path.open("rb")
            except FileNotFoundError:
                self._read = fresh = Read()
                return fresh
            with file:
                version = _version(os.fstat(file.fileno()))
                # Its last line, once more, tells whether what was read before still stands.
                file.seek(before.end - len(before.last))
                tail = file.read()
                if version[0] != before.version[0] or not tail.startswith(before.last):
                    before = Read()
                    file.seek(0)
                    tail = file.read()
        # Other threads may put theirs in the same place: what is returned is what was read here.
        self._read = fresh = self._with(before, tail[len(before.last) :], version)
        return fresh

    def _write(self, line: bytes, *, at: int) -> None:
        """Write a line in the place of what an interrupted writer left there."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                os.ftruncate(file, at)
                os.lseek(file, at, os.SEEK_SET)
                if os.write(file, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(file, at)
                raise
        finally:
            os.close(file)
        if at == 0:
            disk.sync_folder(self._path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the one right to append; the system takes it back from a process that is killed."""
        from filelock import FileLock, Timeout

        lock = FileLock(self._path.with_name(f".{self._path.name}.lock"), mode=0o600)
        try:
            lock.acquire(timeout=_SECONDS_TO_WAIT, poll_interval=_SECONDS_BETWEEN_TRIES)
        except Timeout as error:
            held = RegistryError(
                f"Another process has held the log {self._path} for {_SECONDS_TO_WAIT:.0f} s.",
                hint="Try again, or look for a process that was stopped while it switched.",
            )
            held.retryable = True
            raise held from error
        try:
            yield
        finally:
            lock.release()

    def _with(self, before: Read, appended: bytes, version: Version) -> Read:
        """What was read before, and whole lines that came after it."""
        events, last, end = list(before.events), before.last, before.end
        for line in io.BytesIO(appended):
            if not line.endswith(b"\n"):
                break
            seal = events[-1].checksum if events else ""
            events.append(self._event(line, number=len(events) + 1, before=seal))
            last, end = line, end + len(line)
        return Read(version, tuple(events), end, last)

    def _event(self, line: bytes, *, number: int, before: str) -> Event:
        where = f"Line {number} of the log {self._path}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _edited(f"{where} is not JSON") from error
        if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
            raise RegistryError(
                f"{where} is of format {data['format']!r}, and this version reads {FORMAT}.",
                hint="Update hetagent.",
            )
        if not isinstance(data, dict) or set(data) != _NAMES:
            raise _edited(f"{where} is no event")
        known = {name: data[name] for name in _FIELDS}
        event = Event(**known)
        # Not a byte may differ from what was written.
        if _line(event) != line or data["n"] != number:
            raise _edited(f"{where} was edited")
        if event.before != before:
            raise _edited(f"{where} does not follow from the line before it, which was edited")
        return event


def _line(event: Event) -> bytes:
    return json.dumps({**event.to_dict(), "checksum": event.checksum}).encode() + b"\n"


_FIELDS = tuple(one.name for one in fields(Event))
_NAMES = {"format", "checksum", *_FIELDS}


def _version(facts: os.stat_result) -> Version:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _edited(what: str) -> RegistryError:
    return RegistryError(
        f"{what}.",
        hint="Bring the log back from a copy, or remove that line and all after it: the skills "
        "are then switched as the lines before say.",
    )
