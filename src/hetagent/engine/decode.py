"""One request to one completion: the decoding that every local model shares.

Two ways to answer, both greedy and both exact in what they report:

- A **choice** is not decoded but scored. Its labels, in their canonical tokens followed by the end
  of turn, form a trie. At each node the softmax over the node's children gives the probability of
  each; the product along a path is the label's probability, and all labels sum to 1. A node with
  one child contributes 1 and is not evaluated.
- Everything else is decoded under the constraint's mask. At each step the softmax over the allowed
  tokens gives the chosen token's probability, and the mass the unconstrained model gave to
  forbidden tokens is kept beside it.

Taking the softmax over the allowed tokens, instead of sampling freely and checking afterwards, is
what makes the numbers probabilities: see Willard and Louf 2023, "Efficient Guided Generation for
Large Language Models" (arXiv 2307.09702), section 2.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hetagent.constraint import Compiler
from hetagent.engine.chat import ChatPrompt, ChatTokenizer, common_length
from hetagent.engine.vocabulary import Vocabulary
from hetagent.errors import ConstraintError, InputTooLongError
from hetagent.models.base import Completion, Request, Token
from hetagent.outcome import Usage

__all__ = ["Cancelled", "Decoder", "Evaluator"]

Logits = npt.NDArray[np.float32]
Path = tuple[int, ...]


class Cancelled(Exception):  # noqa: N818 - a signal between threads, never seen by users
    """The caller no longer wants the answer."""


class Evaluator(Protocol):
    """A model that holds one text and says what may come next.

    Attributes:
        capacity: How many tokens the text may have.
    """

    capacity: int

    def start(self, tokens: Sequence[int], *, fixed: int, check: Any) -> tuple[Logits, int]:
        """Begin a new text.

        Args:
            tokens: The prompt.
            fixed: How many of its tokens are worth keeping for the next prompt.
            check: Called between steps; raises to stop.

        Returns:
            Logits after the last token, shape ``[vocabulary]``, and how many tokens of the prompt
            were not evaluated because they were kept from before.
        """

    def extend(self, token: int) -> Logits:
        """Append one token; logits after it, shape ``[vocabulary]``."""

    def branch(self, paths: Sequence[Path]) -> list[Logits]:
        """Logits after each of several continuations of the text, which stays as it is."""


class Decoder:
    """Answers requests with one evaluator; not safe to use from two threads at once.

    Args:
        evaluator: The model.
        vocabulary: Its tokens.
        chat: Its chat template.
        name: Its name, for completions and messages.
    """

    def __init__(
        self, evaluator: Evaluator, *, vocabulary: Vocabulary, chat: ChatTokenizer, name: str
    ) -> None:
        self._evaluator = evaluator
        self._vocabulary = vocabulary
        self._chat = chat
        self._name = name
        self._compiler = Compiler(vocabulary.matcher_tokenizer([chat.end_of_turn]))

    def complete(self, request: Request, *, cancelled: threading.Event) -> Completion:
        """Answer a request.

        Args:
            request: What is asked.
            cancelled: Once set, the work stops before its next step.

        Raises:
            InputTooLongError: The prompt leaves no room for an answer.
            ConstraintError: The output type cannot be compiled for this vocabulary.
            Cancelled: ``cancelled`` was set.
        """

        def check() -> None:
            if cancelled.is_set():
                raise Cancelled

        prompt = self._chat.encode(request.messages)
        choice = request.output.form == "choice"
        # Compiled before the prompt is evaluated: a type that cannot be constrained fails fast.
        matcher = None if choice else self._compiler.compile(request.output).start()
        if len(prompt.tokens) >= self._evaluator.capacity:
            raise self._overlong(len(prompt.tokens))
        began = time.perf_counter()
        logits, cached = self._evaluator.start(prompt.tokens, fixed=prompt.fixed, check=check)
        prefilled = time.perf_counter()
        if choice:
            completion = self._choose(request, prompt, logits)
        else:
            completion = self._decode(request, prompt, logits, matcher, check)
        ended = time.perf_counter()
        usage = Usage(
            prompt_tokens=len(prompt.tokens),
            cached_tokens=cached,
            completion_tokens=len(completion["tokens"] or ()),
        )
        seconds = {"prefill": prefilled - began, "decode": ended - prefilled}
        return Completion(model=self._name, usage=usage, seconds=seconds, **completion)

    def _overlong(self, tokens: int) -> InputTooLongError:
        capacity = self._evaluator.capacity
        return InputTooLongError(
            f"The prompt has {tokens} tokens and the context of {self._name} has "
            f"room for {capacity - 1} and an answer.",
            tokens=tokens,
            limit=capacity,
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

    def _choose(self, request: Request, prompt: ChatPrompt, logits: Logits) -> dict[str, Any]:
        end = self._chat.end_of_turn
        paths = {
            label: (*self._chat.encode_answer(label, prompt=prompt), end)
            for label in request.output.labels
        }
        self._refuse_ambiguous(paths)
        longest = max(len(path) for path in paths.values())
        if len(prompt.tokens) + longest > self._evaluator.capacity:
            raise self._overlong(len(prompt.tokens) + longest)
        nodes = branching_nodes(list(paths.values()))
        inner = [node for node in nodes if node]
        after = dict(zip(inner, self._evaluator.branch(inner) if inner else [], strict=True))
        after[()] = logits
        scores, allowed = score_trie(paths, {node: (after[node], nodes[node]) for node in nodes})
        best = max(scores, key=lambda label: scores[label])
        return {
            "text": best,
            "tokens": None,
            "choices": {label: math.exp(score) for label, score in scores.items()},
            "outside": 1.0 - math.exp(allowed[best]),
        }

    def _decode(
        self, request: Request, prompt: ChatPrompt, logits: Logits, matcher: Any, check: Any
    ) -> dict[str, Any]:
        room = self._evaluator.capacity - len(prompt.tokens)
        tokens: list[Token] = []
        finish = "length"
        for step in range(min(request.max_tokens, room)):
            check()
            ids = matcher.allowed()
            forced = matcher.forced()
            logprobs, outside = masked_log_softmax(logits, ids)
            best = int(np.argmax(logprobs))
            token = int(ids[best])
            ended = token == self._chat.end_of_turn
            piece = b"" if ended else self._vocabulary.piece(token)
            free = len(piece) if forced.startswith(piece) else common_length(forced, piece)
            tokens.append(Token(token, piece, float(logprobs[best]), outside, free))
            if ended:
                finish = "stop"
                break
            matcher.advance(token)
            if step + 1 < min(request.max_tokens, room):
                logits = self._evaluator.extend(token)
        text = b"".join(token.text for token in tokens).decode("utf-8", errors="replace")
        return {"text": text, "tokens": tuple(tokens), "finish": finish}


def branching_nodes(paths: Sequence[Path]) -> dict[Path, list[int]]:
    """The nodes of a trie that have several children, with the children's tokens.

    Args:
        paths: Token paths, none the beginning of another (each ends with the end of turn).

    Returns:
        From the path that leads to a node to its children; the root is the empty path and is
        always there.
    """
    children: dict[Path, dict[int, None]] = {(): {}}
    for path in paths:
        for depth, token in enumerate(path):
            children.setdefault(path[:depth], {})[token] = None
    return {node: list(tokens) for node, tokens in children.items() if len(tokens) > 1 or not node}


def score_trie(
    paths: Mapping[str, Path], nodes: Mapping[Path, tuple[Logits, list[int]]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Log-probability of every label, and of staying within the labels along its path.

    Args:
        paths: Token path of each label, end of turn included.
        nodes: Each branching node's logits, shape ``[vocabulary]``, and children.

    Returns:
        Two mappings by label: the sum of the logarithms of the softmaxes over children, and the
        sum of the logarithms of the unconstrained mass on those children.
    """
    steps: dict[Path, tuple[dict[int, float], float]] = {}
    for node, (logits, tokens) in nodes.items():
        logprobs, outside = masked_log_softmax(logits, np.asarray(tokens))
        kept = math.log(max(1.0 - outside, 5e-324))
        steps[node] = (dict(zip(tokens, logprobs.tolist(), strict=True)), kept)
    scores = dict.fromkeys(paths, 0.0)
    allowed = dict.fromkeys(paths, 0.0)
    for label, path in paths.items():
        for depth, token in enumerate(path):
            if path[:depth] in steps:
                logprobs_by_token, kept = steps[path[:depth]]
                scores[label] += logprobs_by_token[token]
                allowed[label] += kept
    return scores, allowed


def masked_log_softmax(
    logits: Logits, ids: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], float]:
    """Log-softmax over some tokens, and the probability mass on all others.

    Args:
        logits: Shape ``[vocabulary]``.
        ids: The allowed tokens, shape ``[allowed]``.

    Returns:
        Natural logarithms of the probabilities among ``ids``, shape ``[allowed]``, and the
        unconstrained probability of the other tokens, in [0, 1].
    """
    kept = logits[ids].astype(np.float64)
    total = _log_sum_exp(logits.astype(np.float64))
    mass = _log_sum_exp(kept)
    return kept - mass, float(min(1.0, max(0.0, -math.expm1(min(0.0, mass - total)))))


def _log_sum_exp(values: npt.NDArray[np.float64]) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).sum()))
