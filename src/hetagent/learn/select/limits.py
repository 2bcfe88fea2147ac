"""Hard limits: what a model must be before anything is measured, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hetagent.errors import InputError

__all__ = ["Facts", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model beforehand; ``None`` where it is not.

    Attributes:
        size_bytes: Of its weights.
        licence: SPDX identifier, or the licence's name.
        outputs_train: Whether the licence lets its outputs train other models.
        context_tokens: What it was trained for.
        languages: ISO 639-1 codes.
        reasoning: Whether it was trained to reason before it answers.
    """

    size_bytes: int | None = None
    licence: str | None = None
    outputs_train: Literal["yes", "no", "unknown"] = "unknown"
    context_tokens: int | None = None
    languages: frozenset[str] | None = None
    reasoning: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What no model may break. What is not known of a model is held against it.

    Attributes:
        licences: Those that are allowed, as the catalogue names them; ``None`` for any.
        outputs_train: Whether its outputs must be free to train other models.
        context: Tokens of prompt and answer that it must hold.
        memory_bytes: The most that it may take.
        p95_seconds: The most that 95 of 100 calls may take, one at a time.
        languages: Those it must know, as ISO 639-1 codes.
        reasoning: Whether it must have been trained to reason.

    Raises:
        InputError: A limit is not positive.
    """

    licences: frozenset[str] | None = None
    outputs_train: bool = False
    context: int | None = None
    memory_bytes: int | None = None
    p95_seconds: float | None = None
    languages: frozenset[str] = frozenset()
    reasoning: bool = False

    def __post_init__(self) -> None:
        for name in ("context", "memory_bytes", "p95_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"The limit {name} is {value!r}.", hint="Give more than 0.")

    def refusal(self, facts: Facts) -> str | None:
        """Why a model is not let into the race; ``None`` where it is."""
        if self.licences is not None:
            allowed = {name.lower() for name in self.licences}
            if facts.licence is None:
                return "its licence is not known"
            if facts.licence.lower() not in allowed:
                return f"its licence is {facts.licence}"
        if self.outputs_train and facts.outputs_train != "yes":
            known = "forbids" if facts.outputs_train == "no" else "is not known to allow"
            return f"its licence {known} training on its outputs"
        if self.context is not None and (facts.context_tokens or 0) < self.context:
            return f"its context has {_tokens(facts.context_tokens)}, {self.context:,} are needed"
        if self.memory_bytes is not None and (facts.size_bytes or 0) > self.memory_bytes:
            return f"its weights alone have {(facts.size_bytes or 0) / 1e6:,.0f} MB"
        if self.languages:
            if facts.languages is None:
                return "its languages are not known"
            if lacking := sorted(self.languages - facts.languages):
                return f"it is not said to know {', '.join(lacking)}"
        if self.reasoning and not facts.reasoning:
            return "it was not trained to reason"
        return None

    def excess(self, *, p95_seconds: float, memory_bytes: int | None) -> str | None:
        """What is over a limit now that it was measured; ``None`` where nothing is."""
        if self.p95_seconds is not None and p95_seconds > self.p95_seconds:
            return f"p95 of {p95_seconds:.3g} s is over the limit"
        if self.memory_bytes is not None and (memory_bytes or 0) > self.memory_bytes:
            return f"{(memory_bytes or 0) / 1e6:,.0f} MB of memory are over the limit"
        return None


def _tokens(count: int | None) -> str:
    return "an unknown number of tokens" if count is None else f"{count:,} tokens"
