"""What models that run on this machine share: loading, closing, and waiting for an answer."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, Protocol, Self

from hetagent.errors import ModelError
from hetagent.models.base import Completion, Request, Token

__all__ = ["LocalModel", "Pending", "Watch"]

_log = logging.getLogger("hetagent")

Watch = Callable[[Token], None]

_Parts = list[Callable[[], None]]
"""What frees a model, in order."""


class Pending(Protocol):
    """An answer in the making.

    Attributes:
        future: The completion, or why there is none.
    """

    future: Future[Completion]

    def cancel(self) -> None:
        """Stop before the next step; from any thread."""


class LocalModel(ABC):
    """A model whose weights are in this process.

    The weights are loaded at the first call, or by `load`, and freed by `close` or when the object
    is no longer used. A cancelled request stops before its next decoding step, or leaves the queue.

    Args:
        name: A short name for tables, traces and messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hetagent-model")
        self._loaded = False
        self._closed = False
        self._process: int | None = None
        # Held while a request is prepared, so that nothing it needs is freed meanwhile.
        self._entry = threading.Lock()
        # Outlives the object, so that what was loaded can be freed after it.
        self._to_free: _Parts = []

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
        self._worker.submit(self._load_once).result()
        return self

    def close(self) -> None:
        """Free the weights, after the requests under way; later calls fail.

        In a forked child this frees nothing of what its parent loaded.
        """
        if self._is_inherited:
            self._closed = True
            return
        with self._entry:
            first, self._closed = not self._closed, True
        if first:
            self._worker.submit(_free, self._to_free).result()
            self._worker.shutdown()

    async def price(self, request: Request) -> float | None:
        """Nothing; see `hetagent.models.base.PricedModel`."""
        return 0.0

    async def complete(self, request: Request) -> Completion:
        """Answer a request; see `hetagent.models.base.Model.complete`."""
        asked = time.perf_counter()
        loading = await self._ready()
        pending = await self._submit(request, None)
        try:
            completion = await asyncio.wrap_future(pending.future)
        except asyncio.CancelledError:
            pending.cancel()
            raise
        return _timed(completion, asked=asked, loading=loading)

    async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
        """Answer a request token by token; see `hetagent.models.base.StreamingModel.stream`."""
        asked = time.perf_counter()
        loading = await self._ready()
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[Token | None] = asyncio.Queue()

        def watch(token: Token) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        pending = await self._submit(request, watch)
        answer = asyncio.wrap_future(pending.future)
        answer.add_done_callback(lambda _: tokens.put_nowait(None))
        try:
            while (token := await tokens.get()) is not None:
                yield token
            yield _timed(await answer, asked=asked, loading=loading)
        finally:
            pending.cancel()
            answer.cancel()

    @abstractmethod
    def _open(self) -> _Parts:
        """Load the weights; what frees them, in order."""

    @abstractmethod
    async def _submit(self, request: Request, watch: Watch | None) -> Pending:
        """Begin to answer a request; the weights are loaded."""

    async def _ready(self) -> float:
        """Make sure that the weights are loaded; the seconds that took."""
        self._refuse_closed()
        if self._loaded:
            return 0.0
        began = time.perf_counter()
        await asyncio.get_running_loop().run_in_executor(self._worker, self._load_once)
        return time.perf_counter() - began

    def _load_once(self) -> None:
        if not self._loaded:
            self._process = os.getpid()
            left = _closing_thread(self._process)
            self._to_free += self._open()
            weakref.finalize(self, left.put, self._to_free).atexit = False
            self._loaded = True

    @property
    def _is_inherited(self) -> bool:
        """Whether it was loaded by the parent of this process, whose threads are not in it."""
        return self._process not in (None, os.getpid())

    def _refuse_closed(self) -> None:
        again = f"Make a new {type(self).__name__}."
        if self._closed:
            raise ModelError(f"{self._name} is closed.", hint=again)
        if self._is_inherited:
            raise ModelError(
                f"{self._name} was loaded before this process was forked.",
                hint=f"{again[:-1]} in the child, or start children with spawn.",
            )


def _timed(completion: Completion, *, asked: float, loading: float) -> Completion:
    """The completion with the time since it was asked for, by stage."""
    stages: dict[str, Any] = dict(completion.seconds)
    # What is none of the other stages is waiting for one's turn.
    rest = time.perf_counter() - asked - loading - stages["prefill"] - stages["decode"]
    waited = {"queue": max(0.0, rest), "load": loading}
    return replace(completion, seconds={**stages, **waited})


def _free(parts: _Parts) -> None:
    while parts:
        parts.pop(0)()


@lru_cache(maxsize=1)
def _closing_thread(process: int) -> SimpleQueue[_Parts | None]:
    """Where finalizers leave what a thread of this process then frees.

    A finalizer runs at any allocation, on any thread and under any lock, also on a thread that
    freeing would wait for. Putting into a ``SimpleQueue`` takes no lock and waits for nobody.
    """
    del process  # part of the key alone: a forked child has none of its parent's threads
    left: SimpleQueue[_Parts | None] = SimpleQueue()
    thread = threading.Thread(
        target=_free_dropped, args=(left,), name="hetagent-closing", daemon=True
    )
    thread.start()
    # The process must not end while the library is half way through freeing something.
    atexit.register(_finish, left, thread)
    return left


def _free_dropped(left: SimpleQueue[_Parts | None]) -> None:
    while (parts := left.get()) is not None:
        try:
            _free(parts)
        except Exception:
            _log.exception("A model that is no longer used could not be freed")


def _finish(left: SimpleQueue[_Parts | None], thread: threading.Thread) -> None:
    left.put(None)
    thread.join()
