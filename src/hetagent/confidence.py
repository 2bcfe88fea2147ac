"""From a completion to a raw confidence: for the whole value, and for every field of it.

Raw means: the model's own probability, before any calibration.

- **Choice.** The label's probability as the decoder scored it: the product of the softmaxes over
  the children at each node of the trie of canonical label tokens plus end of turn. It is a
  distribution over all labels.
- **Everything else.** The probability of the emitted token path under the mask,
  ``exp(sum(log p))``, over the tokens that hold at least one byte the constraint did not force.
  A token counts for the field that holds its first such byte; forced tokens count for none. The
  confidence of the whole value is the product over all free tokens, thus of all fields and of
  what belongs to no field.

This is the joint probability of autoregressive prediction, not its length-normalised variant;
Malinin and Gales 2021, "Uncertainty Estimation in Autoregressive Structured Prediction"
(arXiv 2002.07650), discuss both. ``benchmarks/skills.py`` measures how well it ranks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hetagent.models.base import Completion, Token
from hetagent.schema import OutputType
from hetagent.spans import Span, spans

__all__ = ["FieldScore", "Joint", "Ledger", "Score", "free_tokens", "joint", "score"]


@dataclass(frozen=True, slots=True)
class FieldScore:
    """One field as the model gave it.

    Attributes:
        value: Its JSON value.
        confidence: Raw probability of it given what came before; ``None`` where the model reports
            no probabilities.
        outside: Probability that the unconstrained model would have left the constraint on the
            way, ``1 - prod(1 - outside)`` over its tokens.
        least: Smallest probability of one of its free tokens; ``None`` where it has none.
        tokens: How many free tokens it has.
    """

    value: Any
    confidence: float | None
    outside: float | None
    least: float | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """A completion's raw confidence.

    Attributes:
        confidence: Of the whole value; ``None`` where the model reports no probabilities.
        outside: As in `FieldScore`, for the whole value.
        fields: By path, in the order of the answer; empty for a bare value.
        choices: For a choice: the probability of every label; otherwise ``None``.
        least: As in `FieldScore`, for the whole value.
        tokens: Likewise.
        value: The JSON value; ``None`` of an answer that is still being written.
    """

    confidence: float | None
    outside: float | None
    fields: Mapping[str, FieldScore] = field(default_factory=dict)
    choices: Mapping[str, float] | None = None
    least: float | None = None
    tokens: int = 0
    value: Any = None


def score(completion: Completion, output: OutputType[Any]) -> Score:
    """Read a completion's raw confidence.

    Args:
        completion: A complete answer (``finish == "stop"``).
        output: Its type.

    Raises:
        OutputError: The answer is not JSON where it should be.
    """
    value = output.json_of_text(completion.text)
    if completion.choices is not None:
        known = completion.choices
        return Score(known[completion.text], completion.outside, choices=known, value=value)
    tree = spans(completion.text) if output.form == "json" else []
    if output.wholes:
        tree = [_as_whole(span, value) for span in tree if span.path in ("", *output.wholes)]
    leaves = [span for span in tree if span.path and (span.is_leaf or output.wholes)]
    if completion.tokens is None:
        fields = {s.path: FieldScore(s.value, None, None) for s in leaves}
        return Score(None, None, fields, value=value)
    ledger = Ledger()
    tokens = []
    for offset, token in free_tokens(completion.tokens):
        ledger.add(offset, token)
        tokens.append(token)
    # Inner values take theirs before what holds them.
    for span in sorted(tree, key=lambda one: one.end):
        ledger.claim(span)
    fields = {span.path: ledger.score(span) for span in leaves}
    for span in tree:
        if span.path and span.path not in fields and ledger.decides(span.path):
            fields[span.path] = ledger.score(span)
    whole = joint(tokens)
    return Score(
        whole.confidence,
        whole.outside,
        fields,
        least=whole.least,
        tokens=whole.tokens,
        value=value,
    )


class Ledger:
    """Which free tokens belong to which field.

    Tokens are added in order; a value takes its own once it is complete, inner ones first. What
    the bytes between values decide is of the object or list around them, such as a list's length.
    The byte behind a number ends it, and so belongs to it.
    """

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._tokens: list[Token] = []
        self._by_path: dict[str, list[Token]] = {}

    def add(self, offset: int, token: Token) -> None:
        """Note a free token and the offset of its first free byte."""
        self._offsets.append(offset)
        self._tokens.append(token)

    def claim(self, span: Span) -> None:
        """Give a value the tokens within it that nobody has taken."""
        end = span.end + 1 if _is_number(span.value) else span.end
        first = bisect_left(self._offsets, span.start)
        last = bisect_left(self._offsets, end, first)
        self._by_path.setdefault(span.path, []).extend(self._tokens[first:last])
        del self._offsets[first:last], self._tokens[first:last]

    def decides(self, path: str) -> bool:
        """Whether any token belongs to a field."""
        return bool(self._by_path.get(path))

    def score(self, span: Span) -> FieldScore:
        """The field that a value is, by the tokens it was given."""
        return FieldScore(span.value, *joint(self._by_path[span.path]))


def free_tokens(tokens: Iterable[Token]) -> Iterator[tuple[int, Token]]:
    """The tokens that were not forced, each with the byte offset of its first free byte.

    The end of turn counts where something else was allowed, at the offset after the last byte.
    """
    offset = 0
    for token in tokens:
        if token.free < len(token.text) or not token.text:
            yield offset + token.free, token
        offset += len(token.text)


class Joint(NamedTuple):
    """Several tokens one after the other; attributes as in `FieldScore`."""

    confidence: float
    outside: float
    least: float | None
    tokens: int


def joint(tokens: Sequence[Token]) -> Joint:
    """Probability of tokens one after the other, and of leaving the constraint on the way."""
    logprobs = [token.logprob for token in tokens]
    outside = 1.0 - math.prod(1.0 - token.outside for token in tokens)
    least = math.exp(min(0.0, *logprobs)) if logprobs else None
    return Joint(math.exp(min(0.0, math.fsum(logprobs))), outside, least, len(tokens))


def _as_whole(span: Span, value: Any) -> Span:
    """A top field of a record as the type has it, which need not be how it is written."""
    return replace(span, value=value[span.path]) if span.path else span


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
