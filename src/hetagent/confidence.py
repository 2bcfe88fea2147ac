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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hetagent.models.base import Completion, Token
from hetagent.schema import OutputType
from hetagent.spans import Span, field_at, spans

__all__ = ["FieldScore", "Score", "score"]


@dataclass(frozen=True, slots=True)
class FieldScore:
    """One field as the model gave it.

    Attributes:
        value: Its JSON value.
        confidence: Raw probability of it given what came before; ``None`` where the model reports
            no probabilities.
        outside: Probability that the unconstrained model would have left the constraint on the
            way, ``1 - prod(1 - outside)`` over its tokens.
    """

    value: Any
    confidence: float | None
    outside: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """A completion's raw confidence.

    Attributes:
        confidence: Of the whole value; ``None`` where the model reports no probabilities.
        outside: As in `FieldScore`, for the whole value.
        fields: By path, in the order of the answer; empty for a bare value.
    """

    confidence: float | None
    outside: float | None
    fields: Mapping[str, FieldScore] = field(default_factory=dict)


def score(completion: Completion, output: OutputType[Any]) -> Score:
    """Read a completion's raw confidence.

    Args:
        completion: A complete answer (``finish == "stop"``).
        output: Its type.

    Raises:
        OutputError: The answer is not JSON where it should be.
    """
    if completion.choices is not None:
        return Score(completion.choices[completion.text], completion.outside)
    tree = spans(completion.text) if output.form == "json" else []
    leaves = [span for span in tree if span.path and span.is_leaf]
    if completion.tokens is None:
        return Score(None, None, {s.path: FieldScore(s.value, None, None) for s in leaves})
    by_path: dict[str, list[Token]] = {}
    free = list(free_tokens(completion.tokens))
    for offset, token in free:
        by_path.setdefault(field_at(tree, offset), []).append(token)
    fields = {span.path: _field(span, by_path.get(span.path, [])) for span in leaves}
    # Lists decide their length between their items; such a decision is a field of its own.
    for span in tree:
        if span.path and not span.is_leaf and span.path in by_path:
            fields[span.path] = _field(span, by_path[span.path])
    tokens = [token for _, token in free]
    return Score(_probability(tokens), _outside(tokens), fields)


def free_tokens(tokens: tuple[Token, ...]) -> Iterator[tuple[int, Token]]:
    """The tokens that were not forced, each with the byte offset of its first free byte.

    The end of turn counts where something else was allowed, at the offset after the last byte.
    """
    offset = 0
    for token in tokens:
        if token.free < len(token.text) or not token.text:
            yield offset + token.free, token
        offset += len(token.text)


def _field(span: Span, tokens: list[Token]) -> FieldScore:
    return FieldScore(span.value, _probability(tokens), _outside(tokens))


def _probability(tokens: list[Token]) -> float:
    return math.exp(min(0.0, math.fsum(token.logprob for token in tokens)))


def _outside(tokens: list[Token]) -> float:
    return 1.0 - math.prod(1.0 - token.outside for token in tokens)
