"""The tap: what goes through the gateway for a call, and its way to a record beside the call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from hetagent.gateway.calls import Answer, Call, Served
from hetagent.gateway.headers import Headers
from hetagent.gateway.limits import Limits
from hetagent.gateway.recording import make_record
from hetagent.gateway.room import Room
from hetagent.gateway.upstream import Upstream
from hetagent.learn.pipeline import Kept, Pipeline
from hetagent.learn.record import CallError, Usage

__all__ = ["Recording", "Tap"]

_log = logging.getLogger("hetagent")

_END_MARKS = (b"data: [DONE]", b"data:[DONE]", b"event: message_stop", b'"message_stop"')
_TAIL = 256
_PIECE = 160  # bytes that a piece takes besides its own, as Python has it


@dataclass(slots=True)
class Recording:
    """What went through for one call, as it goes.

    Attributes:
        call: What was asked.
        upstream: Who was.
        room: For what is kept; ``None`` where nothing is.
        status: HTTP status of the answer; ``None`` while there is none.
        headers: Of the answer.
        pieces: Of the answer, each with the seconds since the call came.
        held: Bytes that it has of the room.
        lost: Whether there was not room enough.
        tail: Its last bytes.
        complete: Whether the client got all of it.
        error: Why there is no answer, or only some of it.
        seconds: Until the end.
        ended: Whether that is known.
        usage: The tokens, as the upstream knows them itself.
        served: Who answered, where the call is of a workload that was converted.
    """

    call: Call
    upstream: Upstream
    room: Room | None
    status: int | None = None
    headers: Headers = ()
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    held: int = 0
    lost: bool = False
    tail: bytes = b""
    complete: bool = False
    error: CallError | None = None
    seconds: float = 0.0
    ended: bool = False
    usage: Callable[[], Usage] = Usage
    served: Served | None = None

    def __post_init__(self) -> None:
        self._take(len(self.call.body))

    def begin(self, status: int, answer: Answer) -> None:
        """Note the head of the answer."""
        self.status, self.headers = status, answer.headers
        self.usage, self.served = answer.usage, answer.served

    def add(self, piece: bytes) -> None:
        """Note a piece of the answer."""
        self.tail = (self.tail + piece[-_TAIL:])[-_TAIL:]
        if self._take(len(piece) + _PIECE):
            self.pieces.append((time.perf_counter() - self.call.began, piece))

    def release(self) -> None:
        """Give back what it has of the room."""
        if self.room is not None:
            self.room.give(self.held)
        self.held = 0

    def _take(self, size: int) -> bool:
        if self.room is None or self.lost:
            return False
        if self.room.take(size):
            self.held += size
            return True
        self.lost = True
        self.pieces.clear()
        self.release()
        return False

    @property
    def has_end(self) -> bool:
        """Whether the mark that ends a stream came; many clients hang up as soon as they see it."""
        return any(mark in self.tail for mark in _END_MARKS)

    def end(self, *, complete: bool, error: CallError | None = None) -> None:
        """Note the end; the first word on it counts."""
        if not self.ended:
            self.ended = True
            self.seconds = time.perf_counter() - self.call.began
            self.complete, self.error = complete, error

    def stop(self) -> None:
        """Note that the gateway ended it, if nothing else did."""
        self.end(complete=False, error=CallError("Stopped", None, "The gateway was stopped."))


class Tap:
    """Hands calls to a pipeline, whose thread makes their records; never waits nor fails a call.

    Args:
        pipeline: Where records go; ``None`` records nothing.
        limits: ``record_bytes`` bounds what waits.
    """

    def __init__(self, pipeline: Pipeline | None, *, limits: Limits) -> None:
        self._pipeline = pipeline
        self._room = Room(limits.record_bytes)
        self._lock = threading.Lock()
        self._lost = 0
        self._last_error: str | None = None

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self._pipeline is not None

    @property
    def recorded(self) -> Kept:
        """What became of the calls so far."""
        with self._lock:
            lost, error = self._lost, self._last_error
        if self._pipeline is None:
            return Kept(0, lost, 0, error)
        kept = self._pipeline.kept
        return replace(kept, lost=kept.lost + lost, last_error=kept.last_error or error)

    def room_for(self, call: Call) -> Room | None:
        """Where a call's bytes are kept; ``None`` where it is not recorded."""
        return self._room if self._pipeline is not None and call.form is not None else None

    def close(self, *, timeout: float | None = None) -> None:
        """Write what waits, for at most ``timeout`` seconds, and end."""
        if self._pipeline is not None:
            self._pipeline.close(timeout=timeout)

    def submit(self, recording: Recording) -> None:
        """Take what went through for a call; returns at once."""
        if self._pipeline is None:
            return
        if recording.lost:
            self._lose()
            return

        def release(_: Future[None]) -> None:
            recording.release()

        self._pipeline.submit(lambda: make_record(recording)).add_done_callback(release)

    def _lose(self) -> None:
        why = "more waits to be recorded than there is room for"
        with self._lock:
            first = self._lost == 0
            self._lost += 1
            self._last_error = why
        if first:
            _log.warning("A call was not recorded: %s. Calls go on; losses are counted.", why)
