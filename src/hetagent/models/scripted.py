"""A model with chosen answers, for tests of code that uses hetagent; nothing is computed."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hetagent.errors import HetagentError, ModelError
from hetagent.models.base import Completion, Request, Token
from hetagent.outcome import Usage
from hetagent.spans import spans

__all__ = ["Answer", "Scripted"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a `Scripted` model.

    Attributes:
        value: The answer as a value of the skill's output type or as JSON data; with ``raw`` set
            it is not used.
        confidence: Probability of the whole value. Of a choice, the other labels share the rest.
        fields: Probability by field path; fields that are not named have probability 1. The whole
            value then has the product, and ``confidence`` is not used.
        choices: For a choice: the probability of every label, instead of ``confidence``.
        outside: Probability mass outside the constraint.
        raw: The answer's text exactly as given, valid or not.
        truncated: Whether the token limit cut it off.
        delay: Seconds to take for the answer; in a stream, in equal parts before each token.
        error: Raised instead of answering.
        usage: Tokens and cost to report.
    """

    value: Any = None
    confidence: float = 1.0
    fields: Mapping[str, float] = field(default_factory=dict)
    choices: Mapping[str, float] | None = None
    outside: float = 0.0
    raw: str | None = None
    truncated: bool = False
    delay: float = 0.0
    error: HetagentError | None = None
    usage: Usage = field(default_factory=Usage)


Script: TypeAlias = "Answer | Iterable[Answer] | Mapping[str, Answer] | Callable[[Request], Answer]"


class Scripted:
    """A deterministic model for tests.

    Args:
        script: What it answers: one `Answer` to everything; a sequence, one for each call; a
            mapping from the input's text to its answer; or a function of the request.
        name: Its name in outcomes.

    Attributes:
        requests: Every request it was given, in order.

    Example:
        >>> from hetagent import Answer, Orchestrator, Scripted, skill
        >>> @skill
        ... def urgent(message: str) -> bool:
        ...     '''Decide whether the message is urgent.'''
        >>> agent = Orchestrator(slm=Scripted(Answer(True, confidence=0.97)))
        >>> agent.run(urgent, "The kitchen is on fire").confidence
        0.97
    """

    def __init__(self, script: Script, *, name: str = "scripted") -> None:
        self._name = name
        self._answer_for = _reader(script)
        self.requests: list[Request] = []

    @property
    def name(self) -> str:
        """Its name in outcomes."""
        return self._name

    def __repr__(self) -> str:
        return f"Scripted({self._name!r})"

    async def complete(self, request: Request) -> Completion:
        """Answer as scripted; see `hetagent.models.base.Model.complete`."""
        answer = self._next_answer(request)
        await asyncio.sleep(answer.delay)
        return self._completion(request, answer)

    async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
        """Answer as scripted; see `hetagent.models.base.StreamingModel.stream`."""
        answer = self._next_answer(request)
        if answer.error is not None:
            await asyncio.sleep(answer.delay)
        completion = self._completion(request, answer)
        tokens = completion.tokens or ()
        for token in tokens:
            await asyncio.sleep(answer.delay / len(tokens))
            yield token
        if not tokens:
            await asyncio.sleep(answer.delay)
        yield completion

    def _next_answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self._answer_for(request)

    def _completion(self, request: Request, answer: Answer) -> Completion:
        if answer.error is not None:
            raise answer.error
        text = answer.raw if answer.raw is not None else _text(request, answer.value)
        choices = _choices(request, text, answer)
        return Completion(
            text=text,
            model=self._name,
            finish="length" if answer.truncated else "stop",
            tokens=None if choices else tuple(_tokens(request, text, answer)),
            choices=choices,
            outside=answer.outside,
            usage=answer.usage,
        )


def _reader(script: Script) -> Callable[[Request], Answer]:
    if isinstance(script, Answer):
        return lambda _: script
    if isinstance(script, Mapping):
        by_input = dict(script)
        return lambda request: _look_up(by_input, request.messages[-1].content)
    if callable(script):
        return script
    remaining = iter(script)
    lock = threading.Lock()

    def take(_: Request) -> Answer:
        with lock:
            answer = next(remaining, None)
        if answer is None:
            raise ModelError("The script has no answer left.", hint="Give it one for each call.")
        return answer

    return take


def _look_up(answers: Mapping[str, Answer], text: str) -> Answer:
    if text not in answers:
        raise ModelError(
            f"The script has no answer to {text!r}.",
            hint=f"It answers {', '.join(map(repr, answers))}.",
        )
    return answers[text]


def _text(request: Request, value: Any) -> str:
    try:
        return request.output.encode(request.output.adapter.validate_python(value))
    except ValueError:
        # Not a value of the type: given as it is, so that its refusal can be tested.
        return value if isinstance(value, str) else json.dumps(value, default=str)


def _choices(request: Request, text: str, answer: Answer) -> Mapping[str, float] | None:
    labels = request.output.labels
    if text not in labels:
        return None
    if answer.choices is not None:
        if text not in answer.choices:
            raise ModelError(
                f"The script gives choices, but none to its answer {text!r}.",
                hint="Name every label of the skill in choices=.",
            )
        return answer.choices
    rest = (1.0 - answer.confidence) / max(1, len(labels) - 1)
    return {label: answer.confidence if label == text else rest for label in labels}


def _tokens(request: Request, text: str, answer: Answer) -> Iterator[Token]:
    """One token for each field, holding its probability; the text between them is forced."""
    data = text.encode()
    marks: list[tuple[int, int, float]] = []
    if answer.fields and request.output.form == "json":
        tree = [span for span in spans(text) if span.path in answer.fields]
        marks = [(span.start, span.end, answer.fields[span.path]) for span in tree if span.is_leaf]
    elif data:
        marks = [(0, len(data), answer.confidence)]
    position = 0
    for start, end, probability in marks:
        if start > position:
            yield Token(0, data[position:start], 0.0, 0.0, start - position)
        logprob = math.log(probability) if probability > 0 else -math.inf
        yield Token(1, data[start:end], logprob, answer.outside, 0)
        position = end
    if position < len(data):
        yield Token(0, data[position:], 0.0, 0.0, len(data) - position)
