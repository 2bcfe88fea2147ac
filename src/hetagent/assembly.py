"""One outcome in the making: the calls made for it, and the ways it can end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from hetagent import telemetry
from hetagent.attempt import Attempt
from hetagent.confidence import FieldScore, Score
from hetagent.errors import HetagentError, OutputError
from hetagent.escalation import FieldQuestion
from hetagent.models.base import Request
from hetagent.outcome import Call, Draft, FieldOutcome, Outcome, Reason
from hetagent.policy import Decision
from hetagent.skill import Skill

__all__ = ["Assembly", "field_outcome", "nothing"]

R = TypeVar("R")


@dataclass(slots=True)
class Assembly(Generic[R]):
    """One outcome in the making.

    Attributes:
        skill: The skill that is run.
        request: What its models are asked.
        trace_id: 32 hexadecimal digits.
        began: When it began, on the clock of `time.perf_counter`.
        calls: The model calls made so far, each with when it began.
    """

    skill: Skill[Any, R]
    request: Request
    trace_id: str
    began: float = field(default_factory=time.perf_counter)
    calls: list[tuple[float, Call]] = field(default_factory=list)

    def note(self, call: Call, *, began: float) -> None:
        """Add a model call that ended."""
        self.calls.append((began, call))

    def accepted(self, attempt: Attempt) -> Outcome[R]:
        """The SLM's answer was sure enough."""
        scored = attempt.score or Score(None, None)
        return self._outcome(
            value=attempt.value,
            confidence=scored.confidence,
            outside=scored.outside,
            served_by="slm",
            fields=_field_outcomes(scored, "slm"),
            choices=_choices(attempt),
        )

    def by_llm(self, attempt: Attempt, decision: Decision, draft: Attempt | None) -> Outcome[R]:
        """The LLM answered in the SLM's place."""
        scored = attempt.score or Score(None, None)
        return self._escalated(
            decision,
            draft,
            value=attempt.value,
            confidence=scored.confidence,
            outside=scored.outside,
            served_by="llm",
            fields=_field_outcomes(scored, "llm"),
        )

    def merged(
        self,
        answers: Sequence[tuple[FieldQuestion, Attempt]],
        decision: Decision,
        *,
        draft: Attempt,
    ) -> Outcome[R] | None:
        """The SLM's draft with the LLM's fields; ``None`` where together they are not valid."""
        merged = draft.json
        given: dict[str, FieldOutcome] = {}
        for question, attempt in answers:
            merged = question.merge(merged, attempt.json)
            given |= _field_outcomes(attempt.score, "llm")
        try:
            value = self.skill.output.parse_json(merged)
        except OutputError:
            return None
        drafted = _field_outcomes(draft.score, "slm")
        asked = [question for question, _ in answers]
        kept = {p: one for p, one in drafted.items() if not any(q.covers(p) for q in asked)}
        fields = kept | given
        # In the order of the draft, as far as it has them.
        fields = {
            path: fields[path] for path in dict.fromkeys([*drafted, *given]) if path in fields
        }
        return self._escalated(
            decision,
            draft,
            value=value,
            confidence=_product(fields),
            served_by="both" if kept else "llm",
            fields=fields,
        )

    def unserved(
        self, decision: Decision, draft: Attempt | None, error: HetagentError | None
    ) -> Outcome[R]:
        """Nobody gave an acceptable answer."""
        return self._escalated(
            decision, draft, value=None, confidence=None, served_by="none", error=error
        )

    def _escalated(self, decision: Decision, draft: Attempt | None, **facts: Any) -> Outcome[R]:
        return self._outcome(
            reason=decision.reason,
            choices=_choices(draft),
            draft=_draft(draft),
            **{"error": draft.error if draft is not None else None, **facts},
        )

    def _outcome(self, **facts: Any) -> Outcome[R]:
        return Outcome(
            skill=self.skill.name,
            trace_id=self.trace_id,
            seconds=time.perf_counter() - self.began,
            calls=tuple(call for _, call in sorted(self.calls, key=lambda one: one[0])),
            **facts,
        )


def nothing(skill: Skill[Any, R], reason: Reason, error: HetagentError | None) -> Outcome[R]:
    """The outcome of a row that no model was asked about."""
    with telemetry.skill_span(skill.name) as span:
        outcome: Outcome[R] = Outcome(
            skill=skill.name,
            value=None,
            confidence=None,
            served_by="none",
            trace_id=span.trace_id,
            seconds=0.0,
            reason=reason,
            error=error,
        )
        span.end(outcome)
    return outcome


def _product(fields: Mapping[str, FieldOutcome]) -> float | None:
    product = 1.0
    for one in fields.values():
        if one.confidence is None:
            return None
        product *= one.confidence
    return product


def field_outcome(scored: FieldScore, by: Literal["slm", "llm"]) -> FieldOutcome:
    """A field as an outcome reports it."""
    return FieldOutcome(scored.value, scored.confidence, by, scored.outside)


def _field_outcomes(scored: Score | None, by: Literal["slm", "llm"]) -> dict[str, FieldOutcome]:
    fields = scored.fields if scored is not None else {}
    return {path: field_outcome(one, by) for path, one in fields.items()}


def _draft(attempt: Attempt | None) -> Draft | None:
    if attempt is None or not attempt.text:
        return None
    scored = attempt.score
    return Draft(
        text=attempt.text,
        value=attempt.value,
        confidence=scored.confidence if scored is not None else 0.0,
        fields={p: s.confidence for p, s in scored.fields.items()} if scored is not None else {},
    )


def _choices(attempt: Attempt | None) -> Any:
    return attempt.completion.choices if attempt is not None and attempt.completion else None
