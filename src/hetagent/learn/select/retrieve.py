"""A model that is shown, before each question, the labelled examples nearest to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np

from hetagent.errors import InputError, InputTooLongError
from hetagent.fingerprint import digest
from hetagent.learn.cluster.embed import Embed, unit, wordllama
from hetagent.learn.select.vectors import embedding_name
from hetagent.models.base import Completion, IdentifiedModel, Message, Model, PricedModel, Request
from hetagent.skill import Skill

__all__ = ["Example", "Retrieved", "examples_of"]


class Example(NamedTuple):
    """A question as the skill renders it, and the text of its right answer."""

    question: str
    answer: str


def examples_of(skill: Skill[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> list[Example]:
    """Labelled pairs of inputs and JSON values as the texts that a model reads and writes.

    Raises:
        InputError: A pair does not fit the skill.
    """
    found = []
    for row, label in pairs:
        args, kwargs = skill.bind_row(row)
        request = skill.request(*args, **kwargs)
        found.append(Example(request.messages[-1].content, request.output.text_of_json(label)))
    return found


class Retrieved:
    """A model that is shown the nearest labelled examples as turns before the user's own.

    The nearest comes last. Where the prompt then does not fit the model's context, or leaves no
    room for the answer, the farthest are left out one by one. Closing it closes the model within.

    Args:
        model: Answers.
        examples: What is shown; their answers must be valid for the requests to come.
        k: How many at most.
        embed: Texts to vectors; nearness is the cosine of these.
        name: Its name; by default the model's, with k.

    Raises:
        InputError: There are no examples, or ``k`` is less than 1.
    """

    def __init__(
        self,
        model: Model,
        examples: Sequence[Example],
        *,
        k: int = 5,
        embed: Embed = wordllama,
        name: str | None = None,
    ) -> None:
        if k < 1 or not examples:
            raise InputError(
                f"There are {len(examples)} examples, of which {k} are to be shown.",
                hint="Give at least one of each.",
            )
        self._model = model
        self._examples = tuple(examples)
        self._k = min(k, len(examples))
        self._embed = embed
        self._vectors = unit(embed([example.question for example in self._examples]))
        self._name = name or f"{model.name} +{k} examples"

    @property
    def name(self) -> str:
        """A short name for tables, traces and messages."""
        return self._name

    def __repr__(self) -> str:
        return f"Retrieved({self._model!r}, {len(self._examples)} examples, k={self._k})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the model within, where it can be closed."""
        if (close := getattr(self._model, "close", None)) is not None:
            close()

    def nearest(self, question: str) -> list[Example]:
        """The examples nearest to a question, the nearest last."""
        likeness = self._vectors @ unit(self._embed([question]))[0]
        order = np.argsort(-likeness, kind="stable")[: self._k]
        return [self._examples[place] for place in reversed(order.tolist())]

    async def complete(self, request: Request) -> Completion:
        """Answer a request; see `hetagent.models.base.Model.complete`."""
        shown = self.nearest(request.messages[-1].content)
        while True:
            try:
                completion = await self._model.complete(_with(request, shown))
            except InputTooLongError:
                if not shown:
                    raise
            else:
                if not (shown and _lacked_room(completion, request)):
                    return replace(completion, model=self._name)
            shown = shown[1:]

    async def price(self, request: Request) -> float | None:
        """What an answer costs at most; see `hetagent.models.base.PricedModel`."""
        if not isinstance(self._model, PricedModel):
            return None
        return await self._model.price(_with(request, self.nearest(request.messages[-1].content)))

    def identity(self) -> Mapping[str, str]:
        """What its answers depend on: the model, the examples, and how they are found.

        Raises:
            ModelError: A file of the model cannot be read.
        """
        model = self._model
        of_model = model.identity() if isinstance(model, IdentifiedModel) else {"model": model.name}
        return {
            **of_model,
            "examples": digest(self._examples),
            "shown": str(self._k),
            "embedding": embedding_name(self._embed),
        }


def _with(request: Request, shown: Sequence[Example]) -> Request:
    *before, question = request.messages
    turns = [
        message
        for example in shown
        for message in (Message("user", example.question), Message("assistant", example.answer))
    ]
    # What is shown differs from call to call, and is not worth keeping evaluated.
    return replace(request, messages=(*before, *turns, question), fixed=len(before))


def _lacked_room(completion: Completion, request: Request) -> bool:
    """Whether an answer was cut off by the end of the context, not by the request's own limit."""
    if completion.finish != "length" or completion.tokens is None:
        return False
    return len(completion.tokens) < request.max_tokens
