"""Records of what hetagent's own orchestrator was asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hetagent.learn.marks import Marks
from hetagent.learn.provenance import Provenance, strictest
from hetagent.learn.record import CallError, CallRecord, Trainable, Usage, new_id
from hetagent.models.base import Request
from hetagent.outcome import Call, Outcome
from hetagent.skill import Skill

__all__ = ["read_outcome"]


def read_outcome(
    skill: Skill[Any, Any],
    request: Request,
    outcome: Outcome[Any],
    *,
    marks: Marks,
    provenance: Provenance,
) -> CallRecord:
    """The record of one outcome, with all model calls made for it together.

    Args:
        skill: What was run.
        request: What its models were asked.
        outcome: What came of it; it made at least one model call.
        marks: What the program said of it. Without a workload, it is the skill.
        provenance: Of the models.
    """
    served = _serving(outcome)
    usage = outcome.usage
    return CallRecord(
        id=new_id(),
        time=datetime.now(UTC) - timedelta(seconds=outcome.seconds),
        form="hetagent.skill",
        source="orchestrator",
        model=outcome.calls[0].model,
        request=_request(skill, request),
        response=_response(skill, outcome),
        error=_error(outcome),
        served_model=served[-1].model if served else None,
        served_by=outcome.served_by,
        reason=outcome.reason or "",
        usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens),
        cost_usd=usage.cost_usd,
        seconds=outcome.seconds,
        attempts=sum(call.attempts for call in outcome.calls),
        trace_id=marks.trace or outcome.trace_id,
        conversation_id=marks.conversation,
        client_id=marks.client,
        workload=marks.workload or skill.name,
        trainable=_trainable(served, provenance),
        interactive=bool(marks.interactive),
        tags=marks.tags if outcome.binding is None else {**marks.tags, "binding": outcome.binding},
    )


def _request(skill: Skill[Any, Any], request: Request) -> dict[str, Any]:
    """What the models were told; the first message is the system's, the last has the inputs."""
    examples = [{"role": one.role, "content": one.content} for one in request.messages[1:-1]]
    return {
        "skill": skill.name,
        "instructions": skill.instructions,
        "text": request.messages[-1].content,
        "schema": request.output.schema,
        "max_tokens": request.max_tokens,
        **({"examples": examples} if examples else {}),
    }


def _response(skill: Skill[Any, Any], outcome: Outcome[Any]) -> dict[str, Any] | None:
    """The value, and beside it what each model answered where that was not served."""
    if outcome.served_by == "none":
        return None
    found: dict[str, Any] = {
        "value": skill.output.to_json(outcome.value),
        "confidence": outcome.confidence,
    }
    by = {path: one.served_by for path, one in outcome.fields.items()}
    if by:
        found["served_by"] = by
    if outcome.draft is not None:
        found["draft"] = outcome.draft.text
    if outcome.answers:
        found["answers"] = [{"rung": one.rung, "value": one.value} for one in outcome.answers]
    return found


def _error(outcome: Outcome[Any]) -> CallError | None:
    if outcome.served_by != "none":
        return None
    error = outcome.error
    if error is None:
        return CallError(outcome.reason or "NoAnswer")
    return CallError(type(error).__name__, getattr(error, "status", None), error.message)


def _serving(outcome: Outcome[Any]) -> list[Call]:
    """The calls whose answers are in the value."""
    roles: Mapping[str, tuple[str, ...]] = {"both": ("slm", "llm"), "none": ()}
    wanted = roles.get(outcome.served_by, (outcome.served_by,))
    return [
        call
        for call in outcome.calls
        if call.role in wanted
        and call.error is None
        and (call.role == "slm" or outcome.rung in (None, call.rung))
    ]


def _trainable(served: list[Call], provenance: Provenance) -> Trainable:
    return strictest(*(provenance.of(call.model) for call in served)) if served else "unknown"
