"""The thread and event loop that LiteLLM is imported on and runs on.

LiteLLM's connection pools, caches and logging tasks belong to one event loop each. On a loop that
lives as long as the process they keep connections open between two ``asyncio.run``, and leave
nothing unclosed behind when a caller's loop ends. Its import takes seconds; on this thread it
blocks nobody else's loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import os
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from functools import cache
from typing import Any

from hetagent.loops import LoopThread

__all__ = ["background_loop", "import_litellm"]

_background = LoopThread("hetagent-litellm")
_SECONDS_TO_STOP = 2.0
_TURNS_TO_SETTLE = 10  # what was cancelled or closed lets go only in later turns of the loop


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop, started at the first call."""
    return _background.loop


@cache
def import_litellm() -> Any:
    """Import LiteLLM, quiet and offline; takes seconds, so only on the background loop."""
    # Without these it fetches its price list and provider quirks when it is imported or used.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litellm

        # Its answers are pydantic models built at first use, with warnings of pydantic's.
        litellm.ModelResponse()
        # Newer releases import this at their first call, with warnings of pydantic's.
        with contextlib.suppress(ImportError):
            importlib.import_module("litellm.llms.github_copilot.per_user_auth")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # A first lazy attribute registers LiteLLM's own clean-up, which closes connections from a
    # thread that is not theirs. Ours comes after it, to run before it.
    hasattr(litellm, "no_such_attribute")
    _stop_at_exit(litellm.close_litellm_async_clients)
    return litellm


def _stop_at_exit(close: Callable[[], Awaitable[object]]) -> None:
    """Stop the loop when the process ends, before whatever was registered until now."""
    atexit.register(_stop, os.getpid(), close)


def _stop(process: int, close: Callable[[], Awaitable[object]]) -> None:
    loop, thread = _background.loop, _background.thread
    if process != os.getpid() or thread is None:
        return
    wait([asyncio.run_coroutine_threadsafe(_wind_up(close), loop)], _SECONDS_TO_STOP)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_SECONDS_TO_STOP)
    if not thread.is_alive():
        loop.close()


async def _wind_up(close: Callable[[], Awaitable[object]]) -> None:
    await _settle()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close()
    await _settle()


async def _settle() -> None:
    for _ in range(_TURNS_TO_SETTLE):
        await asyncio.sleep(0)
