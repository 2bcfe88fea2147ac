"""Synchronous calls into the one asynchronous code path.

A background thread runs an event loop; a synchronous call hands it a coroutine and waits. So `run`
also works where a loop is running already (notebooks), and Ctrl-C cancels what was begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from hetagent.errors import SkillError

__all__ = ["call"]

T = TypeVar("T")

# How long a cancelled call may take to stop: one step of a large model on a slow CPU.
_STOP_SECONDS = 30.0

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the background loop.

    Raises:
        SkillError: Called from code that runs in the background loop itself.
        KeyboardInterrupt: Ctrl-C was pressed; the coroutine was cancelled first.
    """
    loop = _running_loop()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise SkillError(
            "A synchronous call was made from within an asynchronous one.",
            hint="Use `await agent.arun(...)` there.",
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        _stop(future, loop)
        raise


def _stop(future: Future[T], loop: asyncio.AbstractEventLoop) -> None:
    """Cancel, and give what was begun time to end, so that nothing is left half done."""
    future.cancel()
    drained = asyncio.run_coroutine_threadsafe(_drained(), loop)
    with contextlib.suppress(TimeoutError):
        drained.result(_STOP_SECONDS)


async def _drained() -> None:
    """Let the loop go around, so that cancellations reach their tasks."""
    for _ in range(10):
        await asyncio.sleep(0)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread  # noqa: PLW0603 - one loop for the process, by design
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(
                target=_loop.run_forever, name="hetagent-portal", daemon=True
            )
            _thread.start()
        return _loop


def _forget() -> None:
    """In a forked child the thread is gone; the next call starts another."""
    global _loop, _thread, _lock
    _loop, _thread, _lock = None, None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
