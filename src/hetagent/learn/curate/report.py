"""What curation removed, and why."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["CurationReport", "Removed", "Removing", "Step"]

_IDS = 5


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed for one reason.

    Attributes:
        count: How many.
        ids: Of a few of these records: the first in the order of ids.
    """

    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of curation.

    Attributes:
        name: Its name.
        before: Records that came to it.
        reasons: What it removed, by reason.
    """

    name: str
    before: int
    reasons: Mapping[str, Removed]

    @property
    def removed(self) -> int:
        """How many it removed."""
        return sum(one.count for one in self.reasons.values())

    @property
    def after(self) -> int:
        """How many it left."""
        return self.before - self.removed


@dataclass(frozen=True, slots=True)
class CurationReport:
    """What each step did, and what the dataset is like.

    Attributes:
        read: Records that were read.
        steps: In their order.
        facts: Figures of the whole: sizes of groups, cuts in time, classes, models. JSON data.
        warnings: What should be looked at, in sentences.
    """

    read: int
    steps: tuple[Step, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Examples of the dataset."""
        return self.steps[-1].after if self.steps else self.read

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            KeyError: There is none.
        """
        return {one.name: one for one in self.steps}[name]

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        return {
            "read": self.read,
            "kept": self.kept,
            "steps": [
                {
                    "name": step.name,
                    "before": step.before,
                    "removed": step.removed,
                    "reasons": {
                        reason: {"count": one.count, "ids": list(one.ids)}
                        for reason, one in step.reasons.items()
                    },
                }
                for step in self.steps
            ],
            "facts": dict(self.facts),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The report that `to_dict` wrote."""
        steps = tuple(
            Step(
                step["name"],
                step["before"],
                {
                    reason: Removed(one["count"], tuple(one["ids"]))
                    for reason, one in step["reasons"].items()
                },
            )
            for step in data["steps"]
        )
        return cls(data["read"], steps, data["facts"], tuple(data["warnings"]))


class Removing:
    """Counts removals, step by step and by reason, with the first few ids in their own order.

    Which ids are named does not depend on the order in which records come.

    Args:
        names: Of the steps, in their order.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._counts: dict[str, dict[str, int]] = {name: {} for name in names}
        self._ids: dict[tuple[str, str], list[_Last]] = {}

    def add(self, step: str, reason: str, record: str) -> None:
        """One record is removed."""
        counts = self._counts[step]
        counts[reason] = counts.get(reason, 0) + 1
        largest = self._ids.setdefault((step, reason), [])
        if len(largest) < _IDS:
            heapq.heappush(largest, _Last(record))
        elif record < largest[0].id:
            heapq.heapreplace(largest, _Last(record))

    def steps(self, read: int) -> tuple[Step, ...]:
        """All steps, where so many records were read."""
        found = []
        for name, counts in self._counts.items():
            reasons = {
                reason: Removed(
                    counts[reason], tuple(sorted(one.id for one in self._ids[name, reason]))
                )
                for reason in sorted(counts)
            }
            found.append(Step(name, read, reasons))
            read = found[-1].after
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Last:
    """Orders ids backwards, so that a heap's first is the last of those it holds."""

    id: str

    def __lt__(self, other: _Last) -> bool:
        return self.id > other.id
