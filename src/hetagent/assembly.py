"""One outcome in the making: the calls made for it, and the ways it can end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from hetagent import telemetry
from hetagent.attempt import Attempt
from hetagent.confidence import FieldScore, Score
from hetagent.errors import HetagentError, OutputError
from hetagent.escalation import FieldQuestion
from hetagent.evidence import Evidence, top_field
from hetagent.models.base import Request
from hetagent.outcome import Basis, Call, Draft, FieldOutcome, Outcome, Reason, RungAnswer
from hetagent.policy import Decision
from hetagent.skill import Skill

__all__ = ["Assembly", "Standing", "field_outcome", "nothing", "standing"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Standing:
    """A valid answer that may yet be served, of one model or of several.

    Attributes:
        value: As a value of the output type.
        json: As JSON data.
        confidence: Probability that all of it is correct; ``None`` where none is known.
        outside: As in `Outcome`.
        served_by: Who gave it.
        rung: Index of the LLM that gave it, or the last of its fields; ``None`` for the SLM.
        fields: By path.
        evidence: As in `Scored`.
        whole: Whether one model gave all of it in one answer.
    """

    value: Any
    json: Any
    confidence: float | None
    outside: float | None
    served_by: Literal["slm", "llm", "both"]
    rung: int | None
    fields: Mapping[str, FieldOutcome]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    whole: bool = False


@dataclass(slots=True)
class Assembly(Generic[R]):
    """One outcome in the making.

    Attributes:
        skill: The skill that is run.
        request: What its models are asked.
        trace_id: 32 hexadecimal digits.
        began: When it began, on the clock of `time.perf_counter`.
        calls: The model calls made so far, each with when it began.
        answers: The LLMs' whole, valid answers so far.
    """

    skill: Skill[Any, R]
    request: Request
    trace_id: str
    began: float = field(default_factory=time.perf_counter)
    calls: list[tuple[float, Call]] = field(default_factory=list)
    answers: list[RungAnswer] = field(default_factory=list)

    def note(self, call: Call, *, began: float) -> None:
        """Add a model call that ended."""
        self.calls.append((began, call))

    def accepted(self, draft: Attempt, decision: Decision) -> Outcome[R]:
        """The SLM's answer was sure enough."""
        served = standing(draft, basis=decision.basis)
        return self._outcome(decision, draft, **_served(served))

    def escalated(
        self,
        answer: Standing,
        decision: Decision,
        draft: Attempt | None,
        *,
        error: HetagentError | None,
    ) -> Outcome[R]:
        """An answer that was served although the SLM's was not accepted.

        Args:
            answer: What is served.
            decision: About the SLM's answer.
            draft: The SLM's answer.
            error: The last one met on the way.
        """
        return self._escalated(decision, draft, error=error, **_served(answer))

    def merged(
        self, answers: Sequence[tuple[FieldQuestion, Attempt]], known: Standing, *, rung: int
    ) -> Standing | None:
        """An answer with fields of an LLM's; ``None`` where together they are not valid."""
        data = known.json
        given: dict[str, FieldOutcome] = {}
        for question, attempt in answers:
            data = question.merge(data, attempt.json)
            given |= _field_outcomes(attempt.score, "llm")
        try:
            value = self.request.output.parse_json(data)
        except OutputError:
            return None
        asked = [question for question, _ in answers]
        kept = {p: one for p, one in known.fields.items() if not any(q.covers(p) for q in asked)}
        fields = kept | given
        # In the order of the answer they are put into, as far as it has them.
        fields = {
            path: fields[path] for path in dict.fromkeys([*known.fields, *given]) if path in fields
        }
        by_slm = any(one.served_by == "slm" for one in kept.values())
        return Standing(
            value=value,
            json=data,
            confidence=_product(fields),
            outside=None,
            served_by="both" if by_slm else "llm",
            rung=rung,
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
        return self._outcome(decision, draft, draft=_draft(draft), **facts)

    def _outcome(self, decision: Decision, slm: Attempt | None, **facts: Any) -> Outcome[R]:
        return Outcome(
            reason=decision.reason,
            basis=decision.basis,
            weak=decision.fields,
            least=decision.least,
            choices=_choices(slm),
            evidence=slm.evidence if slm is not None else {},
            skill=self.skill.name,
            trace_id=self.trace_id,
            seconds=time.perf_counter() - self.began,
            calls=tuple(call for _, call in sorted(self.calls, key=lambda one: one[0])),
            answers=tuple(self.answers),
            **facts,
        )


def standing(attempt: Attempt, *, rung: int | None = None, basis: Basis | None = None) -> Standing:
    """The valid answer that one model gave: the SLM, or the LLM of a rung.

    Args:
        attempt: What it gave.
        rung: Index of the LLM.
        basis: Calibrated confidences, to be used instead of the raw ones where it has them.
    """
    scored = attempt.score or Score(None, None)
    by: Literal["slm", "llm"] = "slm" if rung is None else "llm"
    known = basis.confidence if basis is not None else {}
    fields = {
        path: replace(one, confidence=known.get(top_field(path), one.confidence))
        for path, one in _field_outcomes(scored, by).items()
    }
    return Standing(
        value=attempt.value,
        json=attempt.json,
        confidence=known.get("", scored.confidence),
        outside=scored.outside,
        served_by=by,
        rung=rung,
        fields=fields,
        evidence=attempt.evidence,
        whole=True,
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


def _served(answer: Standing) -> dict[str, Any]:
    return {
        "value": answer.value,
        "confidence": answer.confidence,
        "outside": answer.outside,
        "served_by": answer.served_by,
        "rung": answer.rung,
        "fields": answer.fields,
    }


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
