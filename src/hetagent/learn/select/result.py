"""What a race found: a standing of each entrant, the front, and the choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from hetagent.errors import InputError
from hetagent.learn.select.candidates import Refused
from hetagent.learn.select.entrants import Kind
from hetagent.learn.select.front import wilson

__all__ = ["Race", "Standing"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One entrant, as it was measured.

    Attributes:
        name: Its name.
        kind: What it is.
        baseline: Whether it stays in the table however it fares.
        rows: Rows it was judged on; the first of those that all were.
        right: How many whole answers were right.
        fields: Mean share of the fields right; for a bare value that of the answers.
        p50_seconds: Median time of a call, one at a time.
        p95_seconds: What 95 of 100 calls took at most, one at a time.
        calls_per_second: With many calls under way at once.
        memory_bytes: What it takes of memory: what the process grew by, and of a classifier the
            size of its tables; ``None`` where the system does not tell.
        joules: Energy of a call, all that ran on the machine's CPU packages meanwhile included;
            ``None`` where the machine does not tell.
        usd_per_1000: Cost of 1,000 calls at the machine's price; ``None`` where none was given.
        tuning_seconds: What it took to tune it; ``None`` where it was not.
        note: Why it was dropped, or what else is to know; empty where nothing is.
        base: The model that is run: a catalogue name, or the path of its weights; ``None`` of what
            is not a local model.
        file: The adapter it is run with, or the classifier itself; ``None`` where there is none.
        finished: Whether it was in the race until the end.
        front: Whether no other finalist is as good in quality, speed and memory, and better in one.
    """

    name: str
    kind: Kind
    baseline: bool = False
    rows: int = 0
    right: int = 0
    fields: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    calls_per_second: float | None = None
    memory_bytes: int | None = None
    joules: float | None = None
    usd_per_1000: float | None = None
    tuning_seconds: float | None = None
    note: str = ""
    base: str | None = None
    file: str | None = None
    finished: bool = False
    front: bool = False

    @property
    def quality(self) -> float | None:
        """Share of the rows that are right; ``None`` without rows."""
        return self.right / self.rows if self.rows else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share right among all such rows is, with confidence 0.95."""
        return wilson(self.right, self.rows)

    @property
    def machine_seconds_per_1000(self) -> float | None:
        """What 1,000 calls take of the machine, many at once."""
        return 1000 / self.calls_per_second if self.calls_per_second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What came of a race.

    Attributes:
        skill: Name of the skill.
        rows: Validation rows there were.
        learned: Labelled pairs that could be shown and learned.
        standings: All entrants, the best first.
        refused: Models that were not let in, with the reason.
        choice: Name of the entrant that is to serve the skill; ``None`` where none can.
        why: In a sentence.
        notes: What else is to know.
        machine: Its CPU.
        margin: The loss of quality that speed is worth.
        machine_usd_per_hour: What the machine costs; ``None`` where it was not said.
    """

    skill: str
    rows: int
    learned: int
    standings: tuple[Standing, ...]
    refused: tuple[Refused, ...] = ()
    choice: str | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    machine: str = ""
    margin: float = 0.01
    machine_usd_per_hour: float | None = None

    @property
    def chosen(self) -> Standing | None:
        """The standing of the choice."""
        return next((one for one in self.standings if one.name == self.choice), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, with the quality and interval of each standing."""
        standings = [
            {**asdict(one), "quality": one.quality, "interval": list(one.interval)}
            for one in self.standings
        ]
        refused = [asdict(one) for one in self.refused]
        data = {name: getattr(self, name) for name in self.__slots__}
        return {
            "format": _FORMAT,
            **data,
            "notes": list(self.notes),
            "standings": standings,
            "refused": refused,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises:
            InputError: It is of another format.
        """
        if data.get("format") != _FORMAT:
            raise InputError(
                f"A race of format {data.get('format')!r} cannot be read.",
                hint="Run hetagent select again.",
            )
        rest = {name: value for name, value in data.items() if name != "format"}
        computed = {"quality", "interval"}
        rest["standings"] = tuple(
            Standing(**{name: value for name, value in one.items() if name not in computed})
            for one in data["standings"]
        )
        rest["refused"] = tuple(Refused(**one) for one in data["refused"])
        rest["notes"] = tuple(data["notes"])
        return cls(**rest)
