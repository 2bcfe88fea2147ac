"""Audits of accepted answers: what is asked for, and what is known of the certificates."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hetagent.calibrate.audits import AuditStatus, Joined
from hetagent.calibrate.correctness import Correct
from hetagent.errors import SkillError
from hetagent.models.base import Model, Request
from hetagent.outcome import Outcome

__all__ = ["Audit", "AuditSummary", "Auditor"]

Auditor: TypeAlias = Callable[[Outcome[Any], Request], "bool | Mapping[str, bool] | None"]
"""Given an answer and what the model was asked: whether it is right, or which fields are; ``None``
where that is not known. It is called on a thread of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """How answers that were accepted under a certificate are checked, and what comes of it.

    A random share of them is drawn, however sure the model was. Somebody says of each whether it
    is right, and a test that may be looked at at any time tells when more of them are wrong than
    the certificate allows. The test, its assumptions and its bounds: `hetagent.calibrate.drift`.

    Attributes:
        share: Of the accepted answers, how many are drawn, in [0, 1].
        by: Who says it: ``"llm"`` has the first LLM answer the same request, in the background, a
            model has that one do so, a function says it itself; ``None`` leaves it to
            `Orchestrator.feedback`, which is taken in any case.
        on_drift: ``"escalate"`` accepts nothing any more under a promise that is broken, until
            there is another certificate; ``"warn"`` goes on.
        notify: Called once for each promise found broken, on whichever thread finds out.
        correct: Whether an answer is right, given it and the auditor's or user's, both as JSON
            data, as in `Orchestrator.calibrate`; for all skills, or by skill.
        auditor_error: At most this share of the answers is called wrong by the auditor although
            it is right, or would have been. An LLM errs too; the test allows for so much more.
        confidence: One minus the chance of ever raising a false alarm about a promise that holds.
        limit: How many audits are under way at once.
        timeout: Seconds an audit by a model may take, what it waits for the budget included.
        state: A file to keep what was found in; ``None`` to forget it when the process ends.
        recent: Of how many outcomes the value is remembered, for feedback.
        seed: Another seed draws other answers.

    Raises:
        SkillError: An option is out of range.
    """

    share: float = 0.02
    by: Literal["llm"] | Model | Auditor | None = "llm"
    on_drift: Literal["escalate", "warn"] = "escalate"
    notify: Callable[[AuditStatus], object] | None = None
    correct: Correct | Mapping[str, Correct] | None = None
    auditor_error: float = 0.0
    confidence: float = 0.95
    limit: int = 4
    timeout: float = 60.0
    state: str | os.PathLike[str] | None = None
    recent: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        by = self.by
        checks = {
            "share": (_number(self.share) and 0 <= self.share <= 1, "a number from 0 to 1"),
            "by": (
                by is None or by == "llm" or isinstance(by, Model) or callable(by),
                "'llm', a model, a function of outcome and request, or None",
            ),
            "on_drift": (self.on_drift in ("escalate", "warn"), "'escalate' or 'warn'"),
            "notify": (self.notify is None or callable(self.notify), "a function, or None"),
            "correct": (
                self.correct is None or callable(self.correct) or isinstance(self.correct, Mapping),
                "a function of answer and label, a dict of them by skill, or None",
            ),
            "auditor_error": (
                _number(self.auditor_error) and 0 <= self.auditor_error < 1,
                "a number from 0, below 1",
            ),
            "confidence": (
                _number(self.confidence) and 0 < self.confidence < 1,
                "a number between 0 and 1, such as 0.95",
            ),
            "limit": (_whole(self.limit), "a whole number of at least 1"),
            "timeout": (
                _number(self.timeout) and self.timeout > 0 and math.isfinite(self.timeout),
                "seconds above 0",
            ),
            "recent": (_whole(self.recent), "a whole number of at least 1"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise SkillError(
                    f"Audit({name}=...) is {getattr(self, name)!r}.", hint=f"It must be {allowed}."
                )

    def rule(self, skill: str) -> Correct | None:
        """The user's own rule of what is right, for a skill."""
        if isinstance(self.correct, Mapping):
            return self.correct.get(skill)
        return self.correct


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """How all certificates stand that answers were accepted under.

    Attributes:
        promises: By name: the certificate's id, which stands for the whole value, or with a colon
            and the path of a field that has a promise of its own.
        under_way: Audits that are waiting or running.
        unanswered: Audits that ended without a verdict: the auditor failed, was refused by the
            budget or did not know.
        error: Why the last of them did; ``None`` where none failed.
        unjoined: Verdicts that were not tested, by why; see `Orchestrator.feedback`.
    """

    promises: Mapping[str, AuditStatus]
    under_way: int
    unanswered: int
    error: Exception | None
    unjoined: Mapping[Joined, int]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the promises that were found broken."""
        return tuple(name for name, one in self.promises.items() if one.state == "drift")

    def explain(self) -> str:
        """It in plain words, one line for each promise."""
        lines = [in_words(one) for one in self.promises.values()]
        if self.unanswered:
            reason = f" The last failed: {self.error}" if self.error is not None else ""
            lines.append(f"{self.unanswered} audits ended without a verdict.{reason}")
        return "\n".join(lines) or "No answer was accepted under a certificate yet."


def in_words(status: AuditStatus) -> str:
    """How one promise stands, in plain words."""
    bounds = f"{status.interval.low:.1%} to {status.interval.high:.1%}"
    found = f"{status.errors} of {status.answered} audited answers were wrong"
    if status.state == "drift":
        since = f" since audit {status.onset}" if status.onset is not None else ""
        return (
            f"{status.certificate}: broken. {found}; the error rate{since} is within {bounds}, and "
            f"{100 * status.max_error:.4g}% is allowed."
        )
    silent = status.open + status.lost
    unknown = f" Of {silent} more the verdict is not known." if silent else ""
    return (
        f"{status.certificate}: holding. {found}; the error rate is within {bounds}, and "
        f"{100 * status.max_error:.4g}% is allowed.{unknown}"
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
