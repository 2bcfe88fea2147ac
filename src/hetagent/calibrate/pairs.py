"""Pairs: what the SLM and the LLMs made of the same labelled example. No I/O.

They come from outcomes: of a calibration that asks everybody (`AskAll`), or of a log. In a log the
LLMs were only asked where the SLM was not accepted. Since that was decided by the evidence, pairs
of a log may be used to learn P(LLM right | evidence); for thresholds of LLMs, which must hold
for all calls, they may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hetagent.calibrate.correctness import Correct, judge
from hetagent.errors import BudgetError, CertificateError
from hetagent.evidence import Evidence
from hetagent.outcome import Call, Outcome
from hetagent.policy import Decision, Scored
from hetagent.skill import Skill

__all__ = ["AskAll", "Pair", "Reply", "pairs_of"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an LLM made of one example.

    Attributes:
        correct: Whether its whole value is right; no valid answer is not.
        valid: Whether there is a valid answer.
        evidence: Of its answer; ``None`` where it reports no probabilities.
        agrees: Whether it is the SLM's answer again; ``None`` where there is none to compare with.
        cost_usd: What it cost, in US dollars; ``None`` where the price is not known.
        seconds: How long it took.
    """

    correct: bool
    valid: bool = True
    evidence: Evidence | None = None
    agrees: bool | None = None
    cost_usd: float | None = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One labelled example, answered by several models.

    Attributes:
        draft: Evidence of the SLM's whole answer; ``None`` where it gave no valid one.
        correct: Whether that is right.
        replies: Of each LLM; ``None`` where it was not asked.
        cost_usd: What the SLM's answer cost; ``None`` where the price is not known.
        seconds: How long it took.
    """

    draft: Evidence | None
    correct: bool
    replies: tuple[Reply | None, ...]
    cost_usd: float | None = 0.0
    seconds: float = 0.0


class AskAll:
    """A policy that asks everybody, one after the other, and serves nobody."""

    def asks_slm(self, skill: str) -> bool:
        """Always."""
        return True

    def decide(self, scored: Scored) -> Decision:
        """On to the first LLM."""
        return Decision("escalate", "policy")

    def decide_rung(self, scored: Scored, *, rung: int) -> Decision:
        """On to the next LLM."""
        return Decision("escalate", "policy", rung=rung + 1)


def pairs_of(
    skill: Skill[Any, Any],
    outcomes: Sequence[Outcome[Any]],
    labels: Sequence[Any],
    *,
    rungs: int,
    correct: Correct | None = None,
) -> list[Pair]:
    """Compare everybody's answers with the labels.

    An LLM that was asked and gave no valid answer, for whatever reason, did not give the right
    one; one that was not asked, for the budget's sake or another, says nothing.

    Args:
        skill: What was run.
        outcomes: Of a run under `AskAll`, or logged.
        labels: Of the whole value, as JSON data; one for each outcome.
        rungs: How many LLMs there are.
        correct: As in `hetagent.Orchestrator.calibrate`.

    Raises:
        CertificateError: An LLM was asked, and never gave a valid answer.
    """
    pairs = [
        _pair(skill, outcome, label, rungs=rungs, correct=correct)
        for outcome, label in zip(outcomes, labels, strict=True)
    ]
    for rung in range(rungs):
        replies = [reply for pair in pairs if (reply := pair.replies[rung]) is not None]
        if not any(reply.valid for reply in replies):
            last = next((one.error for one in reversed(outcomes) if one.error is not None), None)
            raise CertificateError(
                f"LLM {rung} gave no valid answer to any of {len(replies)} questions about "
                f"{skill.name}" + (f"; the last error: {last}" if last is not None else "."),
                hint="Try it on one example: agent.run(...) with slm=None; or calibrate without "
                "it.",
            )
    return pairs


def _pair(
    skill: Skill[Any, Any],
    outcome: Outcome[Any],
    label: Any,
    *,
    rungs: int,
    correct: Correct | None,
) -> Pair:
    def right(value: Any) -> bool:
        return judge(value, label, correct=correct, wholes=skill.output.wholes)[""]

    drafted = bool(outcome.evidence)
    value = outcome.value if outcome.served_by == "slm" else getattr(outcome.draft, "value", None)
    answers = {one.rung: one for one in outcome.answers}
    replies: list[Reply | None] = []
    for rung in range(rungs):
        calls = [
            call
            for call in outcome.calls
            if call.rung == rung and not isinstance(call.error, BudgetError)
        ]
        cost, seconds = _spent(calls)
        if (answer := answers.get(rung)) is not None:
            own = answer.evidence.get("")
            replies.append(Reply(right(answer.value), True, own, answer.agrees, cost, seconds))
        else:
            # Asked for some fields only, it did not show what it would have made of the whole.
            partly = outcome.rung == rung
            asked = bool(calls) and not partly
            replies.append(Reply(False, False, None, None, cost, seconds) if asked else None)
    cost, seconds = _spent([call for call in outcome.calls if call.role == "slm"])
    return Pair(
        outcome.evidence.get(""),
        drafted and right(skill.output.to_json(value)),
        tuple(replies),
        cost,
        seconds,
    )


def _spent(calls: Sequence[Call]) -> tuple[float | None, float]:
    """Cost and seconds of some calls together."""
    costs = [call.usage.cost_usd for call in calls]
    known = [cost for cost in costs if cost is not None]
    seconds = sum(call.seconds.get("total", 0.0) for call in calls)
    return (sum(known) if len(known) == len(costs) else None), seconds
