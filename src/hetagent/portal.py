"""Synchronous calls into the one asynchronous code path.

A background thread runs an event loop; a synchronous call hands it a coroutine and waits. So `run`
also works where a loop is running already (notebooks), and Ctrl-C cancels what was begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from hetagent.errors import SkillError
from hetagent.loops import LoopThread

__all__ = ["call"]

T = TypeVar("T")

# How long a cancelled call may take to stop: one step of a large model on a slow CPU.
_STOP_SECONDS = 30.0

_background = LoopThread("hetagent-portal")


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the background loop.

    Raises:
        SkillError: Called from code that runs in the background loop itself.
        KeyboardInterrupt: Ctrl-C was pressed; the coroutine was cancelled first.
    """
    if threading.current_thread() is _background.thread:
        coroutine.close()
        raise SkillError(
            "A synchronous call was made from within an asynchronous one.",
            hint="Use `await agent.arun(...)` there.",
        )
    loop = _background.loop
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
