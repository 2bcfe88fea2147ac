"""The simplest way to evaluate an answer: one sequence, one step after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from hetagent.engine.decode import Decoding
from hetagent.engine.steps import END, Logits
from hetagent.engine.tries import Path
from hetagent.models.base import Completion

__all__ = ["Evaluator", "run"]


class Evaluator(Protocol):
    """A model that holds one text and says what may come next."""

    def start(self, tokens: Sequence[int]) -> Logits:
        """Begin a new text; logits after its last token, shape ``[vocabulary]``."""

    def extend(self, tokens: Sequence[int]) -> Logits:
        """Append tokens; logits after the last, shape ``[vocabulary]``."""

    def branch(self, paths: Sequence[Path]) -> list[Logits]:
        """Logits after each of several continuations of the text, which stays as it is."""


def run(decoding: Decoding, evaluator: Evaluator, *, check: Callable[[], None]) -> Completion:
    """Evaluate an answer.

    Args:
        decoding: The request, prepared.
        evaluator: The model.
        check: Called before every step; raises to stop.
    """
    began = time.perf_counter()
    prefilled: float | None = None
    answer = decoding.answer
    while True:
        check()
        try:
            step = next(answer)
        except StopIteration as stop:
            ended = time.perf_counter()
            read = prefilled or ended
            seconds = {"prefill": read - began, "decode": ended - read}
            return decoding.completion(stop.value, cached=0, seconds=seconds)
        places: list[int] = []
        logits: list[Logits] = []
        if prefilled is None:
            start = [*decoding.prompt[: decoding.fixed], *step.append]
            places, logits = [END], [evaluator.start(start)]
            prefilled = time.perf_counter()
        elif step.append:
            places, logits = [END], [evaluator.extend(step.append)]
        step.meanwhile()
        if step.trie is not None:
            inner = [node for node in step.trie.wanted if node != END]
            places += inner
            logits += evaluator.branch([step.trie.tokens_to(node) for node in inner])
        step.read(places, np.stack(logits))
