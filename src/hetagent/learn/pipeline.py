"""From a call that was made to a record that is kept: redacted, then written, by one thread.

Whoever makes a call hands the record over and goes on at once. One thread redacts and writes what
has come, several records at a time. What cannot be kept, because the store is locked or full or too
much comes at once, is counted, and the call it was about is never touched.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from hetagent.learn.record import CallRecord

__all__ = ["Kept", "Made", "Pipeline", "RecordStore", "Redacts"]

_log = logging.getLogger("hetagent")

Made = CallRecord | Callable[[], CallRecord]
"""A record, or what makes it."""

_AT_ONCE = 256
_WAIT_AT_EXIT = 10.0


@runtime_checkable
class RecordStore(Protocol):
    """Keeps records. One thread writes at a time; others may read."""

    def append(self, records: Sequence[CallRecord]) -> None:
        """Keep all of them, durably, or none.

        Raises:
            hetagent.errors.StoreError: They could not be kept.
        """


class Redacts(Protocol):
    """Takes out of a record what must not be written."""

    def __call__(self, record: CallRecord) -> CallRecord:
        """The same record without it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the records that were handed over.

    Attributes:
        written: In the store.
        lost: Not kept: too many at once, not to be redacted, or refused by the store.
        waiting: Not written yet.
        last_error: Why the last one was lost.
    """

    written: int
    lost: int
    waiting: int
    last_error: str | None


class Pipeline:
    """Redacts and writes records in a thread of its own.

    Args:
        store: Where they go.
        redact: What takes secrets out of them first.
        most_waiting: Records that may wait; the next one is lost.
    """

    def __init__(self, store: RecordStore, *, redact: Redacts, most_waiting: int = 10_000) -> None:
        self._store = store
        self._redact = redact
        self._queue: queue.Queue[tuple[Made, Future[None]] | None] = queue.Queue(most_waiting)
        self._lock = threading.Lock()
        self._written = self._lost = 0
        self._last_error: str | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, record: Made) -> Future[None]:
        """Hand a record over; returns at once.

        Args:
            record: It, or what makes it, which is then called in the pipeline's thread.

        Returns:
            Done when the record is durably in the store; it raises what lost it otherwise. It may
            be ignored: what is lost is counted, and the first time told to the log.
        """
        done: Future[None] = Future()
        self._start()
        try:
            if self._closed:
                raise RuntimeError("recording has ended")
            self._queue.put_nowait((record, done))
        except (queue.Full, RuntimeError) as error:
            reason = "too many records wait" if isinstance(error, queue.Full) else str(error)
            self._lose([done], RuntimeError(reason))
        return done

    @property
    def kept(self) -> Kept:
        """What became of the records so far."""
        with self._lock:
            return Kept(self._written, self._lost, self._queue.qsize(), self._last_error)

    def close(self, *, timeout: float | None = None) -> None:
        """Write what waits, then end; at most ``timeout`` seconds."""
        self._closed = True
        atexit.unregister(self._at_exit)
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="hetagent-records", daemon=True
                )
                self._thread.start()
                atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        self.close(timeout=_WAIT_AT_EXIT)

    def _run(self) -> None:
        while True:
            one = self._queue.get()
            some = [one]
            with contextlib.suppress(queue.Empty):
                while len(some) < _AT_ONCE:
                    some.append(self._queue.get_nowait())
            self._write([pair for pair in some if pair is not None])
            if None in some:
                return

    def _write(self, pairs: Iterable[tuple[Made, Future[None]]]) -> None:
        clean: list[tuple[CallRecord, Future[None]]] = []
        for record, done in pairs:
            try:
                made = record if isinstance(record, CallRecord) else record()
                clean.append((self._redact(made), done))
            except Exception as error:  # never written as it is
                self._lose([done], error)
        if not clean:
            return
        try:
            self._store.append([record for record, _ in clean])
        except Exception as error:
            self._lose([done for _, done in clean], error)
            return
        with self._lock:
            self._written += len(clean)
        for _, done in clean:
            done.set_result(None)

    def _lose(self, futures: Sequence[Future[None]], error: Exception) -> None:
        with self._lock:
            first = self._lost == 0
            self._lost += len(futures)
            self._last_error = f"{type(error).__name__}: {error}"
        for done in futures:
            done.set_exception(error)
        if first:
            _log.warning(
                "A call was not recorded: %s. Calls go on; what else is not recorded is counted.",
                self._last_error,
            )
