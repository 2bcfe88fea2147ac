"""Shadow mode: a binding answers calls that something else serves, and both answers are compared.

What a caller gets, and when, is left alone. A comparison says how it came out, and nothing of what
was asked or answered. Beside its log a registry keeps a file of comparisons for each binding, by
which it can be promoted later.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from hetagent.admission import Admission
from hetagent.assembly import Assembly
from hetagent.audit_queue import AuditQueue
from hetagent.calibrate.correctness import judge
from hetagent.files import append_line
from hetagent.models.base import Request
from hetagent.opened import Bound
from hetagent.options import Options
from hetagent.outcome import Outcome, ServedBy
from hetagent.policy import Decision, Policy, Scored
from hetagent.raised import raised
from hetagent.registry import Registry
from hetagent.serving import Serving
from hetagent.skill import Skill

__all__ = ["Comparison", "Shadows", "comparisons"]

_log = logging.getLogger("hetagent")

_FOLDER = "shadows"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a binding's answer compares with the one that was served.

    Attributes:
        time: When, in UTC, ISO 8601.
        skill: Name of the skill.
        binding: Id of the binding.
        trace_id: Of the call.
        accepted: Whether its answer would have been served.
        same: Whether it is the one that was.
        served_by: Whose that was; an LLM's stands for what is right, another binding's does not.
        seconds: That the binding took.
    """

    time: str
    skill: str
    binding: str
    trace_id: str
    accepted: bool
    same: bool
    served_by: ServedBy
    seconds: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON data."""
        return cls(**data)


class Shadows:
    """Runs bindings in the shadow of what is served; for any number of threads.

    What they take counts in nobody's budget. They wait for the same processors, though.

    Args:
        registry: Beside which comparisons are kept.
        at_once: How many may run at once; of what comes meanwhile a thousand wait, and more are
            left out and counted.

    Attributes:
        left_out: Calls that were not compared for want of time or room.
    """

    def __init__(self, registry: Registry, *, at_once: int = 4) -> None:
        self._folder = registry.folder / _FOLDER
        self._queue = AuditQueue(at_once)
        self._admission = Admission()
        self._lock = threading.Lock()
        self.left_out = 0

    def compare(
        self,
        bound: Bound,
        skill: Skill[Any, Any],
        request: Request,
        *,
        served: Outcome[Any],
        options: Options,
    ) -> None:
        """Have a binding answer a call, and compare; returns at once, and raises nothing.

        Args:
            bound: The binding.
            skill: What was called.
            request: What its models are asked.
            served: What was served.
            options: The orchestrator's own: the policy of a binding that has no certificate, and
                how long one call may take.
        """
        try:
            # Now, for the value is the caller's from then on.
            answer = skill.output.to_json(served.value)
        except Exception as error:
            self._leave_out(raised(error))
            return

        async def job() -> None:
            try:
                outcome = await self._outcome(bound, skill, request, served.trace_id, options)
                value, wholes = _answer(skill, outcome), skill.output.wholes
                found = Comparison(
                    datetime.now(UTC).isoformat(timespec="milliseconds"),
                    skill.name,
                    bound.binding.id,
                    served.trace_id,
                    accepted=outcome.served_by == "slm",
                    same=value is not None and judge(value[0], answer, wholes=wholes)[""],
                    served_by=served.served_by,
                    seconds=round(outcome.seconds, 6),
                )
                line = json.dumps(asdict(found), ensure_ascii=True)
                append_line(_file(self._folder, bound.binding.id), line)
            except Exception as error:
                self._leave_out(raised(error))

        # Without the caller's context: neither its budget nor its trace is about this.
        if not contextvars.Context().run(self._queue.put, job):
            self._leave_out("too many wait")

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until none is left; whether that was so in time."""
        return self._queue.flush(timeout)

    async def _outcome(
        self,
        bound: Bound,
        skill: Skill[Any, Any],
        request: Request,
        trace_id: str,
        options: Options,
    ) -> Outcome[Any]:
        alone = Options(
            _Asked(bound.policy or options.policy), "whole", options.timeout, 1,
            progress=False, breaker=None,
        )  # fmt: skip
        return await Serving(
            Assembly(skill, request, trace_id),
            slm=bound.model,
            llms=(),
            options=alone,
            allowance=self._admission.allowance(alone, skill.name),
        ).outcome()

    def _leave_out(self, why: str) -> None:
        with self._lock:
            self.left_out += 1
            first = self.left_out == 1
        if first:
            _log.warning(
                "A call was not compared in shadow: %s. Calls go on; what else is not compared is "
                "counted.", why,
            )  # fmt: skip


class _Asked:
    """Another policy's decisions, though by that one the SLM may not even be asked."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def asks_slm(self, skill: str) -> bool:
        """Always."""
        return True

    def decide(self, scored: Scored) -> Decision:
        """As the other one, where it would have come to that."""
        if not self._policy.asks_slm(scored.skill):
            return Decision("escalate", "policy")
        return self._policy.decide(scored)


def comparisons(registry: Registry, binding: str) -> Iterator[Comparison]:
    """What was compared of a binding so far, in the order it was written.

    Args:
        registry: Beside which it is kept.
        binding: Id of the binding.
    """
    try:
        with _file(registry.folder / _FOLDER, binding).open("rb") as file:
            for line in file:
                try:
                    yield Comparison.from_dict(json.loads(line))
                except (ValueError, TypeError, RecursionError):
                    continue  # cut off by a full disk or a power cut
    except FileNotFoundError:
        return


def _file(folder: Path, binding: str) -> Path:
    return folder / f"{binding}.jsonl"


def _answer(skill: Skill[Any, Any], outcome: Outcome[Any]) -> tuple[Any] | None:
    """The small model's answer as JSON data, accepted or not; ``None`` where there is none."""
    if outcome.served_by == "slm":
        return (skill.output.to_json(outcome.value),)
    if outcome.draft is not None and outcome.reason not in ("invalid_output", "truncated"):
        return (skill.output.to_json(outcome.draft.value),)
    return None
