"""Requests on their way through the scheduler."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from hetagent.engine.decode import Decoding
from hetagent.engine.prefixes import Adapters, Prefix, PrefixKey
from hetagent.engine.steps import Step
from hetagent.engine.tries import Group
from hetagent.errors import HetagentError, ModelError
from hetagent.models.base import Completion

__all__ = ["FairQueue", "Job"]

_log = logging.getLogger("hetagent")


class Job:
    """One request, from its submission to its completion.

    Args:
        decoding: The request, prepared.
        adapters: Loaded LoRA adapters with their scales.

    Attributes:
        future: Its completion, or why there is none.
        cancelled: Whether nobody wants it any more; may be set from any thread.
    """

    __slots__ = (
        "adapters",
        "began",
        "branches",
        "cached",
        "cancelled",
        "decoding",
        "future",
        "group",
        "grown",
        "length",
        "prefilled",
        "prefix",
        "prefix_key",
        "sequence",
        "step",
        "submitted",
        "text",
        "todo",
        "turn",
    )

    def __init__(self, decoding: Decoding, *, adapters: Adapters = ()) -> None:
        self.decoding = decoding
        self.adapters = adapters
        self.prefix_key: PrefixKey = (adapters, decoding.prompt[: decoding.fixed])
        self.future: Future[Completion] = Future()
        self.cancelled = False
        self.turn = 0
        # What is evaluated, and where.
        self.prefix: Prefix | None = None
        self.sequence: int | None = None
        self.text: list[int] = []
        self.length = decoding.fixed
        # What is to be evaluated.
        self.step: Step | None = None
        self.todo: list[int] = []
        self.group = 0
        self.grown = 0  # nodes of this group of the trie that are evaluated
        self.branches: list[tuple[int, Group]] = []
        # When, on the clock of time.perf_counter, and at what saving.
        self.submitted = time.perf_counter()
        self.began: float | None = None
        self.prefilled: float | None = None
        self.cached = 0

    @property
    def holds_cells(self) -> bool:
        """Whether it has cells of its own, or keeps its prefix from leaving."""
        return self.sequence is not None or self.prefix is not None

    def cancel(self) -> None:
        """Stop before the next evaluation; from any thread."""
        self.cancelled = True

    def advance(self) -> bool:
        """Go on to the next step; whether there is one, or the answer is there.

        Raises:
            HetagentError: The answer cannot be decoded.
        """
        try:
            self.step = next(self.decoding.answer)
        except StopIteration as stop:
            self._finish(stop.value)
            return False
        self.todo = list(self.step.append)
        self.group = 0
        return True

    def fail(self, error: Exception) -> None:
        """Say why there is no answer."""
        if not isinstance(error, HetagentError):
            _log.error("The engine failed", exc_info=error)
            problem = ModelError(
                f"The engine failed: {type(error).__name__}: {error}",
                hint="This is a fault of hetagent; the log has its traceback.",
            )
            problem.__cause__ = error
            error = problem
        if not self.future.done():
            self.future.set_exception(error)

    def _finish(self, answer: dict[str, Any]) -> None:
        ended = time.perf_counter()
        began = self.began or ended
        prefilled = self.prefilled or ended
        seconds = {
            "queue": began - self.submitted,
            "prefill": prefilled - began,
            "decode": ended - prefilled,
        }
        self.future.set_result(
            self.decoding.completion(answer, cached=self.cached, seconds=seconds)
        )


class FairQueue:
    """Jobs that wait, taken in turn from every skill that has some."""

    def __init__(self) -> None:
        self._by_skill: OrderedDict[PrefixKey, deque[Job]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        for jobs in self._by_skill.values():
            yield from jobs

    def put(self, job: Job) -> None:
        """Let a job wait behind those of its skill."""
        self._by_skill.setdefault(job.prefix_key, deque()).append(job)
        self._count += 1

    def take(self) -> Job:
        """The next job; there must be one."""
        key, jobs = next(iter(self._by_skill.items()))
        job = jobs.popleft()
        self._count -= 1
        if jobs:
            self._by_skill.move_to_end(key)
        else:
            del self._by_skill[key]
        return job

    def remove_cancelled(self) -> list[Job]:
        """Take out the jobs nobody wants any more."""
        gone = [job for job in self if job.cancelled]
        for job in gone:
            jobs = self._by_skill[job.prefix_key]
            jobs.remove(job)
            self._count -= 1
            if not jobs:
                del self._by_skill[job.prefix_key]
        return gone
