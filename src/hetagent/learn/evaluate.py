"""How a skill does in the LLM's place: run on labelled calls as it would be served."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.correctness import Correct, judge
from hetagent.errors import InputError
from hetagent.fingerprint import fingerprint
from hetagent.models.base import Model
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.skill import Skill

__all__ = ["AT_ONCE", "Evaluation", "Trial", "evaluate", "outcomes_of"]

AT_ONCE = 64
"""Calls under way at once."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one call.

    Attributes:
        accepted: Whether the small model's answer is served; otherwise the LLM's is.
        right: Whether the small model's answer is right.
        incumbent: Whether the LLM's answer is; it is by definition where it is the label.
    """

    accepted: bool
    right: bool
    incumbent: bool = True

    @property
    def served_right(self) -> bool:
        """Whether what is served is right."""
        return self.right if self.accepted else self.incumbent


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a skill does.

    Attributes:
        trials: One for each call, in their order.
        seconds: Median of a call's latency where it is asked alone, and the 95th percentile.
        calls_per_second: With many calls under way at once.
    """

    trials: tuple[Trial, ...]
    seconds: tuple[float, float]
    calls_per_second: float

    @property
    def right(self) -> float:
        """Share of the small model's answers that are right, accepted or not."""
        return sum(one.right for one in self.trials) / len(self.trials)

    @property
    def accepted(self) -> int:
        """Calls that the small model serves."""
        return sum(one.accepted for one in self.trials)

    @property
    def coverage(self) -> float:
        """Share of the calls that it serves."""
        return self.accepted / len(self.trials)

    @property
    def wrong(self) -> int:
        """How many of these are wrong."""
        return sum(one.accepted and not one.right for one in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "calls": len(self.trials),
            "right": self.right,
            "accepted": self.accepted,
            "coverage": self.coverage,
            "wrong": self.wrong,
            **asdict(self),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(
            tuple(Trial(**one) for one in data["trials"]),
            (data["seconds"][0], data["seconds"][1]),
            data["calls_per_second"],
        )


def evaluate(
    skill: Skill[Any, Any],
    model: Model,
    certificate: Certificate,
    examples: Sequence[tuple[Any, Any]],
    *,
    strays: Sequence[Any] = (),
    incumbent: Sequence[Any] | None = None,
    correct: Correct | None = None,
    alone: int = 50,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Run labelled calls through a skill, without the LLM, and see what its certificate accepts.

    The small model answers all of them, also where nothing is certified.

    Args:
        skill: What runs.
        model: On this model.
        certificate: What accepts its answers.
        examples: Pairs of a row and the right answer as JSON data.
        strays: Rows that no value of the output type is right for; trials of them come last.
        incumbent: What the LLM answered, as JSON data, where that is not what is right.
        correct: The user's own rule of what is right.
        alone: Calls of which the latency is measured, one at a time.
        on_progress: Told how many calls are done, and of how many.

    Raises:
        InputError: There are no examples.
        StaleCertificate: The certificate was made for something else.
        HetagentError: The model cannot be run at all.
    """
    if not examples:
        raise InputError("There are no calls to evaluate with.", hint="Give some labelled ones.")
    certificate.check(fingerprint(skill, model))
    agent = Orchestrator(model, policy=0.0, progress=False, concurrency=AT_ONCE)
    rows = [*(row for row, _ in examples), *strays]
    labels = [label for _, label in examples]
    began = time.perf_counter()
    outcomes = outcomes_of(agent, skill, rows, on_progress=on_progress)
    rate = len(rows) / (time.perf_counter() - began)
    answers = incumbent if incumbent is not None else labels
    if len(answers) != len(labels):
        raise InputError(
            f"There are {len(labels)} calls, and {len(answers)} answers of the LLM.",
            hint="Give one for each.",
        )
    trials = tuple(
        Trial(
            _accepts(certificate, outcome),
            _is_right(skill, outcome, label, correct),
            judge(answer, label, correct=correct, wholes=skill.output.wholes)[""],
        )
        for outcome, label, answer in zip(outcomes, labels, answers, strict=False)
    )
    trials += tuple(
        Trial(_accepts(certificate, one), right=False) for one in outcomes[len(labels) :]
    )
    return Evaluation(trials, _latency(agent, skill, rows[:alone]), rate)


def outcomes_of(
    agent: Orchestrator,
    skill: Skill[Any, Any],
    rows: Sequence[Any],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome[Any]]:
    """Run many rows, and say how far it is.

    Raises:
        HetagentError: The model cannot run any of them.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    found: list[Outcome[Any]] = []
    for start in range(0, len(rows), 4 * AT_ONCE):
        some = agent.map(skill, rows[start : start + 4 * AT_ONCE])
        if any(one.reason == "cancelled" for one in some):
            raise KeyboardInterrupt
        errors = [one.error for one in some if one.reason == "model_error" and one.error]
        if len(errors) == len(some):
            raise errors[0]
        found += some
        on_progress(len(found), len(rows))
    return found


def _accepts(certificate: Certificate, outcome: Outcome[Any]) -> bool:
    """Whether an answer would be served, as `hetagent.Certified` decides it."""
    verdict = certificate.judged(outcome.evidence).get("") if outcome.evidence else None
    return verdict is not None and verdict.passed


def _is_right(
    skill: Skill[Any, Any], outcome: Outcome[Any], label: Any, correct: Correct | None
) -> bool:
    if outcome.served_by != "slm":
        return False  # it gave no valid answer
    value = skill.output.to_json(outcome.value)
    return judge(value, label, correct=correct, wholes=skill.output.wholes)[""]


def _latency(
    agent: Orchestrator, skill: Skill[Any, Any], rows: Sequence[Any]
) -> tuple[float, float]:
    """Median and 95th percentile of calls that are asked one at a time, in seconds."""
    taken = sorted(agent.map(skill, [row])[0].seconds for row in rows)
    return statistics.median(taken), taken[min(len(taken) - 1, int(0.95 * len(taken)))]
