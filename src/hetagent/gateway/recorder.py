"""From what went through the gateway to records, in a thread of its own, off the way of calls."""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from hetagent.gateway.calls import Call
from hetagent.gateway.headers import Headers
from hetagent.gateway.limits import Limits
from hetagent.gateway.recording import make_record
from hetagent.gateway.upstream import Upstream
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.record import CallError, CallRecord

__all__ = ["Recorded", "Recorder", "Recording"]

_log = logging.getLogger("hetagent")

_MOST_WAITING = 10_000
_END_MARKS = (b"data: [DONE]", b"data:[DONE]", b"event: message_stop", b'"message_stop"')
_TAIL = 256


@dataclass(slots=True)
class Recording:
    """What went through for one call, as it goes.

    Attributes:
        call: What was asked.
        upstream: Who was.
        room: Bytes of the answer that may be kept.
        status: HTTP status of the answer; ``None`` while there is none.
        headers: Of the answer.
        pieces: Of the answer, each with the seconds since the call came.
        size: Of the answer, in bytes.
        tail: Its last bytes.
        complete: Whether the client got all of it.
        error: Why there is no answer, or only some of it.
        seconds: Until the end.
        ended: Whether that is known.
    """

    call: Call
    upstream: Upstream
    room: int
    status: int | None = None
    headers: Headers = ()
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    size: int = 0
    tail: bytes = b""
    complete: bool = False
    error: CallError | None = None
    seconds: float = 0.0
    ended: bool = False

    def begin(self, status: int, headers: Headers) -> None:
        """Note the head of the answer."""
        self.status, self.headers = status, headers

    def add(self, piece: bytes) -> None:
        """Note a piece of the answer."""
        self.size += len(piece)
        self.tail = (self.tail + piece)[-_TAIL:]
        if self.size <= self.room:
            self.pieces.append((time.perf_counter() - self.call.began, piece))
        else:
            self.pieces.clear()

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


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the calls that were to be recorded.

    Attributes:
        written: Records in the store.
        lost: Calls without a record.
        waiting: Records that are not written yet.
        last_error: Why the last one was lost.
    """

    written: int
    lost: int
    waiting: int
    last_error: str | None


class Recorder:
    """Makes records of calls and hands them to a pipeline; never waits, and never fails a call.

    Args:
        pipeline: Where records go; ``None`` records nothing.
        limits: ``record_bytes`` bounds what waits.
    """

    def __init__(self, pipeline: Pipeline | None, *, limits: Limits) -> None:
        self._pipeline = pipeline
        self._room = limits.record_bytes
        self._queue: queue.Queue[Recording | None] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._bytes = 0
        self._lost = 0
        self._last_error: str | None = None
        self._thread: threading.Thread | None = None

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self._pipeline is not None

    @property
    def recorded(self) -> Recorded:
        """What became of the calls so far."""
        with self._lock:
            lost, error, waiting = self._lost, self._last_error, self._queue.qsize()
        if self._pipeline is None:
            return Recorded(0, lost, waiting, error)
        kept = self._pipeline.kept
        return Recorded(
            kept.written, kept.lost + lost, kept.waiting + waiting, kept.last_error or error
        )

    def start(self) -> None:
        """Start the thread."""
        if self.on:
            self._thread = threading.Thread(
                target=self._run, name="hetagent-gateway-records", daemon=True
            )
            self._thread.start()

    def close(self, *, timeout: float | None = None) -> None:
        """Make records of all that waits and hand them over, then write them."""
        end = None if timeout is None else time.monotonic() + timeout
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout)
        if self._pipeline is not None:
            self._pipeline.close(timeout=None if end is None else max(0, end - time.monotonic()))

    def submit(self, recording: Recording) -> None:
        """Take what went through for a call; returns at once."""
        if not self.on:
            return
        size = recording.size + len(recording.call.body)
        with self._lock:
            fits = self._bytes + size <= self._room
            self._bytes += size if fits else 0
        if not fits:
            self._lose("more waits to be recorded than there is room for")
            return
        try:
            self._queue.put_nowait(recording)
        except queue.Full:
            self._release(size)
            self._lose("too many calls wait to be recorded")

    def _run(self) -> None:
        while (recording := self._queue.get()) is not None:
            size = recording.size + len(recording.call.body)
            try:
                self._hand_over(make_record(recording), size)
            except Exception as error:  # whatever came through, the next call is recorded
                self._release(size)
                self._lose(f"{type(error).__name__}: {error}")

    def _hand_over(self, record: CallRecord, size: int) -> None:
        assert self._pipeline is not None
        done = self._pipeline.submit(record)

        def release(_: Future[None]) -> None:
            self._release(size)

        done.add_done_callback(release)

    def _release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def _lose(self, why: str) -> None:
        with self._lock:
            first = self._lost == 0
            self._lost += 1
            self._last_error = why
        if first:
            _log.warning("A call was not recorded: %s. Calls go on; losses are counted.", why)
