"""Many inputs at once: rows are finished in any order, a bounded number of them under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hetagent.errors import SkillError
from hetagent.outcome import Outcome
from hetagent.progress import Progress

__all__ = ["fill", "listed"]

R = TypeVar("R")


async def fill(
    rows: Sequence[Any],
    done: dict[int, Outcome[R]],
    *,
    serve: Callable[[Any], Awaitable[Outcome[R]]],
    concurrency: int,
    progress: Progress,
) -> None:
    """Serve rows, and put each outcome at its index as soon as it is there.

    Args:
        rows: What to serve.
        done: Where outcomes go; when this is cancelled it has those that were finished.
        serve: Makes the outcome of one row.
        concurrency: How many are under way at once.
        progress: Told of each.
    """
    waiting = iter(range(len(rows)))
    with progress:

        async def work() -> None:
            for index in waiting:
                done[index] = one = await serve(rows[index])
                progress.advance(escalated=one.escalated, refused=one.reason == "budget")

        workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(rows)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


def listed(rows: Iterable[Any]) -> list[Any]:
    """Rows as a list.

    Raises:
        SkillError: They are one input instead.
    """
    if isinstance(rows, str | bytes | Mapping):
        raise SkillError(
            f"map was given one {type(rows).__name__} instead of rows.",
            hint="Give a list of inputs; agent.run(...) takes a single one.",
        )
    return list(rows)
