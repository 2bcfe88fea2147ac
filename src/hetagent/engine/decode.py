"""One request to one answer: the decoding that every local model shares.

Two ways to answer, both greedy and both exact in what they report:

- A **choice** is not decoded but scored: the probability of every label over the trie of the
  labels' canonical tokens, each followed by the end of turn (`hetagent.engine.tries`).
- Everything else is decoded under the constraint's mask (`hetagent.engine.constrained`).

Taking the softmax over the allowed tokens, instead of sampling freely and checking afterwards, is
what makes the numbers probabilities: see Willard and Louf 2023, "Efficient Guided Generation for
Large Language Models" (arXiv 2307.09702), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hetagent.constraint import Compiler
from hetagent.engine.best_first import choose_best
from hetagent.engine.chat import ChatPrompt, ChatTokenizer
from hetagent.engine.constrained import ConstrainedDecoder
from hetagent.engine.steps import Answer, Step
from hetagent.engine.tries import Path, Trie, TrieScores
from hetagent.engine.vocabulary import Vocabulary
from hetagent.errors import ConstraintError, InputTooLongError
from hetagent.models.base import Completion, Request, Token
from hetagent.outcome import Usage
from hetagent.schema import OutputType

__all__ = ["Decoder", "Decoding"]

Watch = Callable[[Token], None]


@dataclass(frozen=True, slots=True)
class Decoding:
    """A request, ready to be evaluated.

    Attributes:
        prompt: Its tokens.
        fixed: How many of them, from the start, are worth keeping for other requests; the last
            token of a prompt is never among them, since its logits are needed.
        answer: The steps that lead to an answer; its first appends the rest of the prompt.
        model: Name of the model.
    """

    prompt: tuple[int, ...]
    fixed: int
    answer: Answer
    model: str

    def completion(
        self, answer: Mapping[str, Any], *, cached: int, seconds: Mapping[str, float]
    ) -> Completion:
        """What the model gives, once the answer is there.

        Args:
            answer: What the generator returned.
            cached: How many tokens of the prompt were not evaluated.
            seconds: Time by stage.
        """
        usage = Usage(
            prompt_tokens=len(self.prompt),
            cached_tokens=cached,
            completion_tokens=len(answer["tokens"] or ()),
        )
        return Completion(model=self.model, usage=usage, seconds=seconds, **answer)


class Decoder:
    """Turns requests into decodings; safe to use from several threads.

    Args:
        vocabulary: The model's tokens.
        chat: Its chat template.
        name: Its name, for completions and messages.
        capacity: Tokens of prompt and answer together.
        all_labels: Whether a choice has the exact probability of every label, or of the best.

    Attributes:
        end_of_turn: The token that ends an answer.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        chat: ChatTokenizer,
        name: str,
        capacity: int,
        all_labels: bool = True,
    ) -> None:
        self.end_of_turn = chat.end_of_turn
        self._all_labels = all_labels
        self._chat = chat
        self._name = name
        self._capacity = capacity
        self._compiler = Compiler(vocabulary.matcher_tokenizer([chat.end_of_turn]))
        self._constrained = ConstrainedDecoder(vocabulary, end_of_turn=chat.end_of_turn)
        # By type and what stands before the answer; a few hundred labels are some kilobytes.
        self._label_trie = lru_cache(maxsize=512)(self._compute_label_trie)

    def begin(self, request: Request, *, watch: Watch | None = None) -> Decoding:
        """Prepare a request.

        Args:
            request: What is asked.
            watch: Called with every token of the answer as it is decided.

        Raises:
            InputTooLongError: The prompt leaves no room for an answer.
            ConstraintError: The output type cannot be compiled for this vocabulary.
        """
        prompt = self._chat.encode(request.messages, fixed=request.fixed)
        if len(prompt.tokens) >= self._capacity:
            raise self._overlong(len(prompt.tokens))
        fixed = min(prompt.fixed, len(prompt.tokens) - 1)
        rest = prompt.tokens[fixed:]
        if request.output.form == "choice":
            labels, trie, longest = self._label_trie(_ByFingerprint(request.output), prompt.tail)
            if len(prompt.tokens) + longest > self._capacity:
                raise self._overlong(len(prompt.tokens) + longest)
            score = choose if self._all_labels else choose_best
            answer = score(labels, trie, rest=rest)
        else:
            room = self._capacity - len(prompt.tokens)
            answer = self._constrained.decode(
                self._compiler.compile(request.output),
                output=request.output,
                prompt=prompt.tokens,
                fixed=fixed,
                limit=min(request.max_tokens, room),
                room=room,
                watch=watch,
            )
        return Decoding(prompt.tokens, fixed, answer, self._name)

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of a request's prompt."""
        return len(self._chat.encode(request.messages).tokens)

    def _compute_label_trie(
        self, output: _ByFingerprint, tail: str
    ) -> tuple[tuple[str, ...], Trie, int]:
        prompt = ChatPrompt(tokens=(), fixed=0, tail=tail)
        labels = tuple(output.type.labels)
        end = self._chat.end_of_turn
        paths = [(*self._chat.encode_answer(label, prompt=prompt), end) for label in labels]
        self._refuse_ambiguous(dict(zip(labels, paths, strict=True)))
        return labels, Trie(paths), max(map(len, paths))

    def _overlong(self, tokens: int) -> InputTooLongError:
        return InputTooLongError(
            f"The prompt has {tokens} tokens and the context of {self._name} has "
            f"room for {self._capacity - 1} and an answer.",
            tokens=tokens,
            limit=self._capacity,
            hint="Shorten the input, or raise context= where the model allows it.",
        )

    def _refuse_ambiguous(self, paths: Mapping[str, Path]) -> None:
        """Some vocabularies lack some bytes; texts that differ in these alone are the same."""
        labels: dict[Path, str] = {}
        for label, path in paths.items():
            if path in labels:
                raise ConstraintError(
                    f"{self._name} writes the labels {labels[path]!r} and {label!r} alike.",
                    hint="Its vocabulary lacks some of their characters: rename one of them.",
                )
            labels[path] = label


class _ByFingerprint:
    """An output type as a key: equal to every type of the same schema."""

    def __init__(self, output: OutputType[Any]) -> None:
        self.type = output

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByFingerprint) and self.type.fingerprint == other.type.fingerprint

    def __hash__(self) -> int:
        return hash(self.type.fingerprint)


def choose(labels: Sequence[str], trie: Trie, *, rest: Sequence[int]) -> Answer:
    """Score a choice: the rest of the prompt and the whole trie, at once.

    Args:
        labels: As they are to be reported.
        trie: Their token paths, in the same order, end of turn included.
        rest: The tokens of the prompt that are not in the cache.
    """
    scores = TrieScores(trie)
    yield Step(append=rest, trie=trie, read=scores.read)
    best = scores.best
    inside = 1.0
    for _, pair in trie.branching_steps(best):
        inside *= 1.0 - scores.mass_outside(pair)
    probabilities = [math.exp(value) for value in scores.path_logprobs.tolist()]
    return {
        "text": labels[best],
        "tokens": None,
        "choices": dict(zip(labels, probabilities, strict=True)),
        "outside": 1.0 - inside,
    }
