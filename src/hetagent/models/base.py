"""What every model is: one coroutine from a `Request` to a `Completion`.

A model knows nothing of skills, policies or orchestrators. Local models decode under the output
type's constraint and report a probability for each token; remote models return text. All of them
return text that is either a valid answer of the output type or marked as cut off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from hetagent.errors import SkillError
from hetagent.outcome import Usage
from hetagent.schema import OutputType

__all__ = [
    "Completion",
    "IdentifiedModel",
    "Message",
    "Model",
    "PricedModel",
    "Request",
    "StreamingModel",
    "Token",
    "as_model",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt.

    Attributes:
        role: Who speaks.
        content: Plain text. Control tokens written in it are tokenised as ordinary text.
    """

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked.

    Attributes:
        messages: The prompt; the last message holds this call's inputs.
        output: The type of the answer, with its closed JSON Schema.
        max_tokens: Upper bound of the answer's length, in tokens.
        fixed: How many messages, from the first, are equal between calls of one skill, so that they
            are worth keeping evaluated; ``None`` for all but the last.
    """

    messages: tuple[Message, ...]
    output: OutputType[Any]
    max_tokens: int
    fixed: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One decoded token of an answer.

    Attributes:
        id: Its number in the model's vocabulary; -1 where a remote model does not tell it.
        text: The bytes it stands for; empty for the end of turn.
        logprob: Natural logarithm of its probability among the tokens the constraint allowed.
        outside: Probability the unconstrained model gave to tokens the constraint forbade.
        free: Offset within ``text`` of its first byte that the constraint did not force;
            ``len(text)`` where it forced them all.
    """

    id: int
    text: bytes
    logprob: float
    outside: float
    free: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Attributes:
        text: The answer: JSON, or the bare value for a bare output type.
        model: Name of the model that answered.
        finish: ``"stop"`` where the answer is complete, ``"length"`` where the token limit cut it.
        tokens: Each decoded token with its probability; ``None`` where the model gives none, and
            for a choice, whose labels are scored and not decoded.
        choices: For a choice: the probability of every label, summing to 1; otherwise ``None``.
        outside: For a choice: probability mass that left the labels along the answer's path.
        usage: Tokens read and written, and cost.
        seconds: Time by stage, in seconds, e.g. ``{"queue": …, "prefill": …, "decode": …}``.
        attempts: How many calls it took, retries and repairs included.
    """

    text: str
    model: str
    finish: Literal["stop", "length"] = "stop"
    tokens: tuple[Token, ...] | None = None
    choices: Mapping[str, float] | None = None
    outside: float | None = None
    usage: Usage = field(default_factory=Usage)
    seconds: Mapping[str, float] = field(default_factory=dict)
    attempts: int = 1


@runtime_checkable
class Model(Protocol):
    """Anything that completes a request.

    Implementations must be safe to call concurrently, must stop work soon after their task is
    cancelled, and raise only errors of `hetagent.errors`.
    """

    @property
    def name(self) -> str:
        """A short name for tables, traces and messages."""

    async def complete(self, request: Request) -> Completion:
        """Answer a request.

        Args:
            request: Prompt, output type and limits.

        Returns:
            The answer. Its text is valid for ``request.output``, unless ``finish`` is
            ``"length"``.

        Raises:
            ModelError: The model could not be run.
            InputTooLongError: The prompt does not fit the model's context.
            OutputError: The model's answer is not valid, even after repair.

        What was paid for an answer that failed is in the error's ``usage``; without it, nothing is
        counted.
        """


@runtime_checkable
class StreamingModel(Model, Protocol):
    """A model that also tells what it writes while it writes."""

    def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
        """Answer a request, token by token.

        Closing the iterator (``aclose``) before its end stops the work.

        Args:
            request: Prompt, output type and limits.

        Yields:
            Each token as soon as it is decided, and last the completion, with all of them. A
            choice, whose labels are scored and not decoded, yields only its completion.

        Raises:
            HetagentError: As in `Model.complete`.
        """


@runtime_checkable
class IdentifiedModel(Model, Protocol):
    """A model that tells exactly what its answers depend on, so that a certificate can name it."""

    def identity(self) -> Mapping[str, str]:
        """Parts by name, such as ``model``, ``adapters`` and ``quantisation``; hashes of files.

        Raises:
            ModelError: A file cannot be read.
        """


@runtime_checkable
class PricedModel(Model, Protocol):
    """A model that can tell beforehand what an answer costs, for budgets."""

    async def price(self, request: Request) -> float | None:
        """What one answer costs at most: the prompt, and as long an answer as can be.

        Returns:
            US dollars, without a repair; 0 of a local model, ``None`` where the price is not known.
        """


def as_model(given: Any, name: str) -> Any:
    """What was given as a model, or an error that says how to give one.

    Raises:
        SkillError: It is neither a model nor ``None``.
    """
    if given is None or isinstance(given, Model):
        return given
    raise SkillError(
        f"{name} is {given!r}, which is not a model.",
        hint='Give LlamaCpp("smollm2-135m-instruct"), LiteLLM("openai/gpt-5-mini") or the like.',
    )
