"""What a caller gets: a value, how sure we are of it, and who gave it at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic_core import to_jsonable_python

from hetagent.errors import HetagentError

if TYPE_CHECKING:
    from hetagent.evidence import Evidence

__all__ = [
    "Basis",
    "Call",
    "Draft",
    "FieldOutcome",
    "Outcome",
    "Reason",
    "RungAnswer",
    "ServedBy",
    "Usage",
]

R = TypeVar("R")

ServedBy = Literal["slm", "llm", "both", "none"]
"""Who served a value: ``both`` where the LLM gave some fields and the SLM the others."""

Reason = Literal[
    "low_confidence",
    "invalid_output",
    "truncated",
    "model_error",
    "timeout",
    "input_too_long",
    "invalid_input",
    "no_confidence",
    "policy",
    "cancelled",
    "budget",
    "drift",
]
"""Why the SLM's answer was not accepted, or, with ``budget``, why nobody else was asked.

With ``drift``, audits found that the certificate's promise no longer holds.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money.

    Attributes:
        prompt_tokens: Tokens read, those found in a cache included.
        cached_tokens: Of these, tokens found in a cache and not evaluated again.
        completion_tokens: Tokens written.
        cost_usd: US dollars; 0 for a local model, ``None`` where the price is not known.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Sum; the cost is unknown where either cost is."""
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """One field of a record or list: a leaf, or a list or optional record that was decided on.

    Attributes:
        value: The field's value as JSON data.
        confidence: Raw probability that it is correct; ``None`` where the model gave none.
        served_by: Who gave it.
        outside: Probability that the unconstrained model would have left the constraint on the
            way; ``None`` where the model gave no probabilities.
    """

    value: Any
    confidence: float | None
    served_by: Literal["slm", "llm"]
    outside: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one model within an outcome.

    Attributes:
        role: What the model was asked as.
        model: Its name.
        usage: Tokens and cost of this call; of one that was stopped early, what it wrote.
        seconds: Time by stage, in seconds; ``total`` is the whole call.
        attempts: Tries it took, retries and repairs included.
        error: Why it gave no answer, or ``None``.
        rung: Index of the LLM; ``None`` for the SLM.
    """

    role: Literal["slm", "llm"]
    model: str
    usage: Usage
    seconds: Mapping[str, float]
    attempts: int = 1
    error: HetagentError | None = None
    rung: int | None = None


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision about the SLM's answer rests on, where its confidence is calibrated.

    Attributes:
        certificate: Its id.
        max_error: The error rate it keeps among accepted answers.
        confidence: Calibrated, by field path, with ``""`` for the whole value.
        least: The least confidence that is accepted, likewise; ``None`` where none is.
        gains: Expected gain of asking each LLM, in US dollars, where that was weighed.
        promised: Paths of what the certificate vouches for in this answer: ``""`` where it is
            accepted as a whole, otherwise the fields that are sure enough by themselves.
    """

    certificate: str
    max_error: float
    confidence: Mapping[str, float]
    least: Mapping[str, float | None]
    gains: tuple[float, ...] = ()
    promised: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """The SLM's answer where it was not accepted.

    Attributes:
        text: The answer as decoded; of a stream, up to where it was stopped.
        value: It as a value of the output type; ``None`` where it is not valid or not complete.
        confidence: Raw confidence in the whole value, or what there is of it; 0 where it is not
            valid.
        fields: Raw confidence by field path.
    """

    text: str
    value: Any
    confidence: float | None
    fields: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class RungAnswer:
    """A whole, valid answer that an LLM gave, whether it was served or not.

    Attributes:
        rung: Index of that LLM.
        value: As JSON data.
        agrees: Whether it is the SLM's answer again; ``None`` where there is no valid one.
        evidence: What calibration sees of it, by path, with ``""`` for the whole; empty where the
            LLM reports no probabilities.
    """

    rung: int
    value: Any
    agrees: bool | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What a caller gets from a skill.

    Attributes:
        skill: Name of the skill.
        value: The answer; ``None`` where ``served_by`` is ``"none"``.
        confidence: Probability that the whole value is correct: calibrated where ``basis`` says
            so, otherwise raw; ``None`` where the model that served it reports no probabilities.
        fields: The fields of a record or list, by path such as ``"items[0].name"``; empty for a
            bare value.
        outside: Of the served value, as in `FieldOutcome`; ``None`` where it is of both models.
        choices: For a choice the SLM scored: the probability of every label.
        served_by: Who gave the value.
        reason: Why the SLM's answer was not accepted; ``None`` where it was.
        draft: The SLM's answer where it was not accepted and there was one.
        error: The last error met on the way, or ``None``.
        calls: Every model call made, in the order they began.
        seconds: Wall-clock time of the whole run, in seconds.
        trace_id: 32 hexadecimal digits, the OpenTelemetry trace id where a span is active.
        rung: Index of the LLM that gave the value, or the last of its fields; ``None`` where no
            LLM did.
        basis: What the decision about the SLM's answer rests on; ``None`` without a certificate.
        evidence: What calibration sees of the SLM's answer, by path, with ``""`` for the whole;
            empty where there was no valid one.
        answers: Of the LLMs that were asked for all of it, in the order in which they were.
        weak: Paths of the SLM's fields that were not sure enough.
        least: The least confidence that the policy accepts, by path of what it compared, with
            ``""`` for the whole; ``None`` where it accepts nothing; empty where it does not say.
        binding: Id of the registry's binding that the SLM was of; ``None`` where it was none.
    """

    skill: str
    value: R | None
    confidence: float | None
    served_by: ServedBy
    trace_id: str
    seconds: float
    fields: Mapping[str, FieldOutcome] = field(default_factory=dict)
    outside: float | None = None
    choices: Mapping[str, float] | None = None
    reason: Reason | None = None
    draft: Draft | None = None
    error: HetagentError | None = None
    calls: tuple[Call, ...] = ()
    rung: int | None = None
    basis: Basis | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    answers: tuple[RungAnswer, ...] = ()
    weak: tuple[str, ...] = ()
    least: Mapping[str, float | None] = field(default_factory=dict)
    binding: str | None = None

    @property
    def usage(self) -> Usage:
        """Tokens and cost of all calls together."""
        return sum((call.usage for call in self.calls), start=Usage())

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all calls together; ``None`` where a price is not known."""
        return self.usage.cost_usd

    @property
    def escalated(self) -> bool:
        """Whether the LLM was called."""
        return any(call.role == "llm" for call in self.calls)

    @property
    def latency(self) -> Mapping[str, float]:
        """Seconds by stage: ``slm``, ``slm.prefill``, ``llm``, … and ``total``."""
        stages: dict[str, float] = {}
        for call in self.calls:
            for stage, seconds in call.seconds.items():
                key = call.role if stage == "total" else f"{call.role}.{stage}"
                stages[key] = stages.get(key, 0.0) + seconds
        stages["total"] = self.seconds
        return stages

    def explain(self) -> str:
        """What was answered, by whom, how surely, and why so, in plain words; several lines."""
        from hetagent.explain import explain

        return explain(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON data, for logs and scripts."""
        error = self.error
        return {
            "skill": self.skill,
            "value": _plain(self.value),
            "confidence": self.confidence,
            "outside": self.outside,
            "served_by": self.served_by,
            "rung": self.rung,
            "binding": self.binding,
            "reason": self.reason,
            "fields": {path: asdict(one) for path, one in self.fields.items()},
            "choices": None if self.choices is None else dict(self.choices),
            "draft": None if self.draft is None else _plain(self.draft),
            "error": None
            if error is None
            else {"type": type(error).__name__, "message": str(error)},
            "basis": None if self.basis is None else _plain(self.basis),
            "evidence": {path: asdict(one) for path, one in self.evidence.items()},
            "answers": [_plain(one) for one in self.answers],
            "weak": list(self.weak),
            "least": dict(self.least),
            "usage": asdict(self.usage),
            "latency": dict(self.latency),
            "trace_id": self.trace_id,
        }


def _plain(value: Any) -> Any:
    """JSON data of any value; a tool's function by its name."""
    return to_jsonable_python(value, fallback=lambda one: getattr(one, "__name__", str(one)))
