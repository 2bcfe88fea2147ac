"""The thread and event loop that LiteLLM is imported on and runs on.

LiteLLM's connection pools, caches and logging tasks belong to one event loop each. On a loop that
lives as long as the process they keep connections open between two ``asyncio.run``, and leave
nothing unclosed behind when a caller's loop ends. Its import takes seconds; on this thread it
blocks nobody else's loop.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading

__all__ = ["background_loop"]

_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has the loop, not its thread
_starting = threading.Lock()
_SECONDS_TO_STOP = 2.0
_TURNS_TO_CLOSE = 5  # a closed transport lets go of its socket only in a later turn of the loop


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop; it is started at the first call and stopped when the process ends."""
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="hetagent-litellm", daemon=True)
            thread.start()
            atexit.register(_stop, loop, thread, os.getpid())
    return loop


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, process: int) -> None:
    if process != os.getpid():
        return
    asyncio.run_coroutine_threadsafe(_close_all(), loop).result(_SECONDS_TO_STOP)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_SECONDS_TO_STOP)
    loop.close()


async def _close_all() -> None:
    """Cancel what still runs and close the connections."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    litellm = sys.modules.get("litellm")
    if litellm is not None:
        await litellm.close_litellm_async_clients()
    for _ in range(_TURNS_TO_CLOSE):
        await asyncio.sleep(0)
