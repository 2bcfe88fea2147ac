"""From pairs to all that a certificate knows of escalating: fit on some, certify on the others.

`weigh` finds out what each LLM is worth on the evidence of the SLM's answer. Where a value is
given, it certifies the answers that are accepted then: those that are sure enough *and* that no LLM
would improve enough for its price. The second condition leaves out answers that the plain threshold
accepts, so that the error rate of the rest may be another, and needs a threshold of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certifying import Split, fit_any
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.ladder import Answers, find_ladder
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.pairs import Pair
from hetagent.calibrate.rungs import Counts, Escalation, Rung, Weighed
from hetagent.calibrate.thresholds import find_threshold, plan
from hetagent.errors import InputError
from hetagent.evidence import Evidence, second_opinion

__all__ = ["weigh"]

_SAMPLE = 200
_LEAST = 20
_BLANK = Evidence(0.5)


@dataclass(frozen=True, slots=True)
class _Drafts:
    """The SLM's answers to m examples.

    Attributes:
        table: Their evidence; of those without an answer some that says nothing.
        valid: Which there are; booleans of shape (m,).
        correct: Which are right, likewise.
        scores: Of shape (m,); minus infinity where there is no answer.
        confidence: Calibrated, and for those that the calibrator was fitted with by one that was
            not; of shape (m,), 0 where there is no answer.
    """

    table: EvidenceTable
    valid: Any
    correct: Any
    scores: Floats
    confidence: Floats


def weigh(
    pairs: Sequence[Pair],
    *,
    calibrator: Calibrator,
    models: Sequence[str],
    rows: Split,
    max_error: float,
    confidence: float,
    value_of_correct_usd: float | None = None,
    usd_per_second: float = 0.0,
    asked_all: bool = False,
    seed: int = 0,
) -> Escalation:
    """Learn when to ask each LLM, and certify what is accepted then.

    Args:
        pairs: One for each labelled example.
        calibrator: Of the SLM's whole value, fitted on the rows that fit.
        models: The LLMs' names.
        rows: Which pairs fit, and which certify.
        max_error: The error rate to keep among answers accepted without the (last) LLM, α.
        confidence: With which to keep it, 1 - δ.
        value_of_correct_usd: What a right answer is worth, in US dollars; ``None`` not to weigh.
        usd_per_second: What a second of waiting costs.
        asked_all: Whether everybody was asked about every example as far as the budget went, as
            under `AskAll`. Only then a ladder is certified: examples on which an LLM was asked
            because the SLM was unsure are not like all others.
        seed: Of folds and simulations.

    Raises:
        InputError: An LLM was asked about too few examples.
        CertificateError: A value is given, but what an LLM costs is not known.
        MissingExtraError: scikit-learn or SciPy is not installed.
    """
    fitting, testing = rows
    drafts = _drafts(pairs, calibrator, fitting, seed)
    rungs = tuple(
        _rung(pairs, rung, name, drafts=drafts, fitting=fitting, seed=seed)
        for rung, name in enumerate(models)
    )
    tested = testing[drafts.valid[testing]]
    picked = tested[np.linspace(0, len(tested) - 1, min(_SAMPLE, len(tested))).astype(int)]
    chances = [drafts.table.probabilities(one.calibrator) for one in rungs]
    costs, seconds = zip(*((pair.cost_usd, pair.seconds) for pair in pairs), strict=True)
    found = Escalation(
        rungs,
        _mean(costs),
        _mean(seconds) or 0.0,
        1 - float(np.mean(drafts.valid)),
        tuple(
            (float(drafts.scores[row]), *(round(float(one[row]), 4) for one in chances))
            for row in picked
        ),
    )
    weighed = None
    if value_of_correct_usd is not None:
        weighed = _weighed(
            drafts,
            gains=np.column_stack(
                [
                    value_of_correct_usd * (chance - drafts.table.probabilities(calibrator))
                    - one.price(usd_per_second)
                    for one, chance in zip(rungs, chances, strict=True)
                ]
            ),
            rows=rows,
            max_error=max_error,
            confidence=confidence,
            value_of_correct_usd=value_of_correct_usd,
            usd_per_second=usd_per_second,
            seed=seed,
        )
    ladder = None
    if asked_all and len(rungs) > 1:
        ladder = find_ladder(
            _answers(pairs, drafts),
            prices=_prices(rungs),
            rows=_asked_all(pairs, rows),
            max_error=max_error,
            confidence=confidence,
            seed=seed,
        )
    return Escalation(
        found.rungs,
        found.slm_cost_usd,
        found.slm_seconds,
        found.unusable,
        found.sample,
        weighed,
        ladder,
    )


def _drafts(pairs: Sequence[Pair], calibrator: Calibrator, fitting: Any, seed: int) -> _Drafts:
    table = EvidenceTable.of([pair.draft or _BLANK for pair in pairs])
    valid = np.array([pair.draft is not None for pair in pairs])
    correct = np.array([pair.correct for pair in pairs])
    sure = np.where(valid, table.probabilities(calibrator), 0.0)
    seen = fitting[valid[fitting]]
    # Errors of answers that the calibrator has seen would look fewer than they are.
    sure[seen] = fit_any(table.take(seen), correct[seen], seed=seed).held_out
    return _Drafts(
        table, valid, correct, np.where(valid, table.scores(calibrator), -math.inf), sure
    )


def _rung(
    pairs: Sequence[Pair], rung: int, name: str, *, drafts: _Drafts, fitting: Any, seed: int
) -> Rung:
    replies = [pair.replies[rung] for pair in pairs]
    asked = [reply for reply in replies if reply is not None]
    known = np.array([reply is not None for reply in replies])
    seen = fitting[known[fitting] & drafts.valid[fitting]]
    if len(seen) < _LEAST:
        raise InputError(
            f"LLM {rung}, {name}, was asked about {len(seen)} of the examples that calibrators "
            f"are fitted with; at least {_LEAST} are needed.",
            hint="Give more examples, or a larger budget.",
        )
    right = np.array([reply is not None and reply.correct for reply in replies])
    return Rung(
        name,
        len(asked),
        float(np.mean([reply.correct for reply in asked])),
        _mean([reply.cost_usd for reply in asked]),
        _mean([reply.seconds for reply in asked]) or 0.0,
        fit_any(drafts.table.take(seen), right[seen], of_input=True, seed=seed).calibrator,
    )


def _weighed(
    drafts: _Drafts,
    *,
    gains: Floats,
    rows: Split,
    max_error: float,
    confidence: float,
    value_of_correct_usd: float,
    usd_per_second: float,
    seed: int,
) -> Weighed:
    """Certify those answers that no LLM would improve enough for its price."""
    fitting, testing = (part[_kept(drafts, gains, part)] for part in rows)
    found = None
    if len(fitting) and len(testing):
        levels = {"max_error": max_error, "confidence": confidence}
        counts = plan(
            drafts.scores[fitting],
            drafts.confidence[fitting],
            n=len(testing),
            seed=seed,
            **levels,
        ).counts
        found = find_threshold(
            drafts.scores[testing], drafts.correct[testing], counts=counts, **levels
        )
    tested = None
    if found is not None:
        tested = Counts(
            len(rows[1]), found.accepted, found.errors, found.upper_bound, found.p_value
        )
    threshold = None if found is None else found.threshold
    return Weighed(float(value_of_correct_usd), float(usd_per_second), threshold, tested)


def _kept(drafts: _Drafts, gains: Floats, rows: Any) -> Any:
    return drafts.valid[rows] & np.all(gains[rows] <= 0, axis=1)


def _answers(pairs: Sequence[Pair], drafts: _Drafts) -> Answers:
    """Everybody's answers but the last LLM's, as the ladder sees them."""
    opinions, valid, right = [], [drafts.valid], [drafts.correct]
    for rung in range(len(pairs[0].replies) - 1):
        replies = [pair.replies[rung] for pair in pairs]
        opinions.append(
            EvidenceTable.of(
                [
                    second_opinion(
                        reply.evidence if reply is not None else None,
                        agrees=reply.agrees if reply is not None else None,
                        before=float(sure) if pair.draft is not None else None,
                        draft=pair.draft,
                    )
                    for pair, reply, sure in zip(pairs, replies, drafts.confidence, strict=True)
                ]
            )
        )
        valid.append(np.array([reply is not None and reply.valid for reply in replies]))
        right.append(np.array([reply is not None and reply.correct for reply in replies]))
    return Answers(
        drafts.scores, drafts.confidence, opinions, np.column_stack(valid), np.column_stack(right)
    )


def _asked_all(pairs: Sequence[Pair], rows: Split) -> Split:
    """Rows of which every LLM but the last was asked; the others show nothing of a ladder."""
    known = np.array([None not in pair.replies[:-1] for pair in pairs])
    fitting, testing = rows
    return fitting[known[fitting]], testing[known[testing]]


def _prices(rungs: Sequence[Rung]) -> tuple[list[float], str]:
    """Mean prices of the LLMs, and their unit."""
    costs = [one.cost_usd for one in rungs]
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs) and any(known):
        return known, "usd"
    return [one.seconds for one in rungs], "seconds"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
