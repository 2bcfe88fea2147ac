"""Workloads that were converted: which calls are of one, and what answers these now.

A registry says it, and is followed while calls come: what it says anew is read and loaded beside
them, and takes over once it is ready. Until then, and wherever something of it cannot be read,
calls go where they went before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from hetagent.bound import Bound, BoundSkills, Choice, Open, open_binding
from hetagent.errors import MissingExtraError, RegistryError
from hetagent.gateway.calls import Call
from hetagent.gateway.tallies import Tally
from hetagent.learn.cluster.embed import Embed, wordllama
from hetagent.learn.cluster.read import as_record
from hetagent.learn.cluster.workload import Workload
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Task
from hetagent.options import Options
from hetagent.orchestrator import Orchestrator
from hetagent.policy import Threshold
from hetagent.raised import raised
from hetagent.registry import Binding, Registry, State
from hetagent.registry.log import Version
from hetagent.shadow import Shadows
from hetagent.skill import Skill

__all__ = ["Conversions", "Converted", "Part", "Turn"]

_log = logging.getLogger("hetagent")

_WORKLOADS = "workloads"
# Telling what a call is of takes about half a millisecond, and the longer the prompt the more:
# beyond so many bytes other calls would wait for it.
_READ_AT_ONCE = 16 * 1024
_MOST_TOLD = 100
_UNCERTIFIED = Threshold(0.9)
_SECONDS_UNTIL_AGAIN = 1.0
"""How long a log that cannot be read is left alone where it stays as it is."""


@dataclass(frozen=True, slots=True)
class Converted(Bound):
    """A binding of a converted workload, loaded.

    Attributes:
        task: The workload as a skill.
        workloads: Those that were known when it was made, which tell calls that say nothing;
            ``None`` where none were kept.
        recorded: What is known of the workload itself, likewise.
        agent: Runs the skill on the binding's model alone.
    """

    task: Task
    workloads: Workloads | None
    recorded: Workload | None
    agent: Orchestrator


@dataclass(frozen=True, slots=True)
class Part:
    """What a binding has to do with a call.

    Attributes:
        bound: The binding.
        row: The skill's inputs in the call; ``None`` where the call is of the workload, and asks
            for something that the skill cannot give.
    """

    bound: Converted
    row: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """How a call of a converted workload is to be answered.

    Attributes:
        serving: What answers it, if it is sure; ``None`` where only the LLM does.
        shadow: What answers it, too, without being heard.
    """

    serving: Part | None
    shadow: Part | None

    @property
    def task(self) -> Task:
        """The workload, as the binding that serves has it, or else the shadow."""
        part = self.serving or self.shadow
        assert part is not None  # a turn is of one of them
        return part.bound.task

    @property
    def fits(self) -> bool:
        """Whether a skill can answer the call."""
        return any(one is not None and one.row is not None for one in (self.serving, self.shadow))


class Conversions:
    """Follows a registry, and tells which calls are of workloads that it has converted.

    Several upstreams share one, so that each model is loaded once.

    Args:
        registry: It, or its folder.
        timeout: Seconds that a small model may take for a call.
        embed: The function that workloads were found with.
        open_with: Loads a binding; see `hetagent.bound.open_binding`.

    Attributes:
        registry: What is followed.
        shadows: Bindings in shadow mode.
        options: How skills are run; the policy is that of bindings without a certificate.
    """

    def __init__(
        self,
        registry: Registry | str | os.PathLike[str],
        *,
        timeout: float = 10.0,
        embed: Embed = wordllama,
        open_with: Open = open_binding,
    ) -> None:
        self.registry = registry if isinstance(registry, Registry) else Registry(registry)
        self.shadows = Shadows(self.registry)
        self.options = Options(_UNCERTIFIED, "whole", timeout, 1, progress=False, breaker=None)
        self._embed = embed
        self._open_with = open_with
        self._bound = BoundSkills(self.registry, open_with=self._open)
        self._tasks: Mapping[str, Task] = {}
        self._tallies: dict[str, Tally] = {}
        self._known: WeakValueDictionary[str, Workloads] = WeakValueDictionary()
        self._unread: dict[str, str] = {}
        self._problem: str | None = None
        self._told: set[str] = set()
        self._seen: Version | None = None
        self._again = -math.inf
        self._lock = threading.Lock()
        self._follower = ThreadPoolExecutor(1, thread_name_prefix="hetagent-conversions")

    def load(self) -> None:
        """Load all that serves now, before the first call."""
        self._look()
        self._follower.submit(lambda: None).result()

    async def turn(self, call: Call) -> Turn | None:
        """How a call is to be answered; ``None`` where it is of no converted workload.

        It raises nothing: what cannot be told goes where it went before.
        """
        # In the calls that were learned from nobody talks with the model.
        if call.form not in ("openai.chat", "anthropic.messages") or call.marks.interactive:
            return None
        try:
            self._look()
            key = call.marks.conversation or call.marks.trace or call.id
            found = [await self._bound.choice(one.skill, key=key) for one in self._tasks.values()]
            some = [one for one in found if one is not None and (one.serving or one.shadow)]
            if not some:
                return None
            if len(call.body) <= _READ_AT_ONCE:
                return _turn(call, some)
            return await asyncio.to_thread(_turn, call, some)
        except Exception as error:
            self._note(f"Calls go on to the LLM: {raised(error)}")
            return None

    def tally(self, skill: str) -> Tally:
        """What became of the calls of a skill so far."""
        return self._tallies.setdefault(skill, Tally())

    def status(self) -> dict[str, Any]:
        """What is converted and what became of it, as JSON data.

        Returns:
            The ``registry``'s folder; its ``skills`` by name, each with the ``workload``, the
            ``mode``, the ids of the ``binding`` and of the one on ``trial``, and the counts of
            `hetagent.gateway.tallies.Tally.to_dict`; ``failures``: why bindings cannot be used,
            by id; ``not_compared``: calls of which a shadow's answer was not compared; and the
            ``last_error`` in reading the registry or a call.
        """
        with self._lock:
            failures, problem = dict(self._unread), self._problem
        return {
            "registry": str(self.registry.folder),
            "skills": {name: self._skill_status(name) for name in sorted(self._tasks)},
            "failures": {**failures, **self._bound.failures()},
            "not_compared": self.shadows.left_out,
            "last_error": problem,
        }

    def _skill_status(self, name: str) -> dict[str, Any]:
        try:
            state = self.registry.state(name)
        except RegistryError:
            state = None  # the last error says it
        return {
            "workload": self._tasks[name].workload,
            "mode": None if state is None else state.mode,
            "binding": None if state is None or state.live is None else state.live.id,
            "trial": None if state is None or state.trial is None else state.trial.id,
            **self.tally(name).to_dict(),
        }

    def _look(self) -> None:
        """Follow the registry where it says something new; costs a look at a file's metadata."""
        try:
            version = self.registry.version()
        except RegistryError:
            version = None  # reading it says why
        if version != self._seen or time.monotonic() > self._again:
            self._seen, self._again = version, math.inf
            self._follower.submit(self._follow)

    def _follow(self) -> None:
        """Read what the registry says, and load it."""
        try:
            states = self.registry.states()
        except RegistryError as error:
            self._note(f"Calls go on as before: {error}")
            self._again = time.monotonic() + _SECONDS_UNTIL_AGAIN
            return
        self._note(None)
        for name, state in states.items():
            task = self._tasks.get(name) or self._task_of(state)
            if task is None:
                continue
            try:
                self._bound.load(task.skill)
            except Exception as error:
                self._note(f"Calls of {name} go on as before: {raised(error)}")
            # Only now: a call does not wait until a model is loaded.
            self._tasks = {**self._tasks, name: task}

    def _task_of(self, state: State) -> Task | None:
        """The workload that a skill was made of; ``None`` where no binding of it says one."""
        for binding in (state.live, state.trial):
            if binding is None or binding.task is None:
                continue
            try:
                return self._task(binding)
            except Exception as error:
                self._leave_out(binding, raised(error))
        return None

    def _open(self, binding: Binding, registry: Registry, skill: Skill[Any, Any]) -> Converted:
        """Load a binding, with the task that it was made for: that of another may differ."""
        task = self._task(binding)
        workloads = self._workloads(binding)
        found = self._open_with(binding, registry, task.skill)
        agent = Orchestrator(
            found.model,
            policy=found.policy or self.options.policy,
            timeout=self.options.timeout,
            progress=False,
        )
        recorded = next((one for one in workloads or () if one.name == task.workload), None)
        return Converted(found.binding, found.model, found.policy, task, workloads, recorded, agent)

    def _task(self, binding: Binding) -> Task:
        if binding.task is None:
            raise RegistryError(
                f"The binding {binding.id} does not say how calls of {binding.skill} are read.",
                hint="Convert a workload: `hetagent convert`.",
            )
        task = Task.from_dict(json.loads(self.registry.read(binding.task)))
        if task.name != binding.skill:
            raise RegistryError(
                f"The binding {binding.id} is of {binding.skill}, and its task of {task.name}.",
                hint="Convert the workload again.",
            )
        return task

    def _workloads(self, binding: Binding) -> Workloads | None:
        """Those of a binding; bindings that were made of the same share them."""
        kept = binding.lineage.get(_WORKLOADS)
        if kept is None or not self.registry.has(kept):
            return None  # then it gets the calls that say whose they are
        with self._lock:
            known = self._known.get(kept)
        if known is None:
            known = Workloads.from_bytes(self.registry.read(kept), embed=self._embed)
            with contextlib.suppress(MissingExtraError):  # words alone may tell all of them
                self._embed([""])  # so that the first call does not wait for it
            with self._lock:
                known = self._known.setdefault(kept, known)
        return known

    def _leave_out(self, binding: Binding, why: str) -> None:
        with self._lock:
            new = binding.id not in self._unread
            self._unread[binding.id] = why
        if new:
            _log.warning(
                "The binding %s of %s cannot be used, and calls go on without it: %s",
                binding.id, binding.skill, why,
            )  # fmt: skip

    def _note(self, problem: str | None) -> None:
        """Keep what went wrong last, and log it the first time."""
        with self._lock:
            self._problem = problem
            if problem is None or problem in self._told or len(self._told) == _MOST_TOLD:
                return
            self._told.add(problem)
        _log.error("%s", problem)


def _turn(call: Call, choices: Sequence[Choice]) -> Turn | None:
    """What the skills that are served have to do with a call; the first that can answer it."""
    assert call.form is not None
    record = as_record(call.data, form=call.form).with_(workload=call.marks.workload)
    names: dict[int, str | None] = {}
    unfit = None
    for choice in choices:
        found = Turn(_part(choice.serving, record, names), _part(choice.shadow, record, names))
        if found.fits:
            return found
        if unfit is None and (found.serving or found.shadow):
            unfit = found
    return unfit


def _part(bound: Bound | None, record: CallRecord, names: dict[int, str | None]) -> Part | None:
    """What a binding has to do with a call.

    Args:
        bound: The binding.
        record: The call.
        names: The workloads of the call that were told so far, by what told them.
    """
    if not isinstance(bound, Converted):
        return None
    name = record.workload
    if name is None and bound.workloads is not None:
        known = id(bound.workloads)
        if known not in names:
            names[known] = bound.workloads.assign(record)
        name = names[known]
    if name != bound.task.workload:
        return None
    return Part(bound, bound.task.row(record, workload=name))
