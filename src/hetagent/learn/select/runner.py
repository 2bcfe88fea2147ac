"""An entrant under way: what was measured of it so far, and how the next rows are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hetagent.errors import HetagentError, StoreError
from hetagent.fingerprint import digest, fingerprint
from hetagent.learn.select.entrants import Entrant
from hetagent.learn.select.front import Finalist, wilson
from hetagent.learn.select.kept import Kept
from hetagent.learn.select.measure import (
    SERIAL_CALLS,
    Answers,
    Timing,
    answered,
    resident_bytes,
    timed,
    warm,
)
from hetagent.learn.select.result import Standing
from hetagent.machine import cpu
from hetagent.models.base import Model
from hetagent.models.llamacpp import LlamaCpp
from hetagent.skill import Skill

__all__ = ["Course", "Runner", "Tell"]

Tell = Callable[[str, int, int | None], None]
"""Told the stage, and how much of how much of it is done."""


@dataclass(frozen=True)
class Course:
    """What all entrants of a race run on.

    Attributes:
        skill: What is to be served.
        rows: Inputs, in the order in which they are answered.
        labels: The right answers, as JSON data.
        kept: Where measurements are.
        concurrency: Calls under way at once.
        tell: Told what is being measured.
        warmed: Kinds of models of which one was loaded before.
    """

    skill: Skill[Any, Any]
    rows: Sequence[Any]
    labels: Sequence[Any]
    kept: Kept
    concurrency: int
    tell: Tell
    warmed: set[type[Model]] = field(default_factory=set)

    def key(self, kind: str, begin: int, end: int, *, of: Mapping[str, str]) -> str:
        """What a measurement of some rows follows from, but for chance."""
        pairs = list(zip(self._texts[begin:end], self.labels[begin:end], strict=True))
        return digest([kind, dict(of), pairs, self.concurrency, self._machine])

    def text(self, row: Any) -> str:
        """A row as the skill renders it."""
        args, kwargs = self.skill.bind_row(row)
        return self.skill.request_text(*args, **kwargs)

    @cached_property
    def _texts(self) -> list[str]:
        return [self.text(row) for row in self.rows]

    @cached_property
    def _machine(self) -> dict[str, Any]:
        return cpu()


@dataclass
class Runner:
    """An entrant under way.

    Attributes:
        entrant: It.
        course: What it runs on.
        note: Why it was dropped, or what else is to know.
        out: Whether it answers no further rows.
        failed: Whether it could not be measured.
        barred: Whether it must not be chosen: it failed, was dropped, or is over a limit.
        most: Rows it is judged on at most; ``None`` for all.
    """

    entrant: Entrant
    course: Course
    note: str = ""
    out: bool = False
    failed: bool = False
    barred: bool = False
    most: int | None = None
    timing: Timing | None = None
    _answers: list[Answers] = field(default_factory=list)
    _identity: Mapping[str, str] | None = None

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether it has each row right, in order."""
        return tuple(one for part in self._answers for one in part.right)

    @property
    def quality(self) -> float:
        """Share of the rows it has right; 0 without any."""
        right = self.right
        return sum(right) / len(right) if right else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where that is among all such rows."""
        right = self.right
        return wilson(sum(right), len(right))

    @property
    def calls_per_second(self) -> float:
        """With many calls under way; 0 before any."""
        seconds = sum(part.seconds for part in self._answers)
        return len(self.right) / seconds if seconds else 0.0

    def run_to(self, size: int) -> None:
        """Answer the rows up to a number of them that it has not answered yet.

        An entrant that cannot be measured is out, with the reason.

        Raises:
            StoreError: A measurement could not be kept.
            KeyboardInterrupt: Ctrl-C.
        """
        size = size if self.most is None else min(size, self.most)
        begin = len(self.right)
        if self.out or size <= begin:
            return
        calls = min(size, SERIAL_CALLS)
        try:
            if self.timing is None:
                self._prepare(calls)
            before = resident_bytes() if self.timing is None else None
            with self.entrant.open() as model:
                if self.timing is None:
                    self.timing = self._timing(model, calls, before)
                self._answers.append(self._rows(model, begin, size))
        except StoreError:
            raise
        except HetagentError as error:
            self.out = self.failed = self.barred = True
            self.note = f"could not run: {error.message}"

    def finalist(self) -> Finalist:
        """What the choice is made by."""
        return Finalist(self.entrant.name, self.right, self.calls_per_second)

    def standing(self, *, usd_per_hour: float | None, front: bool) -> Standing:
        """What the table says of it."""
        right, speed, timing = self.right, self.calls_per_second, self.timing
        fields = [one for part in self._answers for one in part.fields]
        joules = [part.joules for part in self._answers]
        known = [one for one in joules if one is not None]
        cost = 1000 / speed / 3600 * usd_per_hour if speed and usd_per_hour is not None else None
        return Standing(
            name=self.entrant.name,
            kind=self.entrant.kind,
            baseline=self.entrant.baseline,
            rows=len(right),
            right=sum(right),
            fields=sum(fields) / len(fields) if fields else None,
            p50_seconds=timing.quantile(0.5) if timing else None,
            p95_seconds=timing.quantile(0.95) if timing else None,
            calls_per_second=speed or None,
            memory_bytes=timing.memory_bytes if timing else None,
            joules=sum(known) / len(right) if known and len(known) == len(joules) else None,
            usd_per_1000=cost,
            tuning_seconds=self.entrant.tuning_seconds,
            note=self.note,
            base=self.entrant.base.reference if self.entrant.base else None,
            file=str(self.entrant.file) if self.entrant.file else None,
            finished=not self.out,
            front=front,
        )

    def _of(self, model: Model) -> Mapping[str, str]:
        """What the entrant's answers depend on; it is read once."""
        if self._identity is None:
            self._identity = fingerprint(self.course.skill, model)
        return self._identity

    def _prepare(self, calls: int) -> None:
        """Take the timing there is; else load what models of its kind load once in a process."""
        course = self.course
        with self.entrant.open() as model:
            found = course.kept.get(course.key("timing", 0, calls, of=self._of(model)))
            if found is not None:
                self.timing = Timing.from_dict(found)
            elif (kind := LlamaCpp if self.entrant.base else type(model)) not in course.warmed:
                warm(course.skill, model, course.rows)
                course.warmed.add(kind)

    def _timing(self, model: Model, calls: int, before: int | None) -> Timing:
        course = self.course
        course.tell(f"{self.entrant.name}: one call at a time", 0, None)
        made = timed(course.skill, model, course.rows[:calls], before_bytes=before)
        course.kept.put(course.key("timing", 0, calls, of=self._of(model)), made.to_dict())
        return made

    def _rows(self, model: Model, begin: int, end: int) -> Answers:
        course = self.course
        key = course.key("answers", begin, end, of=self._of(model))
        if (found := course.kept.get(key)) is not None:
            return Answers.from_dict(found)
        stage = f"{self.entrant.name}: rows {begin + 1:,} to {end:,}"
        made = answered(
            course.skill,
            model,
            course.rows[begin:end],
            course.labels[begin:end],
            concurrency=course.concurrency,
            tell=lambda done: course.tell(stage, done, end - begin),
        )
        course.kept.put(key, made.to_dict())
        return made
