"""The one path from a request to an outcome: ask the SLM, score, decide, ask the LLMs, report.

The LLMs are a ladder: one is asked after the other until an answer is accepted or nobody is left.
With somebody to tell, fields are told as soon as they are complete, and decided about then: the LLM
is asked for a weak field while the SLM writes on. Without, everything is decided at the end. Both
go through the same steps.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from hetagent.admission import Allowance
from hetagent.assembly import Assembly, Standing, field_outcome, standing
from hetagent.attempt import Attempt
from hetagent.auditing import Auditing
from hetagent.calls import Listen, ask
from hetagent.confidence import FieldScore, Score
from hetagent.errors import BudgetError, HetagentError, ModelDownError
from hetagent.escalation import FieldQuestion, field_question
from hetagent.evidence import Evidence, evidence
from hetagent.models.base import Model, Request, Token
from hetagent.options import Options
from hetagent.outcome import FieldOutcome, Outcome, Reason, RungAnswer
from hetagent.policy import Decision, EarlyPolicy, Scored, as_rung_policy, without_draft
from hetagent.schema import same_json
from hetagent.streaming import FieldReader

__all__ = ["Serving", "Tell"]

R = TypeVar("R")
# A model that was not reached for one of these is not asked again for the same outcome.
_DOWN: tuple[Reason, ...] = ("model_error", "timeout", "budget")
Tell: TypeAlias = Callable[[str, FieldOutcome], None]


class Serving(Generic[R]):
    """One run of one skill; to be used once.

    Args:
        run: The outcome in the making.
        slm: The model asked first.
        llms: The models to escalate to, in order.
        options: How.
        allowance: What it may spend, and which models may be called.
        audits: What they have found of the policy's certificates; ``None`` without audits.
        tell: Told each field, with its path, as soon as it is complete, and again where that
            changes; at the end it has been told all fields as they are in the outcome.
    """

    def __init__(
        self,
        run: Assembly[R],
        *,
        slm: Model | None,
        llms: tuple[Model, ...],
        options: Options,
        allowance: Allowance,
        audits: Auditing | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._run = run
        self._slm = slm
        self._llms = llms
        self._options = options
        self._allowance = allowance
        self._audits = audits
        self._tell = tell
        self._told: dict[str, FieldOutcome] = {}
        # What the LLM of one rung is being asked for.
        self._questions: list[tuple[FieldQuestion, asyncio.Task[Attempt]]] = []
        self._asked_rung = 0
        # Once the SLM's answer is certain not to be accepted, its fields are not told any more.
        self._refused = False
        policy = options.policy
        self._early = policy if tell is not None and isinstance(policy, EarlyPolicy) else None
        # Where an LLM's answer is judged too, its fields are told only once it is accepted.
        self._judge = as_rung_policy(policy)
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
            value = self._run.request.output.to_json(outcome.value)
            by = outcome.served_by
            self._say("", FieldOutcome(value, outcome.confidence, by, outcome.outside))
        return outcome

    async def _outcome(self) -> Outcome[R]:
        if self._slm is None or not self._options.policy.asks_slm(self._run.skill.name):
            return await self._escalate(self._without_draft("policy"), None)
        if self._audits is not None:
            refusal = self._audits.refusal(self._options.policy, self._run.skill.name)
            if refusal is not None:
                return await self._escalate(refusal, None)
        draft = await self._ask(self._slm, self._run.request)
        decision = self._decide(draft)
        if decision.action == "accept":
            await self._withdraw()
            return self._run.accepted(draft, decision)
        return await self._escalate(decision, draft)

    def _decide(self, draft: Attempt) -> Decision:
        if not draft.valid or draft.score is None:
            return self._without_draft(draft.reason)
        scored = self._scored(draft.score, draft.evidence)
        decision = self._options.policy.decide(scored)
        if self._audits is not None:
            decision = self._audits.revised(decision, scored)
        if draft.score.confidence is None and decision.action != "accept":
            return replace(decision, reason="no_confidence", fields=())
        return decision

    def _without_draft(self, reason: Reason | None) -> Decision:
        return replace(without_draft(self._options.policy, self._run.skill.name), reason=reason)

    def _scored(self, score: Score, known: Mapping[str, Evidence]) -> Scored:
        fields = {path: one.confidence or 0.0 for path, one in score.fields.items()}
        return Scored(self._run.skill.name, score.confidence or 0.0, fields, evidence=known)

    async def _escalate(self, decision: Decision, draft: Attempt | None) -> Outcome[R]:
        """Climb the ladder until an answer is accepted, or nobody is left to ask."""
        best = standing(draft, basis=decision.basis) if draft is not None and draft.valid else None
        error = draft.error if draft is not None else None
        # What the budget refused, if it refused anything.
        refusal = _refusal(draft)
        latest, rung = decision, _not_skipped(decision, max(decision.rung, 0))
        while latest.action == "escalate" and rung < len(self._llms):
            found = await self._ask_rung(rung, latest, best)
            if isinstance(found, Attempt):
                # An unreachable rung is passed over; what the next has to give is still the same.
                error, refusal = found.error, _refusal(found) or refusal
                rung = _not_skipped(latest, rung + 1)
                continue
            latest = self._decide_rung(found, draft, rung)
            if latest.action == "accept":
                return self._run.escalated(found, decision, draft, error=error)
            best, rung = found, _not_skipped(latest, max(latest.rung, rung + 1))
        await self._withdraw()
        if refusal is not None and latest.action != "abstain":
            return self._at_the_cap(refusal, decision, draft, best)
        return self._run.unserved(decision, draft, error)

    def _decide_rung(self, found: Standing, draft: Attempt | None, rung: int) -> Decision:
        drafted = draft if draft is not None and draft.valid else None
        agrees = None if drafted is None else same_json(found.json, drafted.json)
        if found.whole:
            self._run.answers.append(RungAnswer(rung, found.json, agrees, found.evidence))
        if self._judge is None:
            return Decision("accept")
        scored = Scored(
            self._run.skill.name,
            found.confidence or 0.0,
            {path: one.confidence or 0.0 for path, one in found.fields.items()},
            agrees=agrees,
            evidence=found.evidence,
            draft=drafted.evidence if drafted is not None else {},
        )
        return self._judge.decide_rung(scored, rung=rung)

    def _at_the_cap(
        self,
        refusal: BudgetError,
        decision: Decision,
        draft: Attempt | None,
        best: Standing | None,
    ) -> Outcome[R]:
        """What is done where the budget refused what was needed."""
        ended = replace(decision, reason="budget")
        if refusal.at_cap == "degrade" and best is not None:
            return self._run.escalated(best, ended, draft, error=refusal)
        outcome = self._run.unserved(ended, draft, refusal)
        if refusal.at_cap == "raise":
            refusal.outcome = outcome
            raise refusal
        return outcome

    async def _ask_rung(
        self, rung: int, decision: Decision, known: Standing | None
    ) -> Standing | Attempt:
        """Ask an LLM, for the weak fields where that is wanted and can be, or else for all.

        Returns:
            An answer that stands, or the attempt that failed.
        """
        if rung != self._asked_rung:
            await self._withdraw()
        if known is not None and self._ask_for_the_rest(rung, decision, known):
            answers = [(question, await task) for question, task in self._questions]
            failed = [answer for _, answer in answers if not answer.valid]
            merged = None if failed else self._run.merged(answers, known, rung=rung)
            if merged is not None:
                return merged
            # An LLM that is down will not be up a moment later; one that erred is asked for all.
            for answer in failed:
                if answer.reason in _DOWN:
                    return answer
        await self._withdraw()
        answer = await self._ask(self._llms[rung], self._run.request, rung=rung)
        return standing(answer, rung=rung) if answer.valid else answer

    def _ask_for_the_rest(self, rung: int, decision: Decision, known: Standing) -> bool:
        """Ask the LLM for those weak fields it was not asked for while the SLM wrote.

        Returns:
            Whether weak fields are all that it is to be asked for.
        """
        if self._options.escalate != "fields":
            return False
        others = decision.fields if self._questions else None
        rest = self._not_asked_for(decision.fields)
        if self._questions and (not rest or self._llm_is_down()):
            return True
        return self._ask_for(rung, rest, known.json, others=others)

    def _llm_is_down(self) -> bool:
        ended = (task for _, task in self._questions if task.done() and not task.cancelled())
        return any(task.result().reason in _DOWN for task in ended)

    def _not_asked_for(self, paths: Iterable[str]) -> list[str]:
        return [path for path in paths if not any(q.covers(path) for q, _ in self._questions)]

    def _ask_for(
        self, rung: int, weak: list[str], draft: Any, *, others: Iterable[str] | None
    ) -> bool:
        """Begin to ask the LLM of a rung for some fields; whether that can be."""
        question = field_question(
            self._run.request,
            instructions=self._run.skill.instructions,
            draft=draft,
            weak=weak,
            others=others,
        )
        if question is None:
            return False
        self._asked_rung = rung
        answer = self._fields_by_llm(rung, question.request)
        task = asyncio.get_running_loop().create_task(answer, context=self._context.copy())
        self._questions.append((question, task))
        return True

    async def _fields_by_llm(self, rung: int, request: Request) -> Attempt:
        attempt = await self._ask(self._llms[rung], request, rung=rung)
        if attempt.valid and attempt.score is not None and self._judge is None:
            for path, one in attempt.score.fields.items():
                self._say(path, field_outcome(one, "llm"))
        return attempt

    async def _withdraw(self) -> None:
        """Stop what was asked and is not wanted any more."""
        tasks = [task for _, task in self._questions]
        self._questions = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, model: Model, request: Request, *, rung: int | None = None) -> Attempt:
        """Call a model, where the budget and its breaker let it be called."""
        told = self._tell is not None and request.output.form == "json"
        reader = FieldReader(request.output.wholes) if told else None
        if rung is not None and self._judge is not None:
            reader = None
        listen = self._listener(rung, reader) if reader else None
        try:
            permit = await self._allowance.admit(model, request, rung=rung)
        except (BudgetError, ModelDownError) as error:
            return _not_called(error)
        attempt: Attempt | None = None
        try:
            attempt = await ask(model, self._run, request, permit=permit, listen=listen)
        finally:
            permit.settle(attempt)
        if self._failure is not None:
            raise self._failure
        if reader is not None and attempt.reason == "low_confidence":
            return replace(attempt, score=reader.score)
        return attempt

    def _listener(self, rung: int | None, reader: FieldReader) -> Listen:
        def listen(token: Token) -> bool:
            try:
                return all(tell(path, one, reader) for path, one in reader.feed(token))
            except Exception as error:
                self._failure = error  # of the policy, not of the model
                return False

        tell = self._slm_field if rung is None else self._llm_field
        return listen

    def _llm_field(self, path: str, scored: FieldScore, _: FieldReader) -> bool:
        self._say(path, field_outcome(scored, "llm"))
        return True

    def _slm_field(self, path: str, scored: FieldScore, reader: FieldReader) -> bool:
        """Decide about a field that the SLM completed; whether it is to write on."""
        if self._refused:
            return True
        decision = None
        if self._early:
            known = evidence(reader.score, asked=self._run.request.messages[-1].content)
            decision = self._early.decide_early(self._scored(reader.score, known))
        weak: tuple[str, ...] = ()
        if decision is not None:
            # One LLM is asked for all of them.
            rung = self._asked_rung if self._questions else max(decision.rung, 0)
            escalate = decision.action == "escalate" and rung < len(self._llms)
            if not escalate or self._llm_is_down():
                self._refused = True
                return True  # nobody takes over, or not for sure: the draft is written to its end
            if self._options.escalate == "whole":
                self._refused = True
                return self._allowance.may_degrade
            weak = decision.fields
            new = self._not_asked_for(weak)
            if new and not self._ask_for(rung, new, reader.partial, others=weak):
                self._refused = True  # it can only be asked for all
                return self._allowance.may_degrade
        if path not in weak and self._not_asked_for([path]):
            self._say(path, field_outcome(scored, "slm"))
        return True

    def _say(self, path: str, one: FieldOutcome) -> None:
        if self._tell is not None and self._told.get(path) != one:
            self._told[path] = one
            self._tell(path, one)


def _not_skipped(decision: Decision, rung: int) -> int:
    """The first LLM from a rung on that the policy does not pass over."""
    while rung in decision.skip:
        rung += 1
    return rung


def _not_called(error: BudgetError | ModelDownError) -> Attempt:
    reason: Reason = "budget" if isinstance(error, BudgetError) else "model_error"
    return Attempt(None, reason=reason, error=error)


def _refusal(attempt: Attempt | None) -> BudgetError | None:
    error: HetagentError | None = attempt.error if attempt is not None else None
    return error if isinstance(error, BudgetError) else None
