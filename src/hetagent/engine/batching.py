"""One evaluation of many jobs: which of their tokens go into the batch, and who gets which logits.

A job's sequence is a fork of its skill's prefix. A choice evaluates the rest of its prompt and its
whole trie at once: the tokens of the prompt belong to the sequences of all branches, and those of a
branch to the sequences of the leaves below them, so that everything shared is evaluated once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hetagent.engine.context import Batch, LlamaContext
from hetagent.engine.jobs import Job
from hetagent.engine.prefix_store import PrefixStore
from hetagent.engine.prefixes import Prefix, PrefixCache, PrefixKey
from hetagent.engine.space import Space
from hetagent.engine.steps import END, Step
from hetagent.engine.tries import Group, Tree
from hetagent.errors import ModelError

__all__ = ["Batcher", "Limits"]

# With more jobs than these, wrong guesses cost what right ones save (benchmarks/drafts.py).
_GUESSING = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How a batch may be composed.

    Attributes:
        batch: Tokens in one evaluation.
        chunk: Of them, tokens of a long prompt where other jobs are waiting.
        leaves: Branches of one job looked at in one evaluation.
        joins: Whether a token may belong to several sequences (not where the model is recurrent).
        scans: Whether every token is compared with all cells in use, whosever they are; prefixes
            that no job needs then leave the KV cache, for as long as none does.
    """

    batch: int
    chunk: int
    leaves: int
    joins: bool
    scans: bool = False


@dataclass(slots=True)
class _Planned:
    """A job's part of the batch."""

    job: Job
    first: int
    """Row of its first logits."""
    places: list[int] = field(default_factory=list)
    completes: bool = False
    """Whether all of its step is evaluated then."""


class Batcher:
    """Evaluates jobs in one context.

    Args:
        context: The KV cache.
        space: What is left in it.
        limits: How batches are composed.
        store: Where prefixes are stored between processes; ``None`` for nowhere.
    """

    def __init__(
        self, context: LlamaContext, *, space: Space, limits: Limits, store: PrefixStore | None
    ) -> None:
        self._context = context
        self._space = space
        self._limits = limits
        self._store = store
        self._batch = Batch(limits.batch)
        self.prefixes = PrefixCache(context, space)
        self._jobs = 0  # that want this evaluation
        self._full = False  # whether a job found no room while this batch was planned
        self.evaluations = 0
        self.evaluated = 0

    def evaluate(self, jobs: Sequence[Job]) -> list[Job] | None:
        """Evaluate one batch of jobs with the same adapters, the first of them first.

        Returns:
            The jobs that are finished now, also those that failed; ``None`` where there is no
            room for any of them.
        """
        self._batch.clear()
        self._jobs = len(jobs)
        self._full = False
        if self._limits.scans:
            self.prefixes.shelve_idle(keep={job.prefix_key for job in jobs})
        lacking: dict[PrefixKey, tuple[Prefix, int]] = {}
        planned: list[_Planned] = []
        most = self._limits.batch if len(jobs) == 1 else self._limits.chunk
        for job in jobs:
            if not self._batch.room:
                break
            if self._full and not job.holds_cells:
                continue  # those that began before it come first
            prefix = self._prefix_of(job)
            if prefix is not None and not prefix.complete:
                if prefix.key not in lacking:
                    lacking[prefix.key] = prefix, self._plan_prefix(prefix, most)
            elif self._is_open(job, prefix):
                plan = self._plan(job, most)
                if plan is not None:
                    planned.append(plan)
        if not self._batch.count:
            return None
        self._fill(planned, lacking)
        # Those whose prefix is in it have a part in the batch, too.
        involved = [plan.job for plan in planned]
        involved += [job for job in jobs if job.prefix is not None and job.prefix.key in lacking]
        try:
            self._context.use_adapters(jobs[0].adapters)
            self._context.submit(self._batch)
        except ModelError as error:
            return self._fail(involved, [prefix for prefix, _ in lacking.values()], error)
        self.evaluated += self._batch.count
        self.evaluations += 1
        for job in involved:
            job.turn = self.evaluations
        for plan in planned:
            if plan.completes:
                self._prepare(plan)
        logits = self._context.logits(self._batch)
        for prefix, count in lacking.values():
            prefix.done += count
            if prefix.complete and self._store is not None:
                self._store.put(prefix.key, self._context.save(prefix.sequence))
        finished = []
        for plan in planned:
            rows = logits[plan.first : plan.first + len(plan.places)]
            if not self._read(plan, rows):
                self.preempt(plan.job)
                finished.append(plan.job)
        return finished

    @property
    def scans(self) -> bool:
        """Whether fewer prefixes in the cache make an evaluation faster."""
        return self._limits.scans

    def forget_unfinished(self) -> None:
        """Forget prefixes of which nobody knows how far they were evaluated."""
        for prefix in list(self.prefixes):
            if not prefix.complete and not prefix.users:
                self.prefixes.remove(prefix)

    def preempt(self, job: Job) -> None:
        """Take a job's cells; what it had is evaluated again if its turn comes once more."""
        self._drop_branches(job, keep=0)
        if job.sequence is not None:
            self._context.drop(job.sequence)
            self._space.give(len(job.text))
            self._space.give_sequences([job.sequence])
            job.sequence = None
        job.todo[:0] = job.text
        job.length -= len(job.text)
        job.text = []
        if job.prefix is not None:
            job.prefix.users -= 1
            job.prefix = None

    def _prefix_of(self, job: Job) -> Prefix | None:
        """The job's prefix, perhaps only begun; ``None`` where it has none, or there is no room."""
        if job.prefix is None and job.decoding.fixed:
            prefix = self.prefixes.get(job.prefix_key)
            if prefix is None:
                prefix = self._new_prefix(job.prefix_key)
            if prefix is None:
                self._full = True
                return None
            prefix.users += 1
            job.prefix = prefix
            if job.began is None:
                job.began = time.perf_counter()
                job.cached = prefix.done
        return job.prefix

    def _make_room(self, *, cells: int, sequences: int) -> bool:
        there_is = self.prefixes.make_room(cells=cells, sequences=sequences)
        self._full = self._full or not there_is
        return there_is

    def _new_prefix(self, key: PrefixKey) -> Prefix | None:
        prefix = self.prefixes.add(key)
        if prefix is not None and not prefix.complete and self._store is not None:
            data = self._store.get(key)
            if data is not None and self._context.restore(prefix.sequence, data):
                prefix.done = len(prefix.tokens)
        return prefix

    def _is_open(self, job: Job, prefix: Prefix | None) -> bool:
        """Whether a job has a sequence of its own, or can be given one."""
        if job.sequence is not None:
            return True
        if job.decoding.fixed and prefix is None:
            return False
        if not self._make_room(cells=1, sequences=1):
            return False
        job.sequence = self._space.take_sequences(1)[0]
        if prefix is not None:
            self._context.fork(prefix.sequence, job.sequence)
        if job.began is None:
            job.began = time.perf_counter()
        return True

    def _fill(
        self, planned: Sequence[_Planned], lacking: dict[PrefixKey, tuple[Prefix, int]]
    ) -> None:
        """Where the batch has room for more than a chunk of each long text, use it."""
        for key, (prefix, count) in lacking.items():
            more = self._plan_prefix(prefix, self._batch.room, after=count)
            lacking[key] = prefix, count + more
        for plan in planned:
            job = plan.job
            count = min(len(job.todo), self._batch.room)
            if count and self._make_room(cells=count, sequences=0):
                plan.first = self._batch.outputs
                self._plan_text(plan, count, [])
                plan.completes = not job.todo and not self._groups(job)

    def _plan_prefix(self, prefix: Prefix, most: int, *, after: int = 0) -> int:
        """Append the next tokens of a prefix, behind those that are in the batch; how many."""
        begin = prefix.done + after
        tokens = prefix.tokens[begin : begin + min(most, self._batch.room)]
        self._batch.add_run(tokens, begin, [prefix.sequence])
        return len(tokens)

    def _plan(self, job: Job, most: int) -> _Planned | None:
        """Append a job's next tokens; ``None`` where it has to wait for the next batch."""
        assert job.step is not None
        self._guess(job, job.step)
        groups = self._groups(job)
        plan = _Planned(job, first=self._batch.outputs)
        if not job.todo:
            return self._plan_group(plan, groups)
        group = groups[job.group] if groups and self._limits.joins else None
        if group is not None and self._fits(job, group):
            self._plan_text(plan, len(job.todo), self._branch(job, group))
            self._append_group(plan, group, len(group.nodes))
            plan.completes = job.group == len(groups) - 1
            return plan
        wanted = len(job.todo) + (len(group.nodes) if group is not None else 0)
        if self._batch.count and self._batch.room < wanted <= self._batch.size:
            return None
        count = min(len(job.todo), self._batch.room)
        if count < len(job.todo) or self._batch.size < wanted:
            count = min(count, most)
        if not self._make_room(cells=count, sequences=0):
            return None
        self._plan_text(plan, count, [])
        plan.completes = not job.todo and not groups
        return plan

    def _guess(self, job: Job, step: Step) -> None:
        """Let a step look further ahead, where further rows cost little and nobody has to go."""
        if step.guess is None:
            return
        step.trie = None
        if self._jobs > _GUESSING or not self._limits.joins or not job.todo:
            return
        tree = step.guess()
        room = min(self._batch.room, self._space.free_cells)
        if tree is not None and len(job.todo) + len(tree.tokens) <= room:
            step.trie = tree if self._space.free_sequences else None

    def _plan_group(self, plan: _Planned, groups: Sequence[Group]) -> _Planned | None:
        """Append one part of a trie after a text that is evaluated already."""
        job = plan.job
        group = groups[job.group]
        left = len(group.nodes) - job.grown
        if self._batch.room < left <= self._batch.size and self._batch.count:
            return None
        count = min(left, self._batch.room)  # less where a single path is longer than a batch
        sequences = 0 if job.branches else group.leaves
        if not self._make_room(cells=count, sequences=sequences):
            return None
        if not job.branches:
            self._branch(job, group)
        self._append_group(plan, group, count)
        plan.completes = count == left and job.group == len(groups) - 1
        return plan

    def _groups(self, job: Job) -> Sequence[Group]:
        trie = job.step.trie if job.step is not None else None
        if trie is None or not trie.tokens:
            return ()
        leaves = self._limits.leaves if self._limits.joins else 1
        left = self._space.cells - job.length - len(job.todo)
        return trie.groups(leaves=leaves, nodes=min(self._limits.batch // 2, left))

    def _fits(self, job: Job, group: Group) -> bool:
        tokens = len(job.todo) + len(group.nodes)
        return tokens <= self._batch.room and self._make_room(cells=tokens, sequences=group.leaves)

    def _branch(self, job: Job, group: Group) -> list[int]:
        """Fork the job's sequence once for every leaf of a part of its trie."""
        sequences = self._space.take_sequences(group.leaves)
        for sequence in sequences:
            self._context.fork(job.sequence or 0, sequence)
        job.branches = [(sequence, group) for sequence in sequences]
        return sequences

    def _plan_text(self, plan: _Planned, count: int, branches: list[int]) -> None:
        job = plan.job
        tokens = job.todo[:count]
        self._space.take(count)
        self._batch.add_run(tokens, job.length, [job.sequence or 0, *branches])
        job.text += tokens
        job.length += count
        del job.todo[:count]
        if not job.todo:
            self._batch.want_last()
            plan.places.append(END)

    def _append_group(self, plan: _Planned, group: Group, count: int) -> None:
        job = plan.job
        trie = job.step.trie if job.step is not None else None
        assert trie is not None
        self._space.take(count)
        wanted = set(group.wanted)
        next_ones = slice(job.grown, job.grown + count)
        job.grown += count
        for node, members in zip(group.nodes[next_ones], group.members[next_ones], strict=True):
            self._batch.add(
                trie.tokens[node],
                job.length + trie.depths[node] - 1,
                [job.branches[member][0] for member in members],
                wanted=node in wanted,
            )
            if node in wanted:
                plan.places.append(node)

    def _prepare(self, plan: _Planned) -> None:
        step = plan.job.step
        assert step is not None
        try:
            step.meanwhile()
        except Exception as error:  # of this job alone
            plan.job.fail(error)

    def _read(self, plan: _Planned, logits: object) -> bool:
        """Hand a job its logits, and go on with it; whether it goes on."""
        job = plan.job
        step = job.step
        assert step is not None
        if job.future.done():
            return False
        try:
            if plan.places:
                step.read(plan.places, logits)  # type: ignore[arg-type]
            if END in plan.places and job.prefilled is None:
                job.prefilled = time.perf_counter()
            if not plan.completes:
                if job.branches and job.grown == len(job.branches[0][1].nodes):
                    self._drop_branches(job, keep=0)
                    job.group += 1
                return True
            if not job.advance():
                return False
        except Exception as error:  # of this job alone
            job.fail(error)
            return False
        self._keep(job, step.trie)
        return True

    def _keep(self, job: Job, trie: Tree | None) -> None:
        """Let the path that was chosen in a trie become part of the text, evaluated as it is."""
        depth = 0
        step = job.step
        if job.branches and trie is not None and step is not None and step.kept != END:
            group = job.branches[0][1]
            if step.kept in group.nodes:
                leaf = group.members[group.nodes.index(step.kept)][0]
                # A recurrent state is that of the leaf, and of nothing before it.
                if self._limits.joins or group.nodes[-1] == step.kept:
                    depth = trie.depths[step.kept]
                    sequence = job.sequence or 0
                    end = job.length + depth
                    self._context.fork(job.branches[leaf][0], sequence, start=job.length, end=end)
                    job.text += job.todo[:depth]
                    job.length += depth
                    del job.todo[:depth]
        self._drop_branches(job, keep=depth)

    def _drop_branches(self, job: Job, *, keep: int) -> None:
        if job.branches:
            sequences = [sequence for sequence, _ in job.branches]
            for sequence in sequences:
                self._context.drop(sequence)
            self._space.give(job.grown - keep)
            self._space.give_sequences(sequences)
            job.branches = []
            job.grown = 0

    def _fail(
        self, jobs: Sequence[Job], prefixes: Sequence[Prefix], error: ModelError
    ) -> list[Job]:
        """Nothing is known of what was in the batch, so none of it is kept; what was not stays."""
        for job in jobs:
            self.preempt(job)
            job.fail(error)
        for prefix in prefixes:
            self.prefixes.remove(prefix)
        return list(jobs)
