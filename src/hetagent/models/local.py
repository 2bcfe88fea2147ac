"""What models that run on this machine share: one worker thread that owns the weights."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from hetagent.errors import ModelError
from hetagent.models.base import Completion, Request

if TYPE_CHECKING:
    from hetagent.engine.decode import Decoder

__all__ = ["LocalModel"]


class LocalModel(ABC):
    """A model whose weights are in this process.

    The weights are loaded at the first call, or by `load`, and freed by `close` or when the object
    is no longer used. Requests queue for the one thread that owns them. A cancelled request stops
    before its next decoding step, or leaves the queue.

    Args:
        name: A short name for tables, traces and messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hetagent-model")
        self._decoder: Decoder | None = None
        self._closed = False
        self._process: int | None = None
        # Outlives the object, so that its finalizer can free what was loaded.
        self._to_free: list[Callable[[], None]] = []
        weakref.finalize(self, _free, self._to_free).atexit = False

    @property
    def name(self) -> str:
        """A short name for tables, traces and messages."""
        return self._name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> Self:
        """Load the weights now instead of at the first call.

        Raises:
            ModelError: They cannot be loaded; the message says why.
        """
        self._refuse_closed()
        self._worker.submit(self._loaded).result()
        return self

    def close(self) -> None:
        """Free the weights, after the requests under way; later calls fail."""
        if not self._closed:
            self._closed = True
            self._worker.submit(self._unload).result()
            self._worker.shutdown()

    async def complete(self, request: Request) -> Completion:
        """Answer a request; see `hetagent.models.base.Model.complete`."""
        self._refuse_closed()
        cancelled = threading.Event()
        asked = time.perf_counter()

        def work() -> Completion:
            began = time.perf_counter()
            decoder = self._loaded()
            ready = time.perf_counter()
            completion = decoder.complete(request, cancelled=cancelled)
            waited = {"queue": began - asked, "load": ready - began}
            return replace(completion, seconds={**waited, **completion.seconds})

        future = asyncio.get_running_loop().run_in_executor(self._worker, work)
        try:
            return await future
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @abstractmethod
    def _open(self) -> tuple[Decoder, list[Callable[[], None]]]:
        """Load the weights: what decodes with them, and what frees them, in order."""

    def _loaded(self) -> Decoder:
        if self._decoder is None:
            self._process = os.getpid()
            self._decoder, to_free = self._open()
            self._to_free += to_free
        return self._decoder

    def _unload(self) -> None:
        self._decoder = None
        _free(self._to_free)

    def _refuse_closed(self) -> None:
        again = f"Make a new {type(self).__name__}."
        if self._closed:
            raise ModelError(f"{self._name} is closed.", hint=again)
        if self._process not in (None, os.getpid()):
            # Neither the worker thread nor the threads of the library are in a forked child.
            raise ModelError(
                f"{self._name} was loaded before this process was forked.",
                hint=f"{again[:-1]} in the child, or start children with spawn.",
            )


def _free(parts: list[Callable[[], None]]) -> None:
    while parts:
        parts.pop(0)()
