"""The tokens that a wanted answer has when it is decoded, which are those to train on.

A decoding chooses among the tokens that its constraint allows, takes forced ones without asking,
and scores fixed values by tries. A model that was trained on another tokenisation of the same text
would be asked for something else than it learned. So a lesson is made by decoding itself, with
logits that always want the next token of the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from hetagent.engine.decode import Decoding
from hetagent.engine.steps import END, Logits, Step
from hetagent.engine.tries import Path, Trie
from hetagent.engine.vocabulary import Vocabulary
from hetagent.errors import OutputError

__all__ = ["Lesson", "lesson"]

_CERTAIN = 200.0
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and the answer to learn.

    Attributes:
        prompt: Tokens up to where the answer begins.
        fixed: How many of these every prompt of the skill shares.
        answer: The answer's tokens; the end of turn is the last where it is decided on.
        free: Of each of the answer's tokens, whether the model chooses it. The others are forced
            by the constraint.
    """

    prompt: tuple[int, ...]
    fixed: int
    answer: tuple[int, ...]
    free: tuple[bool, ...]


def lesson(decoding: Decoding, text: str, *, vocabulary: Vocabulary, end: int) -> Lesson:
    """Decode a request so that it gives a wanted answer.

    Args:
        decoding: The request, prepared and not begun. It is used up.
        text: The answer, as the output type writes it.
        vocabulary: The model's tokens.
        end: The token that ends an answer.

    Raises:
        OutputError: The answer is none that this request can have.
    """
    wanted = _Wanted(text, vocabulary=vocabulary, end=end)
    prompt = len(decoding.prompt) - decoding.fixed  # comes with the first step
    while True:
        try:
            step = next(decoding.answer)
        except StopIteration as stop:
            if stop.value["text"] != text:
                break
            tokens = stop.value["tokens"]
            made = wanted.choice if tokens is None else tuple(one.id for one in tokens)
            free = tuple(place in wanted.asked for place in range(len(made)))
            return Lesson(decoding.prompt, decoding.fixed, made, free)
        wanted.append(step.append[prompt:])
        prompt = 0
        if not wanted.answer(step):
            break
    raise OutputError(
        f"The answer {text!r} cannot be decoded: the output type has no such value, or writes it "
        "in another way.",
        text=text,
        hint="Write it with skill.output.encode(value).",
    )


class _Wanted:
    """The answer on its way: what is there of it, and what is to come next."""

    def __init__(self, text: str, *, vocabulary: Vocabulary, end: int) -> None:
        self._text = text.encode()
        self._vocabulary = vocabulary
        self._end = end
        self._made = 0
        self._place = 0
        # How the rest is written, as long as the decoding takes just that.
        self._ahead: deque[int] = deque()
        self.asked: set[int] = set()
        self.choice: Path = ()

    def append(self, tokens: Sequence[int]) -> None:
        self._place += len(self._text_of(tokens))
        self._made += len(tokens)
        for token in tokens:
            if self._ahead and self._ahead.popleft() != token:
                self._ahead.clear()

    def answer(self, step: Step) -> bool:
        """Give a step the logits that lead to the answer; whether there are any."""
        if not isinstance(step.trie, Trie):
            self.asked.add(self._made)
            step.meanwhile()
            step.read([END], self._next())
            return True
        path = self._path_of(step.trie)
        if path is None:
            return False
        wanted = step.trie.wanted
        following = [-1] * len(wanted)
        for depth in range(len(path)):
            for row, node in enumerate(wanted):
                if step.trie.tokens_to(node) == path[:depth]:
                    following[row] = path[depth]
                    self.asked.add(self._made + depth)
        step.meanwhile()
        step.read(wanted, self._logits(following))
        self.choice = path
        return True

    def _next(self) -> Logits:
        """Logits of the token that goes on with the answer.

        Where the constraint forbids it, the longest other one that goes on with it is next.
        """
        rest = self._text[self._place :]
        if not rest:
            return self._logits([self._end])
        if not self._ahead and rest[0] & 0xC0 != 0x80:  # not within a character
            self._ahead.extend(self._vocabulary.encode(rest.decode()))
        logits = self._logits([self._ahead[0] if self._ahead else -1])
        spelled = _by_text(cast(Any, self._vocabulary))
        for length in range(1, min(len(rest), _SHORT) + 1):
            token = spelled.get(rest[:length])
            if token is not None and logits[0, token] < _CERTAIN:
                logits[0, token] = _CERTAIN / 2 + length
        return logits

    def _path_of(self, trie: Trie) -> Path | None:
        """The path that spells what comes next; the longest of several."""
        rest = self._text[self._place :]
        found = [path for path in trie.paths if self._spells(path, rest)]
        return max(found, key=len, default=None)

    def _spells(self, path: Path, rest: bytes) -> bool:
        if path[-1] == self._end:
            return self._text_of(path[:-1]) == rest
        return rest.startswith(self._text_of(path))

    def _text_of(self, tokens: Sequence[int]) -> bytes:
        return b"".join(map(self._vocabulary.piece, tokens))

    def _logits(self, following: Sequence[int]) -> Logits:
        found = np.zeros((len(following), self._vocabulary.size), dtype=np.float32)
        for row, token in enumerate(following):
            if token >= 0:
                found[row, token] = _CERTAIN
        return found


@lru_cache(maxsize=4)
def _by_text(vocabulary: Any) -> Mapping[bytes, int]:
    """The tokens that stand for texts, by these; the first of several."""
    texts = ((vocabulary.piece(token), token) for token in reversed(range(vocabulary.size)))
    return {text: token for text, token in texts if text}
