"""The floor: a bare `llama_decode` loop over exactly the tokens that must be evaluated.

Which tokens those are says `plain`; none of it is timed. The loop below prepares every batch before
the clock starts: it then only forks, decodes, waits and frees. A caller has its next call as soon
as its last one is answered, so that batches stay full (a schedule in which sixteen calls begin and
end together would leave room unused, and be no floor). Every batch has at most 512 rows; the calls
of a batch share one adapter, whose turn goes round among those that are waited for.
"""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import llama_cpp

from benchmarks.engine.peers.serve import serve
from benchmarks.engine.plain import BATCH, Evaluation, Plain

# What llama.cpp allows at most (`llama_max_parallel_sequences`).
SEQUENCES = 256


@dataclass
class Row:
    """One token of a batch, and whose it is."""

    token: int
    position: int
    sequences: list[int]
    wanted: bool
    call: int = -1


@dataclass
class Task:
    """A call on its way: what it still needs, and what it holds.

    Attributes:
        index: Its place among the calls of the run.
        skill: The skill's name.
        steps: For each batch it takes part in: token, position, branches and whether logits are
            needed, of each row; branches are numbered from 0.
        branches: How many sequences it needs.
        sequences: Those it holds.
    """

    index: int
    skill: str
    steps: deque[list[tuple[int, int, tuple[int, ...], bool]]]
    branches: int
    sequences: list[int] = field(default_factory=list)


@dataclass
class Step:
    """One decode, with what surrounds it."""

    adapter: str | None
    batch: Any
    forks: list[tuple[int, int]]
    frees: list[int]
    begun: list[int]
    done: list[int]
    tokens: int
    wanted: list[int]
    """Whose logits are computed, in order."""


class Floor:
    """Runs the calls of a workload as a bare loop."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self.evaluated = 0
        self._skills = workload["skills"]
        self._workload = workload
        self._plain = Plain(
            options["model"],
            threads=options["threads"],
            context=options["context"],
            sequences=SEQUENCES,
            flash_attention=options["flash_attention"],
            gpu_layers=options["gpu_layers"],
        )
        self._prefixes = {name: number for number, name in enumerate(self._skills)}
        self._adapters = self._load_adapters()
        self._evaluations: dict[str, Evaluation] = {}
        self._adapter: str | None = None
        self.facts = {"version": metadata.version("llama-cpp-python")}

    def warm(self) -> None:
        """Nothing: what a run needs is found out and evaluated before its clock starts."""

    def run(self, calls: Sequence[dict[str, Any]], callers: int) -> dict[str, Any]:
        evaluations = [self._evaluation(call) for call in calls]
        self._evaluate_prefixes(calls)
        plan = self._plan(calls, evaluations, callers)
        reply = self._execute(plan, len(calls))
        self.evaluated += sum(step.tokens for step in plan)
        for step in plan:
            llama_cpp.llama_batch_free(step.batch)
        return {**reply, "answers": [evaluation.text for evaluation in evaluations]}

    def _evaluation(self, call: dict[str, Any]) -> Evaluation:
        key = f"{call['skill']} {call['message']}"
        if key not in self._evaluations:
            skill = self._skills[call["skill"]]
            self._use(skill["adapter"])
            self._evaluations[key] = self._plain.evaluation(skill, call["message"], cached=True)
        return self._evaluations[key]

    def _evaluate_prefixes(self, calls: Sequence[dict[str, Any]]) -> None:
        """The fixed prompt of each skill that is called, as a sequence of its own."""
        self._plain.clear()
        for name in {call["skill"]: None for call in calls}:
            self._use(self._skills[name]["adapter"])
            tokens = self._plain.fixed(self._skills[name])
            for begin in range(0, len(tokens), BATCH):
                rows = [
                    Row(token, begin + place, [self._prefixes[name]], False)
                    for place, token in enumerate(tokens[begin : begin + BATCH])
                ]
                batch = make_batch(rows)
                self._decode(batch)
                llama_cpp.llama_batch_free(batch)

    def _plan(
        self, calls: Sequence[dict[str, Any]], evaluations: Sequence[Evaluation], callers: int
    ) -> list[Step]:
        """Every batch of a run, in order."""
        waiting = deque(
            task_of(index, call, evaluation)
            for index, (call, evaluation) in enumerate(zip(calls, evaluations, strict=True))
        )
        free = list(range(SEQUENCES - 1, len(self._prefixes) - 1, -1))
        active = [waiting.popleft() for _ in range(min(callers, len(waiting)))]
        begun = [task.index for task in active]
        turns = deque(dict.fromkeys(skill["adapter"] for skill in self._skills.values()))
        plan = []
        while active:
            while not any(self._adapter_of(task) == turns[0] for task in active):
                turns.rotate(-1)
            members = [task for task in active if self._adapter_of(task) == turns[0]]
            step, taken = self._step(members, free, begun)
            begun = []
            for task in taken:
                # To the end, so that a batch that is too small for all goes round among them.
                active.remove(task)
                if task.steps:
                    active.append(task)
                elif waiting:
                    active.append(waiting.popleft())
                    begun.append(active[-1].index)
            plan.append(step)
            turns.rotate(-1)
        return plan

    def _adapter_of(self, task: Task) -> str | None:
        adapter: str | None = self._skills[task.skill]["adapter"]
        return adapter

    def _step(
        self, members: Sequence[Task], free: list[int], begun: list[int]
    ) -> tuple[Step, list[Task]]:
        rows: list[Row] = []
        forks, frees, done, taken = [], [], [], []
        for task in members:
            missing = task.branches - len(task.sequences)
            if len(rows) + len(task.steps[0]) > BATCH or missing > len(free):
                continue
            if missing:
                task.sequences = [free.pop() for _ in range(missing)]
                prefix = self._prefixes[task.skill]
                forks += [(prefix, sequence) for sequence in task.sequences]
            for token, position, branches, wanted in task.steps.popleft():
                sequences = [task.sequences[b] for b in branches]
                rows.append(Row(token, position, sequences, wanted, task.index))
            taken.append(task)
            if not task.steps:
                frees += task.sequences
                done.append(task.index)
        free += frees
        if not rows:
            raise RuntimeError("a call needs more rows or sequences than a batch may have")
        adapter = self._adapter_of(members[0])
        wanted = [row.call for row in rows if row.wanted]
        return Step(adapter, make_batch(rows), forks, frees, begun, done, len(rows), wanted), taken

    def _execute(self, plan: Sequence[Step], count: int) -> dict[str, Any]:
        """The timed loop."""
        context, memory = self._plain.context, self._plain.memory
        decode, synchronize = llama_cpp.llama_decode, llama_cpp.llama_synchronize
        fork, free = llama_cpp.llama_memory_seq_cp, llama_cpp.llama_memory_seq_rm
        clock = time.perf_counter
        starts, ends = [0.0] * count, [0.0] * count
        status = 0
        began = now = clock()
        for step in plan:
            for index in step.begun:
                starts[index] = now
            if step.adapter != self._adapter:
                self._use(step.adapter)
            for prefix, sequence in step.forks:
                fork(memory, prefix, sequence, -1, -1)
            status |= decode(context, step.batch)
            synchronize(context)
            for sequence in step.frees:
                free(memory, sequence, -1, -1)
            now = clock()
            for index in step.done:
                ends[index] = now
        wall = clock() - began
        if status:
            raise RuntimeError(f"llama.cpp could not evaluate a batch: {status}")
        seconds = [end - start for start, end in zip(starts, ends, strict=True)]
        return {"wall": wall, "seconds": seconds}

    def _decode(self, batch: Any) -> None:
        status = llama_cpp.llama_decode(self._plain.context, batch)
        if status:
            raise RuntimeError(f"llama.cpp could not evaluate a fixed prompt: {status}")

    def _load_adapters(self) -> dict[str, tuple[Any, Any]]:
        """Each adapter's pointer and scale, as `llama_set_adapters_lora` takes them."""
        loaded = {}
        for skill in self._skills.values():
            path = skill["adapter"]
            if path and path not in loaded:
                pointer = llama_cpp.llama_adapter_lora_init(self._plain.model, path.encode())
                if not pointer:
                    raise RuntimeError(f"llama.cpp cannot load {path}")
                array = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(pointer)
                loaded[path] = (array, (ctypes.c_float * 1)(1.0))
        return loaded

    def _use(self, adapter: str | None) -> None:
        if adapter == self._adapter:
            return
        array, scale = self._adapters[adapter] if adapter else (None, None)
        context = self._plain.context
        if llama_cpp.llama_set_adapters_lora(context, array, 1 if adapter else 0, scale):
            raise RuntimeError("llama.cpp cannot apply an adapter")
        self._adapter = adapter
        self._plain.forget()


def task_of(index: int, call: dict[str, Any], evaluation: Evaluation) -> Task:
    """The rows of each batch that a call takes part in."""
    leaves = [
        node.path
        for node in evaluation.nodes
        if not any(other.path[:-1] == node.path for other in evaluation.nodes)
    ]
    everyone = tuple(range(max(1, len(leaves))))
    position = evaluation.fixed
    steps = deque()
    for tokens in evaluation.steps:
        last = len(tokens) - 1
        steps.append([(token, position + n, everyone, n == last) for n, token in enumerate(tokens)])
        position += len(tokens)
    for node in evaluation.nodes:
        below = tuple(n for n, leaf in enumerate(leaves) if leaf[: len(node.path)] == node.path)
        place = position + len(node.path) - 1
        steps[0].append((node.path[-1], place, below, bool(node.children)))
    return Task(index, call["skill"], steps, len(everyone))


def make_batch(rows: Sequence[Row]) -> Any:
    batch = llama_cpp.llama_batch_init(len(rows), 0, max(len(row.sequences) for row in rows))
    batch.n_tokens = len(rows)
    for index, row in enumerate(rows):
        batch.token[index] = row.token
        batch.pos[index] = row.position
        batch.n_seq_id[index] = len(row.sequences)
        for place, sequence in enumerate(row.sequences):
            batch.seq_id[index][place] = sequence
        batch.logits[index] = row.wanted
    return batch


if __name__ == "__main__":
    serve(Floor)
