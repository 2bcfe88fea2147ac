"""Certifies the skill `tone` on bundled messages, checks the promise, and then breaks it.

The messages come in three parts: those to calibrate on; those kept apart, of the same kind; and
those of another mix, as in a week after a bad review: ironic and polite complaints.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from hetagent.calibrate.audits import Audits, AuditStatus
from hetagent.calibrate.bounds import interval, noticeable_rate
from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.drift import DriftMonitor
from hetagent.certified import Certified
from hetagent.demo.report import Message
from hetagent.demo.skills import tone
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.policy import Threshold

__all__ = [
    "CONFIDENCE",
    "MAX_ERROR",
    "ORDERS",
    "SURENESS",
    "Checked",
    "Watched",
    "bundled_parts",
    "certify",
    "check",
    "watch",
]

# Fixed before anything runs, by what the part to calibrate on can carry: of all answers there about
# one in six is wrong, and 400 labels can certify one in ten.
MAX_ERROR = 0.10
CONFIDENCE = 0.95
SURENESS = 0.95
"""Confidence of the intervals around observed error rates."""
ORDERS = 200
"""Random orders in which the messages kept apart are audited."""

_TO_THE_LLM = Threshold(math.inf)


@dataclass(frozen=True, slots=True)
class Checked:
    """Messages answered under a certificate, beside their labels.

    Attributes:
        outcomes: One for each message.
        right: Whether the SLM's answer to each is right, accepted or not.
    """

    outcomes: Sequence[Outcome[Any]]
    right: Sequence[bool]

    @property
    def accepted(self) -> list[int]:
        """Which messages got the SLM's answer without the LLM: LLM calls that are spared."""
        return [i for i, outcome in enumerate(self.outcomes) if outcome.served_by == "slm"]

    @property
    def errors(self) -> int:
        """How many of the accepted answers are wrong."""
        return sum(not self.right[i] for i in self.accepted)

    @property
    def coverage(self) -> float:
        """Share of the messages whose answer is accepted."""
        return len(self.accepted) / len(self.outcomes)

    @property
    def error_rate(self) -> float | None:
        """Share of the accepted answers that is wrong; ``None`` where there are none."""
        return self.errors / len(self.accepted) if self.accepted else None

    @property
    def error_rate_of_all(self) -> float:
        """Share of wrong answers if every answer were accepted."""
        return 1 - sum(self.right) / len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true error rate among accepted answers may be (Clopper and Pearson 1934)."""
        return interval(self.errors, len(self.accepted), confidence=SURENESS)

    def noticeable(self, max_error: float) -> float:
        """The least true error rate that so few accepted answers mostly show to be too high."""
        return noticeable_rate(len(self.accepted), rate=max_error, confidence=SURENESS)

    def to_dict(self, max_error: float) -> dict[str, Any]:
        """As JSON data."""
        return {
            "messages": len(self.outcomes),
            "accepted": len(self.accepted),
            "errors": self.errors,
            "coverage": self.coverage,
            "error_rate": self.error_rate,
            "interval": list(self.interval),
            "interval_confidence": SURENESS,
            "noticeable_error_rate": self.noticeable(max_error),
            "error_rate_of_all": self.error_rate_of_all,
        }


@dataclass(frozen=True, slots=True)
class Watched:
    """Messages of another mix, whose accepted answers were audited one by one.

    Attributes:
        checked: What the certificate's policy would have done, had nobody watched.
        status: How the certificate stood at the alarm, or in the end.
        drift_at: Audits of these messages until the alarm; ``None`` where none was raised.
        served: Answers accepted until then.
        served_errors: How many of those are wrong.
        fallen_back: Messages that came after the alarm.
        accepted_after: How many of those got the SLM's answer.
        false_alarms: Of `ORDERS` random orders of the messages kept apart, in how many the same
            audits raise an alarm at any time.
    """

    checked: Checked
    status: AuditStatus
    drift_at: int | None
    served: int
    served_errors: int
    fallen_back: int
    accepted_after: int
    false_alarms: int

    def to_dict(self, max_error: float) -> dict[str, Any]:
        """As JSON data."""
        return {
            "unwatched": self.checked.to_dict(max_error),
            "state": self.status.state,
            "drift_at": self.drift_at,
            "served": self.served,
            "served_errors": self.served_errors,
            "fallen_back": self.fallen_back,
            "accepted_after": self.accepted_after,
            "false_alarms": self.false_alarms,
            "orders": ORDERS,
        }


def bundled_parts() -> Mapping[str, Sequence[Message]]:
    """The bundled messages: ``"calibrate"``, ``"apart"`` and ``"shifted"``, each in its order."""
    text = resources.files("hetagent.demo").joinpath("tone.jsonl").read_text(encoding="utf-8")
    parts: dict[str, list[Message]] = {}
    for row in map(json.loads, text.splitlines()):
        parts.setdefault(row["part"], []).append(Message(row["message"], {"tone": row["label"]}))
    return parts


def certify(agent: Orchestrator, messages: Sequence[Message]) -> Certificate:
    """Calibrate `tone` at `MAX_ERROR` and `CONFIDENCE`; see `Orchestrator.calibrate`."""
    examples = [(one.text, one.labels["tone"]) for one in messages]
    return agent.calibrate(tone, examples, max_error=MAX_ERROR, confidence=CONFIDENCE)


def check(agent: Orchestrator, certificate: Certificate, messages: Sequence[Message]) -> Checked:
    """Answer messages as the certificate says, and compare with their labels."""
    certified = agent.with_options(policy=Certified(certificate, least_share=0.0))
    outcomes = _mapped(certified, messages)
    right = [
        _value(outcome) == message.labels["tone"]
        for outcome, message in zip(outcomes, messages, strict=True)
    ]
    return Checked(outcomes, right)


def watch(
    agent: Orchestrator, certificate: Certificate, messages: Sequence[Message], *, apart: Checked
) -> Watched:
    """Audit every accepted answer, and fall back to the LLM once the promise no longer holds.

    Args:
        agent: Runs the messages.
        certificate: What is watched.
        messages: In the order in which they come.
        apart: Messages of the kind that was certified, to see how often the alarm is false.
    """
    checked = check(agent, certificate, messages)
    audits = Audits(share=1.0)
    name = certificate.id
    audits.watch(name, max_error=certificate.max_error, confidence=certificate.confidence)
    served = _audit(audits, name, checked)
    drift = audits.drift(name)
    rest = messages[checked.accepted[served - 1] + 1 :] if drift else []
    fallen_back = _mapped(agent.with_options(policy=_TO_THE_LLM), rest)
    return Watched(
        checked=checked,
        status=audits.status(name),
        drift_at=served if drift else None,
        served=served,
        served_errors=sum(not checked.right[i] for i in checked.accepted[:served]),
        fallen_back=len(rest),
        accepted_after=sum(outcome.served_by == "slm" for outcome in fallen_back),
        false_alarms=_false_alarms(certificate, [apart.right[i] for i in apart.accepted]),
    )


def _audit(audits: Audits, certificate: str, checked: Checked) -> int:
    """Give verdicts in turn until there is drift; returns how many."""
    for given, index in enumerate(checked.accepted, 1):
        trace_id = checked.outcomes[index].trace_id
        audits.draw(trace_id, [certificate])
        audits.verdict(trace_id, checked.right[index])
        if audits.drift(certificate):
            return given
    return len(checked.accepted)


def _false_alarms(certificate: Certificate, verdicts: Sequence[bool]) -> int:
    """Of `ORDERS` random orders of the verdicts, how many raise an alarm."""
    drawn = random.Random(0)
    alarms = 0
    for _ in range(ORDERS):
        monitor = DriftMonitor(certificate.max_error, confidence=certificate.confidence)
        alarms += any(map(monitor.update, drawn.sample(verdicts, len(verdicts))))
    return alarms


def _mapped(agent: Orchestrator, messages: Sequence[Message]) -> list[Outcome[Any]]:
    outcomes = agent.map(tone, [message.text for message in messages])
    if any(outcome.reason == "cancelled" for outcome in outcomes):
        raise KeyboardInterrupt
    return outcomes


def _value(outcome: Outcome[Any]) -> Any:
    """The SLM's answer, accepted or not."""
    if outcome.served_by == "slm":
        return outcome.value
    return outcome.draft.value if outcome.draft is not None else None
