"""The latest answers, for feedback that comes by trace id; thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hetagent.errors import InputError
from hetagent.skill import Skill

__all__ = ["Answer", "Recall"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is remembered of an outcome.

    Attributes:
        skill: What was run.
        json: The value as JSON data; ``None`` where there is none.
        trace_id: Of the outcome.
        key: By which it is drawn, and its verdict joined.
        drawn: Name of the promise that a verdict is awaited for, by path.
    """

    skill: Skill[Any, Any]
    json: Any
    trace_id: str
    key: str
    drawn: Mapping[str, str]


@dataclass(slots=True)
class _Answers:
    """Of one skill in one trace."""

    count: int = 0
    kept: Answer | None = None


class Recall:
    """Remembers answers by trace and skill, the latest traces only.

    Args:
        most: Of how many traces.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, dict[str, _Answers]] = OrderedDict()

    def key(self, trace_id: str, skill: str) -> str:
        """What the next answer of a skill in a trace is drawn by.

        It is the trace id for the first. Those that follow have keys of their own, so that each
        is drawn or not by itself: a trace may be a batch of a million calls.
        """
        with self._lock:
            of_trace = self._traces.setdefault(trace_id, {})
            self._traces.move_to_end(trace_id)
            while len(self._traces) > self._most:
                self._traces.popitem(last=False)
            answers = of_trace.setdefault(skill, _Answers())
            answers.count += 1
            return trace_id if answers.count == 1 else f"{trace_id}/{answers.count}"

    def keep(self, answer: Answer) -> None:
        """Remember an answer; of several in one trace, the first that was drawn."""
        with self._lock:
            answers = self._traces.get(answer.trace_id, {}).get(answer.skill.name)
            if answers is not None and (answers.kept is None or not answers.kept.drawn):
                answers.kept = answer

    def find(self, trace_id: str, skill: str | None) -> Answer | None:
        """The answer of a trace, and of a skill where several ran in it.

        Raises:
            InputError: Several did, and none is named.
        """
        with self._lock:
            of_trace = {name: one.kept for name, one in self._traces.get(trace_id, {}).items()}
        if skill is not None:
            return of_trace.get(skill)
        if len(of_trace) > 1:
            raise InputError(
                f"Several skills ran in the trace {trace_id}: {', '.join(of_trace)}.",
                hint="Say which is meant, as skill=.",
            )
        return next(iter(of_trace.values()), None)

    def is_alone(self, answer: Answer) -> bool:
        """Whether its skill gave no other answer in its trace."""
        with self._lock:
            answers = self._traces.get(answer.trace_id, {}).get(answer.skill.name)
            return answers is None or answers.count == 1
