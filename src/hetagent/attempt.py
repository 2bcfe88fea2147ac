"""One model call: what it gave, read and scored, or why it gave nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hetagent.confidence import Score, score
from hetagent.errors import (
    HetagentError,
    InputTooLongError,
    ModelError,
    ModelTimeoutError,
    OutputError,
)
from hetagent.evidence import Evidence, evidence
from hetagent.models.base import Completion, Model, Request
from hetagent.outcome import Call, Reason

__all__ = ["Attempt", "checked", "explain", "read"]

_log = logging.getLogger("hetagent")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one model call gave: a scored value, or why there is none.

    Attributes:
        call: The call, as outcomes report it; ``None`` where the model was not called at all.
        text: The answer as decoded; empty where there is none.
        value: It as a value of the output type.
        json: It as JSON data.
        score: Its raw confidence; ``None`` where it is not valid.
        evidence: What calibration sees of it, by path; empty without probabilities.
        completion: All that the model gave.
        reason: Why it cannot be used; ``None`` where it can.
        error: What went wrong.
    """

    call: Call | None
    text: str = ""
    value: Any = None
    json: Any = None
    score: Score | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    completion: Completion | None = None
    reason: Reason | None = None
    error: HetagentError | None = None

    @property
    def valid(self) -> bool:
        """Whether there is a valid answer."""
        return self.reason is None


def checked(completion: object, request: Request) -> None:
    """Refuse what is no completion of the request: a model may be anybody's code.

    Raises:
        ModelError: The model's implementation is at fault.
    """
    fault = ""
    if not isinstance(completion, Completion):
        fault = f"complete() returned a {type(completion).__name__}, not a Completion"
    elif completion.choices is not None and set(completion.choices) != set(request.output.labels):
        fault = "its choices are not the labels of the output type"
    elif completion.choices is not None and completion.text not in completion.choices:
        fault = f"its text {completion.text!r} is not among its choices"
    if fault:
        raise ModelError(f"The model is at fault: {fault}.", hint="See hetagent.models.base.")


def read(completion: Completion, request: Request, call: Call) -> Attempt:
    """Validate and score a completion; what fails counts as no confidence."""
    attempt = Attempt(call, text=completion.text, completion=completion)
    if completion.finish == "length":
        error = OutputError(
            f"The answer was cut off at {request.max_tokens} tokens.",
            text=completion.text,
            hint="Raise the skill's max_tokens, or bound its strings and lists.",
        )
        return replace(attempt, reason="truncated", error=error)
    try:
        value = request.output.parse(completion.text)
        data = request.output.json_of_text(completion.text)
        scored = score(completion, request.output)
    except OutputError as error:
        return replace(attempt, reason="invalid_output", error=error)
    known = evidence(scored, asked=request.messages[-1].content)
    return replace(attempt, value=value, json=data, score=scored, evidence=known)


def explain(error: Exception, model: Model, *, limit: float | None) -> tuple[HetagentError, Reason]:
    """An exception of a model as an error of ours, and the reason it stands for.

    Args:
        error: What was raised.
        model: Who raised it.
        limit: Seconds the call was allowed.
    """
    if isinstance(error, TimeoutError):
        within = "in time" if limit is None else f"within {limit} seconds"
        timeout = ModelTimeoutError(
            f"{model.name} gave no answer {within}.",
            hint="Raise timeout=, or use a faster model.",
        )
        return timeout, "timeout"
    if isinstance(error, ModelTimeoutError):
        return error, "timeout"
    if isinstance(error, InputTooLongError):
        return error, "input_too_long"
    if isinstance(error, OutputError):
        return error, "invalid_output"
    if isinstance(error, HetagentError):
        return error, "model_error"
    _log.error("%s raised an unexpected error", model.name, exc_info=error)
    unexpected = ModelError(
        f"{model.name} failed: {type(error).__name__}: {error}",
        hint="This is a fault of the model's implementation; the log has its traceback.",
    )
    unexpected.__cause__ = error
    return unexpected, "model_error"
