"""A race: entrants answer the same labelled rows, and most are dropped before it costs much.

Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", arXiv 1502.07943): after 32 rows, 128 and 512, the worse half of what
is left is dropped, and all that is clearly worse than the best. Only then is anything tuned, and
only the last ones answer all rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hetagent.calibrate.calibration import parsed
from hetagent.errors import InputError
from hetagent.learn.select.candidates import Refused
from hetagent.learn.select.entrants import Entrant
from hetagent.learn.select.front import choose, on_front
from hetagent.learn.select.kept import Kept, made_folder
from hetagent.learn.select.limits import Limits
from hetagent.learn.select.result import Race
from hetagent.learn.select.runner import Course, Runner, Tell
from hetagent.learn.select.tuning import Tuner, bases, tuned_entrants
from hetagent.machine import cpu
from hetagent.skill import Skill

__all__ = ["RUNGS", "race"]

RUNGS = (32, 128, 512)
"""After how many rows entrants are dropped."""

BASELINE_ROWS = 512
_MEASUREMENTS = "measurements.jsonl"


def race(
    skill: Skill[Any, Any],
    train: Iterable[Any],
    validate: Iterable[Any],
    *,
    entrants: Sequence[Entrant],
    refused: Iterable[Refused] = (),
    limits: Limits | None = None,
    tune: int = 1,
    tuner: Tuner | None = None,
    to: Path | str | None = None,
    rungs: Sequence[int] = RUNGS,
    baseline_rows: int = BASELINE_ROWS,
    margin: float = 0.01,
    machine_usd_per_hour: float | None = None,
    concurrency: int = 16,
    seed: int = 0,
    notes: Iterable[str] = (),
    tell: Tell = lambda stage, done, total: None,
) -> Race:
    """Race entrants on labelled rows, and choose one.

    An entrant that is clearly worse than the best (its interval is below the best one's), or of
    the worse half, is dropped at each rung. Baselines are never dropped: one that is clearly worse
    goes on up to ``baseline_rows``, so that the table has an honest figure.

    Args:
        skill: What is to be served.
        train: Pairs of an input and the right answer that may be learned.
        validate: Other such pairs, to judge by.
        entrants: What is raced; see `hetagent.learn.select.entrants.entrants`.
        refused: What was not let in, for the report.
        limits: What a measured entrant must hold to be chosen.
        tune: How many models are tuned, the best before the last rung.
        tuner: What tunes; by default the project's own.
        to: A folder for measurements and adapters, from which an interrupted race goes on;
            without one nothing is tuned.
        rungs: After how many rows entrants are dropped.
        baseline_rows: Rows that a baseline answers at most once it is clearly worse.
        margin: The loss of quality that speed is worth; see `hetagent.learn.select.front.choose`.
        machine_usd_per_hour: What this machine costs.
        concurrency: Calls under way at once.
        seed: Of the order of the rows.
        notes: Sentences for the report.
        tell: Told what is being done.

    Raises:
        InputError: There are no rows or entrants, or two entrants have one name.
        StoreError: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C.
    """
    names = [one.name for one in entrants]
    if not entrants or len(set(names)) < len(names):
        raise InputError(
            "A race needs entrants with names of their own.", hint=f"Given are {names or 'none'}."
        )
    rows, labels = parsed(skill, validate)
    if not rows:
        raise InputError("There are no rows to judge by.", hint="Give labelled pairs.")
    learn = list(zip(*parsed(skill, train), strict=True))
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    folder = None if to is None else made_folder(to)
    kept = Kept(None if folder is None else folder / _MEASUREMENTS)
    course = Course(
        skill, [rows[i] for i in order], [labels[i] for i in order], kept, concurrency, tell
    )
    said = [*notes, *_overlap(course, learn)]
    heats = _Heats([Runner(one, course) for one in entrants], limits or Limits(), baseline_rows)
    sizes = [*(one for one in sorted(set(rungs)) if one < len(rows)), len(rows)]
    for size in sizes[:-1]:
        heats.run(size)
        heats.drop(size)
    if len(sizes) == 1:
        heats.run(len(rows))
    if tune and folder is None:
        said.append("Nothing was tuned: there is no folder to keep it in.")
    elif tune and folder is not None and learn:
        made = tuned_entrants(
            bases(heats.runners, tune), skill, learn, to=folder, tuner=tuner, tell=tell, notes=said
        )
        heats.runners += [Runner(one, course) for one in made]
    heats.run(len(rows))
    return _result(heats, course, learned=len(learn), refused=tuple(refused), notes=tuple(said),
                   margin=margin, usd_per_hour=machine_usd_per_hour)  # fmt: skip


class _Heats:
    """The entrants of a race, and who of them goes on."""

    def __init__(self, runners: list[Runner], limits: Limits, baseline_rows: int) -> None:
        self.runners = runners
        self._limits = limits
        self._baseline_rows = baseline_rows

    def run(self, size: int) -> None:
        """Have all that are in the race answer the rows up to a number of them."""
        for one in self.runners:
            one.run_to(size)
            if one.timing is not None and not one.barred:
                self._hold(one)

    def drop(self, size: int) -> None:
        """Drop what is clearly worse than the best, and the worse half of what is no baseline."""
        racing = [one for one in self.runners if not one.out]
        lead = max((one.interval[0] for one in racing if not one.barred), default=0.0)
        behind = [one for one in racing if one.interval[1] < lead]
        for one in behind:
            if one.entrant.baseline:
                one.most = self._baseline_rows
            else:
                _drop(one, f"dropped after {size:,} rows: clearly worse")
        contestants = [one for one in racing if not one.entrant.baseline]
        left = [one for one in contestants if not one.out]
        left.sort(key=lambda one: (-one.quality, -one.calls_per_second))
        for one in left[math.ceil(len(contestants) / 2) :]:
            _drop(one, f"dropped after {size:,} rows: of the worse half")

    def _hold(self, one: Runner) -> None:
        """Bar what is over a limit; a baseline goes on, for the table."""
        assert one.timing is not None
        excess = self._limits.excess(
            p95_seconds=one.timing.quantile(0.95), memory_bytes=one.timing.memory_bytes
        )
        if excess is not None:
            one.barred, one.note = True, excess
            one.out = not one.entrant.baseline
            one.most = self._baseline_rows


def _drop(one: Runner, note: str) -> None:
    one.out = one.barred = True
    one.note = note


def _overlap(course: Course, learn: Sequence[tuple[Any, Any]]) -> list[str]:
    """A sentence where rows to judge by were to be learned, too."""
    texts = {course.text(row) for row, _ in learn}
    both = sum(course.text(row) in texts for row in course.rows)
    if not both:
        return []
    return [
        f"{both:,} of {len(course.rows):,} rows to judge by are among those to learn from, which "
        "flatters what has learned them."
    ]


def _result(
    heats: _Heats,
    course: Course,
    *,
    learned: int,
    refused: tuple[Refused, ...],
    notes: tuple[str, ...],
    margin: float,
    usd_per_hour: float | None,
) -> Race:
    runners = heats.runners
    able = [one for one in runners if one.right and not one.barred]
    memory = all(one.timing and one.timing.memory_bytes is not None for one in able)
    points = [(one.quality, one.calls_per_second, -_memory(one) if memory else 0.0) for one in able]
    front = {one.entrant.name for one, best in zip(able, on_front(points), strict=True) if best}
    choice, why = choose([one.finalist() for one in able], margin=margin) if able else (None, "")
    standings = [
        one.standing(usd_per_hour=usd_per_hour, front=one.entrant.name in front) for one in runners
    ]
    standings.sort(key=lambda one: (not one.finished, -(one.quality or 0.0), -one.rows))
    return Race(
        skill=course.skill.name,
        rows=len(course.rows),
        learned=learned,
        standings=tuple(standings),
        refused=refused,
        choice=choice,
        why=why or "No entrant could be measured within the limits.",
        notes=notes,
        machine=str(cpu()["name"]),
        margin=margin,
        machine_usd_per_hour=usd_per_hour,
    )


def _memory(one: Runner) -> int:
    return one.timing.memory_bytes or 0 if one.timing else 0
