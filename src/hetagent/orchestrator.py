"""The one stateful object at run time: models, options, spending, and the ways to run a skill.

All of these ways are one code path, `hetagent.serving`; the synchronous ones wait for the
asynchronous ones in a background thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from contextvars import Token as ContextToken
from dataclasses import replace
from types import EllipsisType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from hetagent import portal, telemetry
from hetagent.admission import Admission, Scope, scope
from hetagent.assembly import Assembly, nothing
from hetagent.audit import Audit
from hetagent.audited import Audited, auditing_of
from hetagent.binding import Bindings
from hetagent.breaker import Breaker
from hetagent.budget import AtCap, Budget, Spent, check_caps
from hetagent.calibrated import Calibrated
from hetagent.errors import BudgetError, InputError, SkillError
from hetagent.field_stream import AsyncFieldStream, FieldStream
from hetagent.models.base import Model, Request, as_model
from hetagent.options import Options, as_captures, as_ladder, as_policy, require_models
from hetagent.outcome import Outcome
from hetagent.policy import Policy
from hetagent.progress import Progress
from hetagent.registry import Registry
from hetagent.rows import fill, listed
from hetagent.serving import Serving, Tell
from hetagent.sink import Captures, OutcomeLog, Sink, capturing
from hetagent.skill import Runner, Skill, current_runner
from hetagent.steps import current_steps
from hetagent.switched import Run, Switched

__all__ = ["Orchestrator"]

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("hetagent")

# How to leave each ``with agent:`` that is open; a thread and a task each have their own.
_entered: ContextVar[tuple[ContextToken[Runner | None], ...]] = ContextVar(
    "hetagent_entered", default=()
)


class Orchestrator(Audited, Calibrated):
    """Runs skills on a small model, and calls an LLM only where that is not sure enough.

    Args:
        slm: The small model, asked first; a skill may have one of its own.
        llm: The model to escalate to; several are a ladder, asked one after the other; ``None``
            for none.
        policy: Decides what is sure enough; a number stands for ``Threshold(number)``.
        escalate: ``"whole"`` has the LLM answer anew; ``"fields"`` asks it only for a record's
            weak fields, with the others given as known.
        timeout: Seconds one model call may take; ``None`` for no limit of ours.
        concurrency: How many inputs `map` has under way at once.
        progress: Whether `map` shows a progress bar; ``None``: on a terminal.
        budget: Caps on what model calls cost and take; ``None`` for none.
        breaker: When an LLM that fails is left alone for a while; ``None`` for never.
        audit: How answers that were accepted under a certificate are checked; ``None`` for not.
        log: Where each outcome is recorded: a file of JSON lines, without inputs and answers, or
            a sink of your own.
        record: Where each call is kept with all that was asked and answered: a
            `hetagent.Recorder`.
        registry: A registry of bindings, or its folder. Skills that it knows run on what they are
            switched to, instead of on ``slm`` or a model of their own under ``policy``, and on the
            LLM alone where that is nothing; switches are followed at once.

    Attributes:
        slm: The small model, or ``None``.
        llm: The first LLM, or ``None``.
        llms: All LLMs, in the order in which they are asked.

    Raises:
        SkillError: An option is out of range.
    """

    def __init__(
        self,
        slm: Model | None = None,
        *,
        llm: Model | Sequence[Model] | None = None,
        policy: Policy | float = 0.9,
        escalate: Literal["whole", "fields"] = "whole",
        timeout: float | None = None,
        concurrency: int = 16,
        progress: bool | None = None,
        budget: Budget | None = None,
        breaker: Breaker | None = Breaker(),  # noqa: B008 - it is frozen
        audit: Audit | None = None,
        log: Sink | str | os.PathLike[str] | None = None,
        record: Captures | None = None,
        registry: Registry | str | os.PathLike[str] | None = None,
    ) -> None:
        self.slm: Model | None = as_model(slm, "slm")
        self.llms: tuple[Model, ...] = as_ladder(llm)
        self._options = Options(
            as_policy(policy), escalate, timeout, concurrency, progress, budget, breaker
        )
        self._admission = Admission()
        self._bindings = Bindings()
        self._auditing = auditing_of(audit, llms=self.llms, admission=self._admission)
        self._outcome_log = None if log is None else OutcomeLog(log)
        self._captures = as_captures(record)
        self._switched = None if registry is None else Switched(registry)

    @property
    def llm(self) -> Model | None:
        """The first LLM, or ``None``."""
        return self.llms[0] if self.llms else None

    @property
    def spent(self) -> Spent:
        """What was spent so far, by this orchestrator and those made of it by `with_options`."""
        return self._admission.spent(self._options.budget)

    @property
    def unrecorded(self) -> int:
        """Outcomes that ``log=`` could not take, for want of room on the disk, say."""
        return self._outcome_log.lost if self._outcome_log is not None else 0

    def with_options(
        self,
        *,
        policy: Policy | float | None = None,
        escalate: Literal["whole", "fields"] | None = None,
        timeout: float | EllipsisType | None = ...,
        concurrency: int | None = None,
        progress: bool | EllipsisType | None = ...,
        budget: Budget | EllipsisType | None = ...,
        breaker: Breaker | EllipsisType | None = ...,
        audit: Audit | EllipsisType | None = ...,
    ) -> Orchestrator:
        """The same models under other options; those that are not given stay as they are.

        What was spent counts for both, both have one log and one record, and audits count for both
        unless other ones are given.
        """
        old = self._options
        other = Orchestrator(self.slm, llm=self.llms)
        other._admission, other._captures = self._admission, self._captures
        other._outcome_log, other._switched = self._outcome_log, self._switched
        other._auditing = (
            self._auditing
            if isinstance(audit, EllipsisType)
            else auditing_of(audit, llms=self.llms, admission=self._admission)
        )
        other._options = Options(
            old.policy if policy is None else as_policy(policy),
            old.escalate if escalate is None else escalate,
            old.timeout if isinstance(timeout, EllipsisType) else timeout,
            old.concurrency if concurrency is None else concurrency,
            old.progress if isinstance(progress, EllipsisType) else progress,
            old.budget if isinstance(budget, EllipsisType) else budget,
            old.breaker if isinstance(breaker, EllipsisType) else breaker,
        )
        return other

    def spending(
        self,
        *,
        usd: float | None = None,
        seconds: float | None = None,
        llm_calls: int | None = None,
        at_cap: AtCap | None = None,
    ) -> AbstractContextManager[Scope]:
        """Caps on all model calls made inside of a ``with``, whichever orchestrator makes them.

        They hold beside the budget and beside scopes further out, in this thread or task and what
        it starts; a new thread needs its own.

        Args:
            usd: US dollars they may cost.
            seconds: Seconds they may take, from now on.
            llm_calls: How often LLMs may be called.
            at_cap: What is done where one of these is reached; by default what the budget says.

        Raises:
            SkillError: A cap is out of range.
        """
        check_caps({"usd": usd, "seconds": seconds, "llm_calls": llm_calls}, at_cap)
        return scope(
            usd=usd,
            seconds=seconds,
            llm_calls=llm_calls,
            at_cap=at_cap,
            clock=self._admission.clock,
        )

    def run(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run a skill once.

        Returns:
            The outcome; ``served_by`` is ``"none"`` where no model gave an acceptable answer.

        Raises:
            InputError: An input cannot be given to any model.
            SkillError: The arguments do not fit, or there is no model at all.
            BudgetError: A cap is reached, and the budget says to raise.
        """
        return portal.call(self.arun(skill, *args, **kwargs))

    async def arun(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run a skill once, from asynchronous code; see `run`. Cancelling stops the model."""
        self._require_models(skill)
        return await self._serve(skill, skill.request(*args, **kwargs))

    def stream(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> FieldStream[R]:
        """Run a skill once, and tell each field as soon as it is complete.

        A field comes with its path, as in `Outcome.fields`; a value without fields is one item
        with the path ``""``. It is decided about at once: the LLM is asked for a weak field while
        the SLM writes on, or, with ``escalate="whole"``, for all in the SLM's place. A field that
        the LLM then gives otherwise comes again; what came last holds.

        Example:
            >>> from hetagent import Answer, Orchestrator, Scripted, skill
            >>> @skill
            ... def sizes(message: str) -> list[int]:
            ...     '''List the sizes.'''
            >>> agent = Orchestrator(slm=Scripted(Answer([38, 40])))
            >>> with agent.stream(sizes, "38 or 40") as answer:
            ...     {path: field.value for path, field in answer}
            {'[0]': 38, '[1]': 40}
            >>> answer.outcome.value
            [38, 40]

        Returns:
            An iterator over paths and fields, which has the ``outcome`` in the end. Used in a
            ``with``, leaving the block early cancels the model calls.

        Raises:
            InputError: An input cannot be given to any model.
            SkillError: The arguments do not fit, or there is no model at all.
        """
        return FieldStream(self.astream(skill, *args, **kwargs))

    def astream(
        self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncFieldStream[R]:
        """Run a skill once, field by field, from asynchronous code; see `stream`.

        It is used with ``async with`` and ``async for``.
        """
        self._require_models(skill)
        request = skill.request(*args, **kwargs)
        return AsyncFieldStream(lambda tell: self._serve(skill, request, tell))

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
        rows = listed(rows)
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
        rows = listed(rows)
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
        await fill(
            rows,
            done,
            serve=lambda row: self._row(skill, row),
            concurrency=self._options.concurrency,
            progress=Progress(skill.name, total=len(rows), show=self._options.progress),
        )

    async def _row(self, skill: Skill[Any, R], row: Any) -> Outcome[R]:
        try:
            args, kwargs = skill.bind_row(row)
            request = skill.request(*args, **kwargs)
        except (InputError, SkillError) as error:
            return self._recorded(nothing(skill, "invalid_input", error))
        try:
            return await self._serve(skill, request)
        except BudgetError as error:
            if error.outcome is None:
                raise
            return error.outcome

    async def _serve(
        self, skill: Skill[Any, R], request: Request, tell: Tell | None = None
    ) -> Outcome[R]:
        """The one path from a request to an outcome."""
        steps = current_steps.get()
        if steps is not None and steps.takes(self):
            return await steps.step(skill, request, tell)
        run = Run(skill.model or self.slm, self._options)
        if self._switched is None:
            self._bindings.check(run.options.policy, skill, run.slm, self.llms)
        with telemetry.skill_span(skill.name) as span, capturing(self._captures):
            if self._switched is not None:
                run = await self._followed(self._switched, skill, run, key=span.trace_id)
            serving = Serving(
                Assembly(skill, request, span.trace_id),
                slm=run.slm,
                llms=self.llms,
                options=run.options,
                allowance=self._admission.allowance(run.options, skill.name),
                audits=self._auditing,
                tell=tell,
            )
            try:
                outcome = _bound(await serving.outcome(), run)
            except BudgetError as error:
                if error.outcome is not None:
                    error.outcome = _bound(error.outcome, run)
                    span.end(self._recorded(self._captured(skill, request, error.outcome)))
                raise
            span.end(outcome)
        if self._auditing is not None:
            self._auditing.observe(outcome, skill, request, run.options)
        if self._switched is not None:
            self._switched.compare(run, skill, request, outcome, self._options)
        return self._recorded(self._captured(skill, request, outcome))

    async def _followed(
        self, switched: Switched, skill: Skill[Any, Any], own: Run, *, key: str
    ) -> Run:
        """What a call runs on, as the registry says; checked, where that is not done by it."""
        run = await switched.run(skill, key=key, slm=own.slm, options=own.options)
        if not run.switched:
            require_models(skill, run.slm, self.llms)
            self._bindings.check(run.options.policy, skill, run.slm, self.llms)
        return run

    def _require_models(self, skill: Skill[Any, Any]) -> None:
        """Refuse what nothing could run; what a registry serves may change at any time."""
        if self._switched is None or not isinstance(skill, Skill):
            require_models(skill, self.slm, self.llms)

    def _captured(self, skill: Skill[Any, R], request: Request, outcome: Outcome[R]) -> Outcome[R]:
        if self._captures is not None:
            self._captures.capture(skill, request, outcome)
        return outcome

    def _recorded(self, outcome: Outcome[R]) -> Outcome[R]:
        if self._outcome_log is not None:
            self._outcome_log.record(outcome)
        return outcome


def _bound(outcome: Outcome[R], run: Run) -> Outcome[R]:
    """An outcome, with the binding that its SLM was of."""
    return outcome if run.serving is None else replace(outcome, binding=run.serving.binding.id)
