"""What a completion tells about how far to trust each of its values, as plain numbers.

It is all that calibration sees of an answer: a few features and which answer it was, never the
input, of which one number tells how much of it is figures. Policies are given it, dumps and logs
keep it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hetagent.confidence import FieldScore, Score

__all__ = ["Evidence", "by_field", "evidence", "jointly", "second_opinion", "top_field"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one value, or one field of it.

    Attributes:
        raw: Raw confidence, in [0, 1].
        outside: Probability that the unconstrained model would have left the constraint, in [0, 1].
        margin: Of a choice: probability of the best label less that of the second.
        entropy: Of a choice: of the distribution over labels, in nats.
        least: Smallest probability of a free token; ``None`` for a choice, or without such tokens.
        tokens: How many free tokens it has; 0 for a choice.
        answer: Which answer it was, as far as answers are worth telling apart: the label of a
            choice, ``"true"`` or ``"false"``, and for anything else its kind: ``"null"``,
            ``"text"``, ``"number"``, ``"list"`` or ``"record"``.
        digits: Share of digits among the characters of the input, in [0, 1]: where there is
            something to reckon, large models too err more often than they let see.
        agrees: Of an LLM's answer: whether it is the SLM's again; ``None`` where there is none to
            compare with.
        before: Of an LLM's answer: the SLM's calibrated confidence in its own, in [0, 1];
            ``None`` without one.
    """

    raw: float
    outside: float = 0.0
    margin: float | None = None
    entropy: float | None = None
    least: float | None = None
    tokens: int = 0
    answer: str = ""
    digits: float = 0.0
    agrees: bool | None = None
    before: float | None = None


def evidence(score: Score, *, asked: str = "") -> dict[str, Evidence]:
    """Of the whole value, with the path ``""``, and of each field by its path.

    Args:
        score: Of the answer.
        asked: The input, of which only the share of digits is taken.

    Returns:
        Nothing at all where the model reports no probabilities, or something that is no number.
    """
    if score.confidence is None or math.isnan(score.confidence):
        return {}
    digits = round(sum(map(str.isdigit, asked)) / len(asked), 4) if asked else 0.0
    if score.choices is not None:
        margin, entropy = _spread(score.choices.values())
        whole = Evidence(
            score.confidence,
            score.outside or 0.0,
            margin=margin,
            entropy=entropy,
            answer=str(score.value) if isinstance(score.value, str) else _kind(score.value),
            digits=digits,
        )
        return {"": whole}
    fields = {path: _of(one, digits) for path, one in score.fields.items()}
    return {"": _of(score, digits)} | fields


def by_field(found: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Evidence with each list as one field; see `top_field`."""
    groups: dict[str, list[Evidence]] = {}
    for path, one in found.items():
        groups.setdefault(top_field(path), []).append(one)
    return {path: _together(parts) if path else found[""] for path, parts in groups.items()}


def second_opinion(
    own: Evidence | None, *, agrees: bool | None, before: float | None, draft: Evidence | None
) -> Evidence:
    """Evidence of an LLM's answer, seen beside the SLM's.

    Args:
        own: Of the LLM's answer by itself; ``None`` where it reports no probabilities. Its raw
            confidence then is one half, which tells nothing.
        agrees: Whether it is the SLM's answer.
        before: The SLM's calibrated confidence.
        draft: Of the SLM's answer.
    """
    if own is None:
        known = draft or Evidence(0.5)
        own = Evidence(0.5, answer=known.answer if agrees else "", digits=known.digits)
    return replace(own, agrees=agrees, before=before)


def jointly(whole: Evidence, confidence: Iterable[float]) -> Evidence:
    """Of a record, with its fields' calibrated confidences in place of the tokens' probabilities.

    Fields differ in how far their tokens' probabilities can be trusted, so that the product of what
    they are worth once calibrated ranks records better than the product of all tokens.

    Args:
        whole: Of the record.
        confidence: Calibrated, of each field.
    """
    known = list(confidence)
    return replace(whole, raw=math.prod(known), least=min(known)) if known else whole


def top_field(path: str) -> str:
    """The field that calibration knows a path by: a list, with all in it, is one field.

    An item's confidence belongs to a list whose length the model chose too, and several items of
    one answer are not independent, so that they could not be counted as separate trials.
    """
    return path.partition("[")[0]


def _together(parts: list[Evidence]) -> Evidence:
    """Of several values that are right only together."""
    if len(parts) == 1:
        return parts[0]
    least = [one.least for one in parts if one.least is not None]
    return Evidence(
        math.prod(one.raw for one in parts),
        1.0 - math.prod(1.0 - one.outside for one in parts),
        least=min(least, default=None),
        tokens=sum(one.tokens for one in parts),
        answer="list",
        digits=parts[0].digits,
    )


def _of(one: Score | FieldScore, digits: float) -> Evidence:
    return Evidence(
        one.confidence or 0.0,
        one.outside or 0.0,
        least=one.least,
        tokens=one.tokens,
        answer=_kind(one.value),
        digits=digits,
    )


def _spread(probabilities: Iterable[float]) -> tuple[float, float]:
    """Margin and entropy of a distribution over labels."""
    falling = sorted(probabilities, reverse=True)
    first, second, *_ = [*falling, 0.0, 0.0]
    return first - second, math.fsum(-p * math.log(p) for p in falling if p > 0)


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "record"
    if isinstance(value, list):
        return "list"
    return "text" if isinstance(value, str) else "number"
