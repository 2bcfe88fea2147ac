"""Audits in the background: a bounded number at once, on a loop of their own, none left at exit."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from functools import cache
from typing import Any, TypeAlias, TypeVar

from hetagent.errors import SkillError
from hetagent.loops import LoopThread

__all__ = ["AuditQueue", "audit_loop", "in_thread"]

T = TypeVar("T")
Job: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_WAITING = 1000
"""Audits that may wait for one under way to end; more are not made."""
_SECONDS_TO_STOP = 2.0
_POLL_SECONDS = 0.01

_background = LoopThread("hetagent-audits")


def audit_loop() -> asyncio.AbstractEventLoop:
    """The loop that audits run on, started at the first call."""
    loop = _background.loop
    _stop_at_exit(os.getpid())
    return loop


class AuditQueue:
    """Runs jobs in the background; thread-safe.

    A forked child begins with none.

    Args:
        limit: How many run at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._renew()

    def put(self, job: Job) -> bool:
        """Run a job as soon as there is room, with the caller's context variables.

        It must not raise.

        Returns:
            Whether it will be run; not where too many are waiting.
        """
        if os.getpid() != self._process:
            self._renew()
        with self._changed:
            if self._count >= self._limit + _WAITING:
                return False
            self._count += 1
        context = contextvars.copy_context()
        try:
            audit_loop().call_soon_threadsafe(self._start, job, context)
        except RuntimeError:  # the process is ending, and the loop was closed
            self._ended()
            return False
        return True

    @property
    def count(self) -> int:
        """Jobs that are waiting or running."""
        return self._count if os.getpid() == self._process else 0

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until none is left; whether that was so in time.

        Raises:
            SkillError: Called from one of the jobs.
        """
        if threading.current_thread() is _background.thread:
            raise SkillError(
                "Audits cannot be waited for from within one.", hint="Call flush() elsewhere."
            )
        with self._changed:
            return self._changed.wait_for(lambda: not self.count, timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Wait until none is left, from asynchronous code."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.count:
            if end is not None and time.monotonic() >= end:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def cancel(self) -> None:
        """Give up all that are waiting or running; `flush` waits until they are gone."""
        if self.count:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and none is left
                audit_loop().call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._count = 0
        self._slots = asyncio.Semaphore(self._limit)
        self._tasks: set[asyncio.Task[None]] = set()

    def _start(self, job: Job, context: contextvars.Context) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _run(self, job: Job) -> None:
        async with self._slots:
            await job()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended()

    def _ended(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function on a thread of its own, which the process does not wait for at its end.

    The threads of `asyncio.to_thread` are waited for, so that a function that hangs would keep the
    process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work() -> None:
        result, error = None, None
        try:
            result = function(*args)
        except Exception as caught:
            error = caught
        except BaseException as caught:  # SystemExit must not end only this thread unseen
            error = RuntimeError(f"{type(caught).__name__}: {caught}")
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="hetagent-auditor", daemon=True).start()
    return await future


@cache
def _stop_at_exit(process: int) -> None:
    atexit.register(_stop, process)


def _stop(process: int) -> None:
    thread = _background.thread
    if process != os.getpid() or thread is None:
        return
    loop = _background.loop
    wait([asyncio.run_coroutine_threadsafe(_cancel_all(), loop)], _SECONDS_TO_STOP)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_SECONDS_TO_STOP)
    if not thread.is_alive():
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
