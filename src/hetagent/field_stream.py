"""Fields as they become complete: an asynchronous iterator, and a plain one over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, Self, TypeAlias, TypeVar

from hetagent import portal
from hetagent.errors import SkillError
from hetagent.outcome import FieldOutcome, Outcome

__all__ = ["AsyncFieldStream", "FieldStream"]

R = TypeVar("R")
Item: TypeAlias = tuple[str, FieldOutcome]
Serve: TypeAlias = Callable[[Callable[[str, FieldOutcome], None]], Coroutine[Any, Any, Outcome[R]]]


class AsyncFieldStream(Generic[R]):
    """A run of a skill, told field by field; made by `Orchestrator.astream`.

    Iterate over it for pairs of path and `FieldOutcome`. It begins with the first item that is
    asked for, or with ``async with``; leaving that block cancels what is under way.
    """

    def __init__(self, serve: Serve[R]) -> None:
        self._serve = serve
        self._items: asyncio.Queue[Item | None] = asyncio.Queue()
        self._task: asyncio.Task[Outcome[R]] | None = None
        self._outcome: Outcome[R] | None = None
        self._ended = False

    @property
    def outcome(self) -> Outcome[R]:
        """What `Orchestrator.run` would have returned; there once the last item is.

        Raises:
            SkillError: It is not there.
        """
        if self._outcome is None:
            raise SkillError(
                "The stream has no outcome: it was not read to its end.",
                hint="Take all items first: for path, field in stream: ...",
            )
        return self._outcome

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        item = await self.take()
        if item is None:
            raise StopAsyncIteration
        return item

    async def take(self) -> Item | None:
        """The next item; ``None`` behind the last."""
        if self._ended:
            return None
        task = self._start()
        item = await self._items.get()
        if item is None:
            self._ended = True
            if not task.cancelled():
                self._outcome = task.result()
        return item

    async def aclose(self) -> None:
        """Cancel what is under way; there are no more items then."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> asyncio.Task[Outcome[R]]:
        if self._task is None:
            self._task = asyncio.create_task(self._serve(self._put))
            self._task.add_done_callback(lambda _: self._items.put_nowait(None))
        return self._task

    def _put(self, path: str, field: FieldOutcome) -> None:
        self._items.put_nowait((path, field))


class FieldStream(Generic[R]):
    """A run of a skill, told field by field; made by `Orchestrator.stream`.

    Iterate over it for pairs of path and `FieldOutcome`. It begins with the first item that is
    asked for, or with ``with``; leaving that block cancels what is under way, and so does Ctrl-C.
    """

    def __init__(self, stream: AsyncFieldStream[R]) -> None:
        self._stream = stream

    @property
    def outcome(self) -> Outcome[R]:
        """What `Orchestrator.run` would have returned; there once the last item is.

        Raises:
            SkillError: It is not there.
        """
        return self._stream.outcome

    def __enter__(self) -> Self:
        portal.call(self._stream.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            item = portal.call(self._stream.take())
        except KeyboardInterrupt:
            self.close()
            raise
        if item is None:
            raise StopIteration
        return item

    def close(self) -> None:
        """Cancel what is under way; there are no more items then."""
        portal.call(self._stream.aclose())
