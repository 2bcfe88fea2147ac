"""Replays a workflow's function under every choice between the SLM's and the LLM's answers.

A request is asked once of each model, whatever number of replays it occurs in. The first replay
has the LLM's answers throughout; each step at which the SLM's differs opens another, so that there
are at most 2^d replays for d steps at which they differ, and one where they always agree.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hetagent.calibrate.replays import Replay, Run, Step
from hetagent.errors import BudgetError, HetagentError, InputError
from hetagent.evidence import by_field
from hetagent.models.base import Request
from hetagent.outcome import FieldOutcome, Outcome
from hetagent.skill import Skill
from hetagent.steps import call_function, current_steps

if TYPE_CHECKING:
    from hetagent.orchestrator import Orchestrator

__all__ = ["Example", "Reference", "Replays", "Serve", "replay_all"]

_log = logging.getLogger("hetagent")

Reference: TypeAlias = Callable[[Skill[Any, Any], str], Any]
"""Answers a step in the LLM's place, given the skill and its inputs as models are shown them."""

Key: TypeAlias = tuple[str, str]
Serve: TypeAlias = Callable[[Skill[Any, Any], Request], Awaitable[Outcome[Any]]]


@dataclass(slots=True)
class Replays:
    """What came of all examples.

    Attributes:
        runs: The replays of each example, in order.
        skills: The skills called, by name.
        prices: Of each example: the skill of each step of its first replay, and what the LLM's
            answer cost, in US dollars; ``None`` where that is not known.
        raised: Replays in which the function raised an error.
        unexplored: Choices that were not replayed, and count as wrong.
    """

    runs: list[Run] = field(default_factory=list)
    skills: dict[str, Skill[Any, Any]] = field(default_factory=dict)
    prices: list[tuple[tuple[str, float | None], ...]] = field(default_factory=list)
    raised: int = 0
    unexplored: int = 0


@dataclass(frozen=True, slots=True)
class _Answers:
    """Both models' answers to one request."""

    slm: Outcome[Any]
    llm: Outcome[Any]
    agree: bool


class _Memory:
    """Asks each model each request once; its coroutines all run in the portal's loop."""

    def __init__(self, slm: Serve, llm: Serve) -> None:
        self._slm = slm
        self._llm = llm
        self._asked: dict[Key, asyncio.Task[_Answers]] = {}
        self.skills: dict[str, Skill[Any, Any]] = {}

    async def answers(self, skill: Skill[Any, Any], request: Request) -> tuple[Key, _Answers]:
        known = self.skills.setdefault(skill.name, skill)
        if (known.model, known.messages) != (skill.model, skill.messages):
            raise InputError(
                f"The workflow calls two different skills named {skill.name}.",
                hint="Give them different names: thresholds are kept by name.",
            )
        key = (skill.name, request.messages[-1].content)
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._both(skill, request))
        return key, await asyncio.shield(self._asked[key])

    async def _both(self, skill: Skill[Any, Any], request: Request) -> _Answers:
        slm, llm = await asyncio.gather(self._slm(skill, request), self._llm(skill, request))
        if llm.reason == "budget" and llm.error is not None:
            raise llm.error
        served = slm.served_by == "slm" and llm.served_by == "llm"
        to_json = skill.output.to_json
        return _Answers(slm, llm, served and to_json(slm.value) == to_json(llm.value))


class _Replaying:
    """Serves the steps of one replay of one example."""

    def __init__(self, agent: Orchestrator, memory: _Memory, forced: Mapping[Key, bool]) -> None:
        self._agent = agent
        self._memory = memory
        self._forced = forced
        self.steps: list[tuple[Key, _Answers]] = []
        # What ends the calibration, whatever the function makes of it.
        self.fatal: HetagentError | None = None

    def takes(self, agent: Orchestrator) -> bool:
        return agent._admission is self._agent._admission

    async def step(
        self,
        skill: Skill[Any, Any],
        request: Request,
        tell: Callable[[str, FieldOutcome], None] | None,
    ) -> Outcome[Any]:
        token = current_steps.set(None)
        try:
            key, answers = await self._memory.answers(skill, request)
        except (BudgetError, InputError) as error:
            self.fatal = error
            raise
        finally:
            current_steps.reset(token)
        self.steps.append((key, answers))
        outcome = answers.slm if self._forced.get(key, False) else answers.llm
        for path, one in outcome.fields.items() if tell is not None else ():
            tell(path, one)  # type: ignore[misc]
        return outcome


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled run.

    Attributes:
        args: Positional arguments of the function.
        kwargs: Named ones.
        right: Whether a final value is right.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    right: Callable[[Any], bool]


@dataclass(slots=True)
class _Explored:
    run: Run
    prices: tuple[tuple[str, float | None], ...]
    raised: list[Exception]
    unexplored: int


def replay_all(
    agent: Orchestrator,
    function: Callable[..., Any],
    examples: Sequence[Example],
    *,
    slm: Serve,
    llm: Serve,
    max_replays: int,
    concurrency: int,
) -> Replays:
    """Replay a function on examples, several of them at once, each in a thread of its own.

    Args:
        agent: Whose skill calls are steps.
        function: The workflow; plain or asynchronous.
        examples: Inputs and labels.
        slm: Serves a request by the small model alone.
        llm: Serves a request by the LLM alone.
        max_replays: Of one example; choices beyond them count as wrong.
        concurrency: Examples under way at once.

    Raises:
        InputError: The function does not do the same when it is given the same answers, or it
            raises an error on every example.
    """
    memory = _Memory(slm, llm)
    explorer = _Explorer(agent, function, memory, max_replays)
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="hetagent-workflow")
    try:
        futures = [
            pool.submit(contextvars.copy_context().run, explorer.explore, example)
            for example in examples
        ]
        explored = [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    raised = [error for one in explored for error in one.raised]
    if explored and all(one.raised for one in explored):
        raise InputError(
            f"The workflow raised an error on every example, such as "
            f"{type(raised[0]).__name__}: {raised[0]}",
            hint="Run it once by hand; an LLM that gives no answer also raises one.",
        ) from raised[0]
    unexplored = sum(one.unexplored for one in explored)
    if unexplored:
        _log.warning(
            "%d choices of %d examples were not replayed and count as wrong; raise max_replays.",
            unexplored,
            sum(one.unexplored > 0 for one in explored),
        )
    prices = [one.prices for one in explored]
    runs = [one.run for one in explored]
    return Replays(runs, memory.skills, prices, len(raised), unexplored)


@dataclass(frozen=True, slots=True)
class _Explorer:
    agent: Orchestrator
    function: Callable[..., Any]
    memory: _Memory
    max_replays: int

    def explore(self, example: Example) -> _Explored:
        """All replays of one example, those with few answers of the SLM's first."""
        numbers: dict[Key, int] = {}
        replays: list[Replay] = []
        raised: list[Exception] = []
        prices: tuple[tuple[str, float | None], ...] = ()
        waiting: deque[dict[Key, bool]] = deque([{}])
        while waiting and len(replays) < self.max_replays:
            forced = waiting.popleft()
            steps, right = self._replay(example, forced, raised)
            if not replays:
                prices = tuple((key[0], found.llm.cost_usd) for key, found in steps)
            replays.append(_told(steps, forced, right, numbers))
            differ = dict.fromkeys(
                key for key, found in steps if _differs(found) and key not in forced
            )
            for count, key in enumerate(differ):
                waiting.append({**forced, **dict.fromkeys([*differ][:count], False), key: True})
        left = [_told(self._known(each), each, False, numbers) for each in waiting]
        return _Explored((*replays, *left), prices, raised, len(left))

    def _replay(
        self, example: Example, forced: Mapping[Key, bool], raised: list[Exception]
    ) -> tuple[list[tuple[Key, _Answers]], bool]:
        serving = _Replaying(self.agent, self.memory, forced)
        right = False
        try:
            value = call_function(self.agent, serving, self.function, example.args, example.kwargs)
        except Exception as error:  # whatever the function raises is what its caller would get
            raised.append(error)
        else:
            right = bool(example.right(value))
        if serving.fatal is not None:
            raise serving.fatal
        if missing := set(forced) - {key for key, _ in serving.steps}:
            skill = next(iter(missing))[0]
            raise InputError(
                f"The workflow asked something else of {skill} when it was run again with the "
                "same answers.",
                hint="It must do the same whenever it gets the same inputs and answers: keep "
                "chance, clocks and state of its own out of it.",
            )
        return serving.steps, right

    def _known(self, forced: Mapping[Key, bool]) -> list[tuple[Key, _Answers]]:
        return [(key, self.memory._asked[key].result()) for key in forced]


def _differs(found: _Answers) -> bool:
    return bool(found.slm.evidence) and found.slm.served_by == "slm" and not found.agree


def _told(
    steps: Sequence[tuple[Key, _Answers]],
    forced: Mapping[Key, bool],
    right: bool,
    numbers: dict[Key, int],
) -> Replay:
    told = []
    for key, found in steps:
        usable = found.slm.served_by == "slm" and found.slm.evidence
        told.append(
            Step(
                numbers.setdefault(key, len(numbers)),
                key[0],
                by_field(found.slm.evidence)[""] if usable else None,
                found.agree,
                forced.get(key, False),
            )
        )
    return Replay(tuple(told), right)
