"""Continuous batching: jobs from any thread, evaluated together by the one thread that decodes.

Between two evaluations new jobs join and finished or cancelled ones leave. Jobs are admitted in
turn from every skill, so that a flood of one does not keep the others waiting. An evaluation takes
one set of adapters; the set that most jobs wait for goes first, unless others waited too long.
Where an evaluation is the slower the more is in the cache, skills begin one after the other, too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from hetagent.engine.batching import Batcher
from hetagent.engine.jobs import FairQueue, Job
from hetagent.engine.prefixes import Adapters
from hetagent.engine.space import Space
from hetagent.engine.steps import Cancelled
from hetagent.errors import ModelError

__all__ = ["Scheduler", "Stats"]

# Callers that got their answers mostly ask again at once; waiting for them fills the next batch.
_LINGER_S = 0.002
_LINGER_SHARE = 0.05
# Evaluations of other groups that a job waits through at most, for each group.
_PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Stats:
    """What an engine does, at one moment.

    Attributes:
        active: Jobs under way.
        waiting: Jobs that wait to be admitted.
        prefixes: Prefixes in the KV cache.
        shelved: Prefixes of which there is a copy in memory outside of it.
        evicted: Prefixes that left it since the start, to make room.
        preempted: Jobs that had to give up their cells since the start.
        kv_used: Tokens in the KV cache.
        kv_peak: The most there have been.
        kv_size: The most there can be.
        evaluations: Batches since the start.
        evaluated: Tokens in them.
    """

    active: int
    waiting: int
    prefixes: int
    shelved: int
    evicted: int
    preempted: int
    kv_used: int
    kv_peak: int
    kv_size: int
    evaluations: int
    evaluated: int


class Scheduler:
    """Runs jobs on a batcher.

    Args:
        batcher: What evaluates.
        space: Its cells.
        parallel: Jobs under way at once.
        queue: Jobs that may wait; further ones are turned away.
    """

    def __init__(self, batcher: Batcher, *, space: Space, parallel: int, queue: int) -> None:
        self._batcher = batcher
        self._space = space
        self._parallel = parallel
        self._queue = queue
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hetagent-engine")
        # Shared between threads, under the lock:
        self._changed = threading.Condition()
        self._incoming: deque[Job] = deque()
        self._turned_away: deque[Future[None]] = deque()
        self._serving = False
        self._closed = False
        # The serving thread's own:
        self._waiting = FairQueue()
        self._active: list[Job] = []  # the oldest first
        self._parked: list[Job] = []  # preempted; they go on once a job has left
        self._blocked: set[Adapters] = set()  # until others have got on
        self._preempted = 0

    def submit(self, job: Job) -> Future[None] | None:
        """Take a job, or turn it away.

        Returns:
            ``None`` where it is taken; otherwise what is done once it is worth trying again.

        Raises:
            ModelError: The engine is closed, or has no thread and cannot start one.
        """
        with self._changed:
            if self._closed:
                raise ModelError("The engine is closed.", hint="Make a new model.")
            if len(self._incoming) + len(self._waiting) >= self._queue:
                again: Future[None] = Future()
                self._turned_away.append(again)
                return again
            if not self._serving:
                try:
                    self._executor.submit(self._serve)
                except RuntimeError as error:
                    raise ModelError(
                        f"The engine cannot start its thread: {error}.",
                        hint="Raise the limit on threads (ulimit -u), or close other programs.",
                    ) from error
                self._serving = True
            job.future.set_running_or_notify_cancel()
            self._incoming.append(job)
            self._changed.notify()
            return None

    def stats(self) -> Stats:
        """What it does now."""
        return Stats(
            active=len(self._active) + len(self._parked),
            waiting=len(self._incoming) + len(self._waiting),
            prefixes=len(self._batcher.prefixes),
            shelved=len(self._batcher.prefixes.shelf),
            evicted=self._batcher.prefixes.evicted,
            preempted=self._preempted,
            kv_used=self._space.used,
            kv_peak=self._space.peak,
            kv_size=self._space.cells,
            evaluations=self._batcher.evaluations,
            evaluated=self._batcher.evaluated,
        )

    def close(self) -> None:
        """Finish the jobs that were taken, and stop."""
        with self._changed:
            self._closed = True
        self._executor.shutdown(wait=True)

    def _serve(self) -> None:
        """Evaluate until there is nothing left to do."""
        finished = 0
        seconds = 0.0
        while True:
            patience = min(_LINGER_S, _LINGER_SHARE * seconds)
            began = time.perf_counter()
            try:
                self._collect(expected=finished, patience=patience)
                with self._changed:
                    if (
                        not self._active
                        and not self._parked
                        and not self._waiting
                        and not self._incoming
                    ):
                        self._serving = False
                        return
                began = time.perf_counter()
                finished = self._step()
            except Exception as error:
                finished = self._give_up(error)
            seconds = time.perf_counter() - began

    def _collect(self, *, expected: int, patience: float) -> None:
        """Take in new jobs, waiting a moment for as many as have just left."""
        deadline = time.perf_counter() + patience
        with self._changed:
            while len(self._incoming) < expected and not self._closed:
                left = deadline - time.perf_counter()
                if left <= 0 or not self._changed.wait(left):
                    break
            while self._incoming:
                self._waiting.put(self._incoming.popleft())
            idle = self._is_idle()
            # Whoever is woken may have gone by then, and nobody is left to wake the next of them:
            # before the engine falls idle all are.
            room = len(self._turned_away) if idle else self._queue - len(self._waiting)
            woken: list[Future[None]] = []
            while self._turned_away and len(woken) < room:
                again = self._turned_away.popleft()
                if again.set_running_or_notify_cancel():
                    woken.append(again)
        for again in woken:
            again.set_result(None)

    def _step(self) -> int:
        """Evaluate once; how many jobs are over."""
        over = self._drop_cancelled()
        if over or not self._active:
            self._unpark()
        while self._waiting and not self._parked and len(self._active) < self._parallel:
            job = self._waiting.take()
            job.turn = self._batcher.evaluations
            if self._start(job):
                self._active.append(job)
            else:
                over += 1
        if not self._active:
            return over
        jobs = self._next_jobs()
        finished = self._batcher.evaluate(jobs)
        if finished is None:
            return over + self._make_way(jobs)
        self._blocked.clear()
        if finished:
            gone = set(map(id, finished))
            self._active = [job for job in self._active if id(job) not in gone]
            self._unpark()
        return over + len(finished)

    def _start(self, job: Job) -> bool:
        try:
            return job.advance()
        except Exception as error:  # of this job alone
            job.fail(error)
            return False

    def _next_jobs(self) -> Sequence[Job]:
        """The jobs of one set of adapters, those that waited longest first."""
        free = [job for job in self._active if job.adapters not in self._blocked] or self._active
        chosen = self._most_wanted(free, lambda job: job.adapters)
        if self._batcher.scans:
            # Of those that have not begun only one skill's, so that its prefix alone is needed.
            begun = [job for job in chosen if job.holds_cells]
            waiting = [job for job in chosen if not job.holds_cells]
            chosen = begun + self._most_wanted(waiting, lambda job: job.prefix_key)
        return sorted(chosen, key=lambda job: job.turn)

    def _most_wanted(self, jobs: Sequence[Job], kind: Callable[[Job], Hashable]) -> list[Job]:
        """The jobs of the largest group, or of one that waited too long."""
        groups: dict[Hashable, list[Job]] = {}
        for job in jobs:
            groups.setdefault(kind(job), []).append(job)
        if len(groups) < 2:
            return list(jobs)
        longest = min(groups.values(), key=lambda jobs: min(job.turn for job in jobs))
        waited = self._batcher.evaluations - min(job.turn for job in longest)
        overdue = waited > _PATIENCE * len(groups)
        return longest if overdue else max(groups.values(), key=len)

    def _make_way(self, jobs: Sequence[Job]) -> int:
        """Nothing of these fits: take the cells of the job that began last; how many jobs failed.

        A job never makes way for one that began after it, so that the oldest always gets on.
        """
        place = min(map(self._active.index, jobs))
        younger = [job for job in self._active[place + 1 :] if job.holds_cells]
        if younger:
            self._batcher.preempt(younger[-1])
            self._preempted += 1
            # Otherwise it would take back at once what it was made to give.
            self._active.remove(younger[-1])
            self._parked.insert(0, younger[-1])
            self._favour(self._active[place])
            return 0
        if any(job.holds_cells for job in self._active[:place]):
            self._favour(self._active[0])
            return 0
        return self._fail_all(
            [self._active[place]],
            ModelError(
                "The KV cache has no room for a request that should fit.",
                hint="Ask for a larger kv_tokens=.",
            ),
        )

    def _is_idle(self) -> bool:
        return not self._active and not self._parked and not self._waiting

    def _unpark(self) -> None:
        self._active += self._parked
        self._parked = []

    def _favour(self, job: Job) -> None:
        """Let a job be next, so that no other takes the cells it waits for."""
        job.turn = -1
        self._blocked = {other.adapters for other in self._active} - {job.adapters}

    def _drop_cancelled(self) -> int:
        gone = self._waiting.remove_cancelled() if self._waiting else []
        under_way = [job for job in self._active if job.cancelled]
        gone += [job for job in self._parked if job.cancelled]
        self._parked = [job for job in self._parked if not job.cancelled]
        for job in under_way:
            self._batcher.preempt(job)
            self._active.remove(job)
        for job in [*gone, *under_way]:
            job.decoding.answer.close()
            job.future.set_exception(Cancelled())
        return len(gone) + len(under_way)

    def _give_up(self, error: Exception) -> int:
        """A fault of the engine itself: every job under way fails, and later ones are served."""
        self._unpark()
        failed = self._fail_all(list(self._active), error)
        self._batcher.forget_unfinished()
        return failed

    def _fail_all(self, jobs: Sequence[Job], error: Exception) -> int:
        for job in jobs:
            self._batcher.preempt(job)
            self._active.remove(job)
            job.fail(error)
        return len(jobs)
