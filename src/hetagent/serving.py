"""The one path from a request to an outcome: ask the SLM, score, decide, ask the LLM, report.

With somebody to tell, fields are told as soon as they are complete, and decided about then: the LLM
is asked for a weak field while the SLM writes on. Without, everything is decided at the end. Both
go through the same steps.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from hetagent.assembly import Assembly, field_outcome
from hetagent.attempt import Attempt
from hetagent.calls import Listen, Role, ask
from hetagent.confidence import FieldScore, Score
from hetagent.escalation import FieldQuestion, field_question
from hetagent.models.base import Model, Request, Token
from hetagent.options import Options
from hetagent.outcome import FieldOutcome, Outcome, Reason
from hetagent.policy import Decision, EarlyPolicy, Scored
from hetagent.streaming import FieldReader

__all__ = ["Serving", "Tell"]

R = TypeVar("R")
_DOWN: tuple[Reason, ...] = ("model_error", "timeout")
Tell: TypeAlias = Callable[[str, FieldOutcome], None]


class Serving(Generic[R]):
    """One run of one skill; to be used once.

    Args:
        run: The outcome in the making.
        slm: The model asked first.
        llm: The model to escalate to.
        options: How.
        tell: Told each field, with its path, as soon as it is complete, and again where that
            changes; at the end it has been told all fields as they are in the outcome.
    """

    def __init__(
        self,
        run: Assembly[R],
        *,
        slm: Model | None,
        llm: Model | None,
        options: Options,
        tell: Tell | None = None,
    ) -> None:
        self._run = run
        self._slm = slm
        self._llm = llm
        self._options = options
        self._tell = tell
        self._told: dict[str, FieldOutcome] = {}
        self._questions: list[tuple[FieldQuestion, asyncio.Task[Attempt]]] = []
        # Once the SLM's answer is certain not to be accepted, its fields are not told any more.
        self._refused = False
        policy = options.policy
        self._early = policy if tell is not None and isinstance(policy, EarlyPolicy) else None
        self._failure: Exception | None = None
        # Questions belong to the span of the run, wherever they are asked from.
        self._context = contextvars.copy_context()

    async def outcome(self) -> Outcome[R]:
        """Run the skill."""
        try:
            outcome = await self._outcome()
        finally:
            await self._withdraw()
        for path, one in outcome.fields.items():
            self._say(path, one)
        if not outcome.fields and outcome.served_by in ("slm", "llm"):
            value = self._run.skill.output.to_json(outcome.value)  # type: ignore[arg-type]
            by = outcome.served_by
            self._say("", FieldOutcome(value, outcome.confidence, by, outcome.outside))
        return outcome

    async def _outcome(self) -> Outcome[R]:
        if self._slm is None or not self._options.policy.asks_slm(self._run.skill.name):
            return await self._escalate(Decision("escalate", "policy"), None)
        draft = await self._ask("slm", self._slm, self._run.request)
        decision = self._decide(draft)
        if decision.action == "accept":
            await self._withdraw()
            return self._run.accepted(draft)
        return await self._escalate(decision, draft)

    def _decide(self, draft: Attempt) -> Decision:
        if not draft.valid or draft.score is None:
            return Decision("escalate", draft.reason)
        decision = self._options.policy.decide(self._scored(draft.score))
        if draft.score.confidence is None and decision.action != "accept":
            return replace(decision, reason="no_confidence", fields=())
        return decision

    def _scored(self, score: Score) -> Scored:
        fields = {path: one.confidence or 0.0 for path, one in score.fields.items()}
        return Scored(self._run.skill.name, score.confidence or 0.0, fields)

    async def _escalate(self, decision: Decision, draft: Attempt | None) -> Outcome[R]:
        """Ask the LLM, for the weak fields where that is wanted and can be, or else for all."""
        if self._llm is None or decision.action == "abstain":
            await self._withdraw()
            return self._run.unserved(decision, draft, draft.error if draft else None)
        if draft is not None and self._ask_for_the_rest(decision, draft):
            answers = [(question, await task) for question, task in self._questions]
            failed = [answer for _, answer in answers if not answer.valid]
            merged = None if failed else self._run.merged(answers, decision, draft=draft)
            if merged is not None:
                return merged
            # An LLM that is down will not be up a moment later; one that erred is asked for all.
            for answer in failed:
                if answer.reason in _DOWN:
                    return self._run.unserved(decision, draft, answer.error)
        await self._withdraw()
        answer = await self._ask("llm", self._llm, self._run.request)
        if not answer.valid:
            return self._run.unserved(decision, draft, answer.error)
        return self._run.by_llm(answer, decision, draft)

    def _ask_for_the_rest(self, decision: Decision, draft: Attempt) -> bool:
        """Ask the LLM for those weak fields it was not asked for while the SLM wrote.

        Returns:
            Whether weak fields are all that it is to be asked for.
        """
        if self._options.escalate != "fields" or not draft.valid:
            return False
        others = decision.fields if self._questions else None
        rest = self._not_asked_for(decision.fields)
        if self._questions and (not rest or self._llm_is_down()):
            return True
        return self._ask_for(rest, draft.json, others=others)

    def _llm_is_down(self) -> bool:
        ended = (task for _, task in self._questions if task.done() and not task.cancelled())
        return any(task.result().reason in _DOWN for task in ended)

    def _not_asked_for(self, paths: Iterable[str]) -> list[str]:
        return [path for path in paths if not any(q.covers(path) for q, _ in self._questions)]

    def _ask_for(self, weak: list[str], draft: Any, *, others: Iterable[str] | None) -> bool:
        """Begin to ask the LLM for some fields; whether that can be."""
        question = field_question(
            self._run.request,
            instructions=self._run.skill.instructions,
            draft=draft,
            weak=weak,
            others=others,
        )
        if question is None or self._llm is None:
            return False
        answer = self._fields_by_llm(self._llm, question.request)
        task = asyncio.get_running_loop().create_task(answer, context=self._context.copy())
        self._questions.append((question, task))
        return True

    async def _fields_by_llm(self, llm: Model, request: Request) -> Attempt:
        attempt = await self._ask("llm", llm, request)
        if attempt.valid and attempt.score is not None:
            for path, one in attempt.score.fields.items():
                self._say(path, field_outcome(one, "llm"))
        return attempt

    async def _withdraw(self) -> None:
        """Stop what was asked and is not wanted any more."""
        tasks = [task for _, task in self._questions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, role: Role, model: Model, request: Request) -> Attempt:
        reader = FieldReader() if self._tell and request.output.form == "json" else None
        listen = self._listener(role, reader) if reader else None
        attempt = await ask(
            role, model, self._run, request, timeout=self._options.timeout, listen=listen
        )
        if self._failure is not None:
            raise self._failure
        if reader is not None and attempt.reason == "low_confidence":
            return replace(attempt, score=reader.score)
        return attempt

    def _listener(self, role: Role, reader: FieldReader) -> Listen:
        def listen(token: Token) -> bool:
            try:
                return all(tell(path, one, reader) for path, one in reader.feed(token))
            except Exception as error:
                self._failure = error  # of the policy, not of the model
                return False

        tell = self._slm_field if role == "slm" else self._llm_field
        return listen

    def _llm_field(self, path: str, scored: FieldScore, _: FieldReader) -> bool:
        self._say(path, field_outcome(scored, "llm"))
        return True

    def _slm_field(self, path: str, scored: FieldScore, reader: FieldReader) -> bool:
        """Decide about a field that the SLM completed; whether it is to write on."""
        if self._refused:
            return True
        decision = self._early.decide_early(self._scored(reader.score)) if self._early else None
        weak: tuple[str, ...] = ()
        if decision is not None:
            escalate = decision.action == "escalate" and self._llm is not None
            if not escalate or self._llm_is_down():
                self._refused = True
                return True  # nobody takes over: the draft is written to its end
            if self._options.escalate == "whole":
                self._refused = True
                return False
            weak = decision.fields
            new = self._not_asked_for(weak)
            if new and not self._ask_for(new, reader.partial, others=weak):
                self._refused = True  # it can only be asked for all
                return False
        if path not in weak and self._not_asked_for([path]):
            self._say(path, field_outcome(scored, "slm"))
        return True

    def _say(self, path: str, one: FieldOutcome) -> None:
        if self._tell is not None and self._told.get(path) != one:
            self._told[path] = one
            self._tell(path, one)
