"""Event loops on threads of their own, for code that must not depend on a caller's loop."""

from __future__ import annotations

import asyncio
import os
import threading

__all__ = ["LoopThread"]


class LoopThread:
    """An event loop that runs on a daemon thread, started at its first use.

    A forked child has the parent's loop but not the thread that runs it, so it starts another.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop

    @property
    def thread(self) -> threading.Thread | None:
        """The thread it runs on; ``None`` before its first use."""
        return self._thread

    def _forget(self) -> None:
        self._starting = threading.Lock()
        self._loop = self._thread = None
