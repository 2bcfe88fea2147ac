"""The one stateful object at run time: ask the SLM, score, decide, ask the LLM, report.

`run`, `arun`, `map` and `amap` are one code path, `Orchestrator._serve`; the synchronous ones wait
for the asynchronous ones in a background thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from contextvars import Token as ContextToken
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from hetagent import portal, telemetry
from hetagent.assembly import Assembly, nothing
from hetagent.attempt import Attempt, checked, explain, read
from hetagent.errors import (
    InputError,
    SkillError,
)
from hetagent.escalation import FieldQuestion, field_question
from hetagent.models.base import Model, Request, as_model
from hetagent.outcome import Call, Outcome, Usage
from hetagent.policy import Decision, Policy, Scored, Threshold
from hetagent.progress import Progress
from hetagent.skill import Runner, Skill, current_runner

__all__ = ["Orchestrator"]

P = ParamSpec("P")
R = TypeVar("R")
Role = Literal["slm", "llm"]

_log = logging.getLogger("hetagent")

# How to leave each ``with agent:`` that is open; a thread and a task each have their own.
_entered: ContextVar[tuple[ContextToken[Runner | None], ...]] = ContextVar(
    "hetagent_entered", default=()
)


@dataclass(frozen=True, slots=True)
class _Options:
    policy: Policy
    escalate: Literal["whole", "fields"]
    timeout: float | None
    concurrency: int
    progress: bool | None


class Orchestrator:
    """Runs skills on a small model, and calls an LLM only where that is not sure enough.

    Args:
        slm: The small model, asked first; a skill may have one of its own.
        llm: The model to escalate to; ``None`` for none.
        policy: Decides what is sure enough; a number stands for ``Threshold(number)``.
        escalate: ``"whole"`` has the LLM answer anew; ``"fields"`` asks it only for a record's
            weak fields, with the others given as known.
        timeout: Seconds one model call may take; ``None`` for no limit of ours.
        concurrency: How many inputs `map` has under way at once.
        progress: Whether `map` shows a progress bar; ``None``: on a terminal.

    Raises:
        SkillError: An option is out of range.
    """

    def __init__(
        self,
        slm: Model | None = None,
        *,
        llm: Model | None = None,
        policy: Policy | float = 0.9,
        escalate: Literal["whole", "fields"] = "whole",
        timeout: float | None = None,
        concurrency: int = 8,
        progress: bool | None = None,
    ) -> None:
        self.slm = as_model(slm, "slm")
        self.llm = as_model(llm, "llm")
        self._options = _checked(
            _Options(_as_policy(policy), escalate, timeout, concurrency, progress)
        )

    def with_options(
        self,
        *,
        policy: Policy | float | None = None,
        escalate: Literal["whole", "fields"] | None = None,
        timeout: float | EllipsisType | None = ...,
        concurrency: int | None = None,
        progress: bool | EllipsisType | None = ...,
    ) -> Orchestrator:
        """The same models under other options; those that are not given stay as they are."""
        old = self._options
        other = Orchestrator(self.slm, llm=self.llm)
        other._options = _checked(
            _Options(
                old.policy if policy is None else _as_policy(policy),
                old.escalate if escalate is None else escalate,
                old.timeout if isinstance(timeout, EllipsisType) else timeout,
                old.concurrency if concurrency is None else concurrency,
                old.progress if isinstance(progress, EllipsisType) else progress,
            )
        )
        return other

    def run(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run a skill once.

        Returns:
            The outcome; ``served_by`` is ``"none"`` where no model gave an acceptable answer.

        Raises:
            InputError: An input cannot be given to any model.
            SkillError: The arguments do not fit, or there is no model at all.
        """
        return portal.call(self.arun(skill, *args, **kwargs))

    async def arun(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run a skill once, from asynchronous code; see `run`. Cancelling stops the model."""
        self._require_models(skill)
        return await self._serve(skill, skill.request(*args, **kwargs))

    def map(self, skill: Skill[P, R], rows: Iterable[Any], /) -> list[Outcome[R]]:
        """Run a skill over many inputs.

        A row is the input itself for a skill of one parameter, otherwise a dict by name or a tuple
        in order. A row that cannot be used becomes an outcome with the reason ``invalid_input``;
        the others go on. After Ctrl-C the outcomes that are finished are returned, and the others
        have the reason ``cancelled``.

        Returns:
            One outcome for each row, in order.

        Raises:
            SkillError: There is no model at all.
        """
        rows = _listed(rows)
        done: dict[int, Outcome[R]] = {}
        try:
            portal.call(self._fill(skill, rows, done))
        except KeyboardInterrupt:
            _log.warning("Interrupted: %d of %d rows are finished.", len(done), len(rows))
        return [done.get(index) or nothing(skill, "cancelled", None) for index in range(len(rows))]

    async def amap(self, skill: Skill[P, R], rows: Iterable[Any], /) -> list[Outcome[R]]:
        """Run a skill over many inputs, from asynchronous code; see `map`.

        Raises:
            asyncio.CancelledError: The task was cancelled; nothing is under way any more.
        """
        rows = _listed(rows)
        done: dict[int, Outcome[R]] = {}
        await self._fill(skill, rows, done)
        return [done[index] for index in range(len(rows))]

    def __enter__(self) -> Self:
        """Make plain calls of skills, such as ``intent("…")``, run here."""
        _entered.set((*_entered.get(), current_runner.set(self)))
        return self

    def __exit__(self, *_: object) -> None:
        *outer, token = _entered.get()
        _entered.set(tuple(outer))
        current_runner.reset(token)

    async def _fill(
        self, skill: Skill[Any, R], rows: Sequence[Any], done: dict[int, Outcome[R]]
    ) -> None:
        """Finish rows in any order, a bounded number at once."""
        self._require_models(skill)
        waiting = iter(range(len(rows)))
        with Progress(skill.name, total=len(rows), show=self._options.progress) as progress:

            async def work() -> None:
                for index in waiting:
                    done[index] = await self._row(skill, rows[index])
                    progress.advance(escalated=done[index].escalated)

            workers = [
                asyncio.create_task(work())
                for _ in range(min(self._options.concurrency, len(rows)))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _row(self, skill: Skill[Any, R], row: Any) -> Outcome[R]:
        try:
            args, kwargs = skill.bind_row(row)
            request = skill.request(*args, **kwargs)
        except (InputError, SkillError) as error:
            return nothing(skill, "invalid_input", error)
        return await self._serve(skill, request)

    async def _serve(self, skill: Skill[Any, R], request: Request) -> Outcome[R]:
        """The one path from a request to an outcome."""
        with telemetry.skill_span(skill.name) as span:
            run = Assembly(skill, request, span.trace_id)
            slm = skill.model or self.slm
            if slm is None or not self._options.policy.asks_slm(skill.name):
                outcome = await self._escalate(run, Decision("escalate", "policy"), None)
            else:
                answer = await self._ask("slm", slm, run, request)
                decision = self._decide(skill.name, answer)
                if decision.action == "accept":
                    outcome = run.accepted(answer)
                else:
                    outcome = await self._escalate(run, decision, answer)
            span.end(outcome)
            return outcome

    def _decide(self, skill: str, answer: Attempt) -> Decision:
        if not answer.valid or answer.score is None:
            return Decision("escalate", answer.reason)
        fields = {path: s.confidence or 0.0 for path, s in answer.score.fields.items()}
        known = answer.score.confidence
        decision = self._options.policy.decide(Scored(skill, known or 0.0, fields))
        if known is None and decision.action != "accept":
            return replace(decision, reason="no_confidence", fields=())
        return decision

    async def _escalate(
        self, run: Assembly[R], decision: Decision, draft: Attempt | None
    ) -> Outcome[R]:
        """Ask the LLM, for the weak fields where that is wanted and can be, or else for all."""
        if self.llm is None or decision.action == "abstain":
            return run.unserved(decision, draft, draft.error if draft else None)
        question = self._field_question(run, decision, draft)
        if question is not None and draft is not None:
            answer = await self._ask("llm", self.llm, run, question.request)
            if answer.valid:
                merged = run.merged(question, decision, draft=draft, attempt=answer)
                if merged is not None:
                    return merged
            # An LLM that is down will not be up a moment later; one that erred is asked for all.
            if answer.reason in ("model_error", "timeout"):
                return run.unserved(decision, draft, answer.error)
        answer = await self._ask("llm", self.llm, run, run.request)
        if not answer.valid:
            return run.unserved(decision, draft, answer.error)
        return run.by_llm(answer, decision, draft)

    def _field_question(
        self, run: Assembly[R], decision: Decision, draft: Attempt | None
    ) -> FieldQuestion | None:
        if self._options.escalate != "fields" or draft is None or not draft.valid:
            return None
        return field_question(
            run.request, instructions=run.skill.instructions, draft=draft.json, weak=decision.fields
        )

    async def _ask(self, role: Role, model: Model, run: Assembly[R], request: Request) -> Attempt:
        """Call a model; whatever happens becomes an answer or a reason, and is counted."""
        began = time.perf_counter()
        with telemetry.call_span(role, model.name, request) as span:
            try:
                async with asyncio.timeout(self._options.timeout):
                    completion = await model.complete(request)
                checked(completion, request)
            except Exception as error:
                problem, reason = explain(error, model, limit=self._options.timeout)
                span.failed(problem)
                usage = problem.usage or Usage()
                call = Call(role, model.name, usage, _timed(began), problem.attempts, problem)
                run.calls.append(call)
                return Attempt(call, reason=reason, error=problem)
            span.answered(completion)
        seconds = {**completion.seconds, **_timed(began)}
        call = Call(role, completion.model, completion.usage, seconds, completion.attempts)
        run.calls.append(call)
        return read(completion, request, call)

    def _require_models(self, skill: Skill[Any, Any]) -> None:
        if not isinstance(skill, Skill):
            raise SkillError(f"{skill!r} is not a skill.", hint="Decorate it with @skill.")
        if self.slm is None and self.llm is None and skill.model is None:
            raise SkillError(
                "The orchestrator has no model.",
                hint='Give it one: Orchestrator(slm=LlamaCpp("smollm2-135m-instruct")).',
            )


def _timed(began: float) -> dict[str, float]:
    return {"total": time.perf_counter() - began}


def _listed(rows: Iterable[Any]) -> list[Any]:
    if isinstance(rows, str | bytes | Mapping):
        raise SkillError(
            f"map was given one {type(rows).__name__} instead of rows.",
            hint="Give a list of inputs; agent.run(...) takes a single one.",
        )
    return list(rows)


def _as_policy(policy: Policy | float) -> Policy:
    if isinstance(policy, int | float) and not isinstance(policy, bool):
        return Threshold(float(policy))
    if not isinstance(policy, Policy):
        raise SkillError(
            f"policy is {policy!r}.",
            hint="Give a number, Threshold(0.9, skills={...}), or a Policy of your own.",
        )
    return policy


def _checked(options: _Options) -> _Options:
    limit = options.timeout
    checks = {
        "escalate": (options.escalate in ("whole", "fields"), "'whole' or 'fields'"),
        "timeout": (
            limit is None or (isinstance(limit, int | float) and limit > 0),
            "seconds above 0, or None",
        ),
        "concurrency": (
            isinstance(options.concurrency, int) and options.concurrency >= 1,
            "a whole number of at least 1",
        ),
    }
    for name, (fine, allowed) in checks.items():
        if not fine:
            raise SkillError(
                f"{name} is {getattr(options, name)!r}.", hint=f"It must be {allowed}."
            )
    return options
