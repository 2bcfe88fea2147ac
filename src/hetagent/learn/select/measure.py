"""What an entrant is like: how many answers are right, how fast, and what it takes."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hetagent.calibrate.correctness import judge
from hetagent.errors import ModelError
from hetagent.learn.select.classifier import Classifier
from hetagent.learn.select.energy import Energy
from hetagent.models.base import Completion, Model, Request
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.skill import Skill

__all__ = ["SERIAL_CALLS", "Answers", "Timing", "answered", "resident_bytes", "timed", "warm"]

SERIAL_CALLS = 32
"""Calls one at a time that latency is measured on; fewer where there are fewer rows."""

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Answers:
    """Some rows, answered together and judged.

    Attributes:
        right: Whether each whole answer is; a row without a valid one is wrong.
        fields: Share of each answer's fields that are right; for a bare value 0 or 1.
        seconds: How long they took together.
        joules: What the machine used meanwhile; ``None`` where it does not tell.
    """

    right: tuple[bool, ...]
    fields: tuple[float, ...]
    seconds: float
    joules: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        right = "".join("01"[one] for one in self.right)
        return {**asdict(self), "right": right, "fields": [round(one, 4) for one in self.fields]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What `to_dict` wrote."""
        right = tuple(one == "1" for one in data["right"])
        return cls(right, tuple(data["fields"]), data["seconds"], data["joules"])


@dataclass(frozen=True, slots=True)
class Timing:
    """Calls one at a time.

    Attributes:
        seconds: Of each call.
        memory_bytes: Resident memory that the process grew by, from before the model was opened
            until it had answered, and of a classifier the size of its tables; ``None`` where the
            system does not tell.
    """

    seconds: tuple[float, ...]
    memory_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(tuple(data["seconds"]), data["memory_bytes"])

    def quantile(self, share: float) -> float:
        """Seconds that this share of the calls took at most, by the nearest rank."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]


def answered(
    skill: Skill[Any, Any],
    model: Model,
    rows: Sequence[Any],
    labels: Sequence[Any],
    *,
    concurrency: int,
    tell: Callable[[int], None],
) -> Answers:
    """Have a model alone answer rows, many at once, and judge them.

    Args:
        skill: Its own model is not used.
        model: Answers.
        rows: As `hetagent.Orchestrator.map` takes them.
        labels: The right answers, as JSON data.
        concurrency: Calls under way at once.
        tell: Called with how many are answered.

    Raises:
        ModelError: The model cannot be run.
        KeyboardInterrupt: Ctrl-C.
    """
    warm(skill, model, rows)
    alone = skill.using(_Counted(model, tell))
    before, began = Energy.now(), time.perf_counter()
    outcomes = _run(alone, rows, concurrency=concurrency)
    seconds, joules = time.perf_counter() - began, Energy.now().since(before)
    judged = [
        _judged(skill, outcome, label) for outcome, label in zip(outcomes, labels, strict=True)
    ]
    return Answers(tuple(a for a, _ in judged), tuple(b for _, b in judged), seconds, joules)


def timed(
    skill: Skill[Any, Any], model: Model, rows: Sequence[Any], *, before_bytes: int | None
) -> Timing:
    """Have a model alone answer rows one after the other, after one that is not counted.

    Args:
        skill: Its own model is not used.
        model: Answers.
        rows: Some of those to be judged.
        before_bytes: Resident memory before the model was opened.

    Raises:
        ModelError: The model cannot be run.
        KeyboardInterrupt: Ctrl-C.
    """
    warm(skill, model, rows)
    alone = skill.using(model)
    seconds = []
    for row in rows:
        began = time.perf_counter()
        _run(alone, [row], concurrency=1)
        seconds.append(time.perf_counter() - began)
    return Timing(tuple(seconds), _memory(model, before_bytes))


def warm(skill: Skill[Any, Any], model: Model, rows: Sequence[Any]) -> None:
    """Have a model answer the first row, which loads it.

    Raises:
        ModelError: The model cannot be run.
        KeyboardInterrupt: Ctrl-C.
    """
    _run(skill.using(model), rows[:1], concurrency=1)


def _memory(model: Model, before: int | None) -> int | None:
    if isinstance(model, Classifier):
        # Its tables may have been in memory before.
        return model.memory_bytes
    after = resident_bytes()
    return None if before is None or after is None else max(0, after - before)


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; ``None`` where the system does not tell."""
    gc.collect()
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Counted:
    """A model that tells how many calls are done."""

    def __init__(self, model: Model, tell: Callable[[int], None]) -> None:
        self._model = model
        self._tell = tell
        self._done = 0

    @property
    def name(self) -> str:
        return self._model.name

    async def complete(self, request: Request) -> Completion:
        try:
            return await self._model.complete(request)
        finally:
            self._done += 1
            self._tell(self._done)


def _run(skill: Skill[Any, Any], rows: Sequence[Any], *, concurrency: int) -> list[Outcome[Any]]:
    agent = Orchestrator(policy=0.0, concurrency=concurrency, progress=False)
    outcomes = agent.map(skill, rows)
    for outcome in outcomes:
        if outcome.reason == "cancelled":
            raise KeyboardInterrupt
        # Else a model that cannot run at all would be measured as one that is always wrong.
        if outcome.reason == "model_error" and isinstance(outcome.error, ModelError):
            raise outcome.error
    return outcomes


def _judged(skill: Skill[Any, Any], outcome: Outcome[Any], label: Any) -> tuple[bool, float]:
    if outcome.served_by == "none":
        return False, 0.0
    found = judge(skill.output.to_json(outcome.value), label, wholes=skill.output.wholes)
    parts = [right for path, right in found.items() if path] or [found[""]]
    return found[""], sum(parts) / len(parts)
