"""From a call that was made to a record that is kept: redacted, then written, by one thread.

Whoever makes a call hands the record over and goes on at once. One thread redacts and writes what
has come, several records at a time. What cannot be kept, because the store is locked or full or too
much comes at once, is counted, and the call it was about is never touched.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from hetagent.errors import StoreError
from hetagent.learn.record import CallRecord
from hetagent.raised import raised

__all__ = ["Kept", "Made", "Pipeline", "RecordStore", "Redacts"]

_log = logging.getLogger("hetagent")

Made = CallRecord | Callable[[], CallRecord]
"""A record, or what makes it."""

_AT_ONCE = 256
_WAIT_AT_EXIT = 10.0
_WAIT_AT_FORK = 1.0


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
        last_error: Why the last one was lost, without what it said.
    """

    written: int
    lost: int
    waiting: int
    last_error: str | None


class Pipeline:
    """Redacts and writes records in a thread of its own.

    A process that is forked goes on with an empty pipeline and a thread of its own; what waited
    then is written by the process it was handed over in.

    Args:
        store: Where they go.
        redact: What takes secrets out of them first.
        most_waiting: Records that may wait; the next one is lost.
    """

    def __init__(self, store: RecordStore, *, redact: Redacts, most_waiting: int = 10_000) -> None:
        self._store = store
        self._redact = redact
        self._most_waiting = most_waiting
        self._closed = False
        # Held for as long as redactor or store are used, so that no fork copies them at work.
        self._at_work = threading.Lock()
        self._renew()
        _pipelines.add(self)

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
            be ignored: what is lost is counted, and the first time told to the log. It cannot be
            cancelled.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        with self._changed:
            if self._closed:
                reason = "recording has ended"
            elif len(self._queue) >= self._most_waiting:
                reason = "too many records wait"
            else:
                self._queue.append((record, done))
                self._start()
                self._changed.notify()
                return done
        self._lose([done], RuntimeError(reason), why=reason)
        return done

    @property
    def kept(self) -> Kept:
        """What became of the records so far."""
        with self._changed:
            waiting = len(self._queue) + self._in_hand
            return Kept(self._written, self._lost, waiting, self._last_error)

    def close(self, *, timeout: float | None = None) -> None:
        """Write what waits, then end; at most ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        atexit.unregister(self._at_exit)
        if thread is not None:
            thread.join(timeout)

    def _renew(self) -> None:
        """Begin anew, with nothing waiting."""
        self._changed = threading.Condition()
        self._queue: deque[tuple[Made, Future[None]]] = deque()
        self._in_hand = self._written = self._lost = 0
        self._last_error: str | None = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="hetagent-records", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)
        if multiprocessing.parent_process() is not None:
            # Processes of multiprocessing end without what atexit registered.
            multiprocessing.util.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        self.close(timeout=_WAIT_AT_EXIT)

    def _run(self) -> None:
        while some := self._take():
            self._write(some)

    def _take(self) -> list[tuple[Made, Future[None]]]:
        """What waits, as soon as anything does; nothing at the end."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            some = [self._queue.popleft() for _ in range(min(len(self._queue), _AT_ONCE))]
            self._in_hand = len(some)
            return some

    def _write(self, pairs: Iterable[tuple[Made, Future[None]]]) -> None:
        clean: list[tuple[CallRecord, Future[None]]] = []
        for record, done in pairs:
            try:
                with self._at_work:
                    made = record if isinstance(record, CallRecord) else record()
                    clean.append((self._redact(made), done))
            except Exception as error:  # never written as it is
                self._lose([done], error, why=raised(error), in_hand=1)
        if not clean:
            return
        try:
            with self._at_work:
                self._store.append([record for record, _ in clean])
        except Exception as error:
            self._lose([done for _, done in clean], error, why=_said(error), in_hand=len(clean))
            return
        with self._changed:
            self._written += len(clean)
            self._in_hand -= len(clean)
        for _, done in clean:
            done.set_result(None)

    def _lose(
        self, futures: Sequence[Future[None]], error: Exception, *, why: str, in_hand: int = 0
    ) -> None:
        with self._changed:
            first = self._lost == 0
            self._lost += len(futures)
            self._in_hand -= in_hand
            self._last_error = why
        for done in futures:
            done.set_exception(error)
        if first:
            _log.warning(
                "A call was not recorded: %s. Calls go on; what else is not recorded is counted.",
                self._last_error,
            )

    def _before_fork(self) -> bool:
        # Not for ever: a store that is locked must not keep a program from forking.
        return self._at_work.acquire(timeout=_WAIT_AT_FORK)

    def _after_fork(self, *, child: bool, held: bool) -> None:
        if child:
            self._at_work = threading.Lock()
            self._renew()
        elif held:
            self._at_work.release()


def _said(error: Exception) -> str:
    """Why a store kept nothing. What stores and disks say quotes no record; others might."""
    known = isinstance(error, StoreError | OSError)
    return f"{type(error).__name__}: {error}" if known else raised(error)


_pipelines: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_forking = threading.local()  # two threads may fork at once


def _before_fork() -> None:
    _forking.held = [(pipeline, pipeline._before_fork()) for pipeline in list(_pipelines)]


def _after_fork(*, child: bool) -> None:
    for pipeline, held in _forking.__dict__.pop("held", ()):
        pipeline._after_fork(child=child, held=held)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )
