"""Selecting a model for a skill: from labelled examples to a choice and the reasons for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from hetagent.calibrate.calibration import parsed
from hetagent.errors import InputError
from hetagent.learn.select.candidates import Refused, candidates, roomy
from hetagent.learn.select.entrants import Pairs, entrants
from hetagent.learn.select.kept import made_folder, write_kept
from hetagent.learn.select.race import race
from hetagent.learn.select.result import Race
from hetagent.learn.select.runner import Tell
from hetagent.learn.select.settings import SelectSettings
from hetagent.learn.select.tuning import own_tuner
from hetagent.skill import Skill

__all__ = ["RESULT", "select", "split"]

RESULT = "race.json"
"""The file of a folder that has what came of its race."""

_SHARE, _MOST = 0.3, 2000


def select(
    skill: Skill[Any, Any],
    examples: Iterable[Any],
    *,
    validate: Iterable[Any] | None = None,
    settings: SelectSettings | None = None,
    to: Path | str | None = None,
    tell: Tell = lambda stage, done, total: None,
) -> Race:
    """Find out which model is to serve a skill.

    Candidates that the limits let in are raced as they are, with retrieved examples and, the best
    of them, tuned; beside them a plain classifier.

    Args:
        skill: What is to be served.
        examples: Pairs of an input and the right answer.
        validate: Other such pairs to judge by; by default three tenths of the examples, at most
            2,000.
        settings: How; sound defaults where not given.
        to: A folder for measurements, adapters and the result, from which an interrupted run goes
            on; without one nothing is tuned.
        tell: Told what is being done.

    Raises:
        InputError: An example is none, there are too few, or nothing may enter.
        ModelError: A named model is not known, or cannot be fetched or loaded.
        StoreError: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call then goes on where it was.
    """
    settings = settings or SelectSettings()
    learn = _pairs(skill, examples)
    if validate is None:
        learn, judged = split(skill, learn, seed=settings.seed)
    else:
        judged = _pairs(skill, validate)
    folder = None if to is None else made_folder(to)
    tell("looking for models", 0, None)
    entered, refused = candidates(
        settings.limits, names=settings.models, fetch=settings.fetch, progress=False
    )
    rows = [row for row, _ in [*learn, *judged]]
    entered, short = roomy(entered, skill, rows, limits=settings.limits)
    tell("training a classifier", 0, None)
    racing, notes = entrants(
        skill, learn, entered, k=settings.examples, to=folder, seed=settings.seed
    )
    if not racing:
        raise InputError(
            f"No model may serve {skill.name}: {len(refused) + len(short)} were refused.",
            hint=_why([*refused, *short]),
        )
    result = race(
        skill,
        learn,
        judged,
        entrants=racing,
        refused=[*refused, *short],
        limits=settings.limits,
        tune=settings.tune,
        tuner=own_tuner(settings.minutes, settings.seed),
        to=folder,
        margin=settings.margin,
        machine_usd_per_hour=settings.usd_per_hour,
        concurrency=settings.concurrency,
        seed=settings.seed,
        notes=notes,
        tell=tell,
    )
    if folder is not None:
        text = json.dumps(result.to_dict(), ensure_ascii=False, indent=1)
        write_kept(folder / RESULT, text + "\n")
    return result


def split(
    skill: Skill[Any, Any], pairs: Pairs, *, seed: int = 0
) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """What is learned, and what is judged by: drawn by input, so that equal ones stay together.

    Raises:
        InputError: There are too few.
    """
    share = min(_SHARE, _MOST / max(1, len(pairs)))
    learn: list[tuple[Any, Any]] = []
    judged: list[tuple[Any, Any]] = []
    for row, label in pairs:
        args, kwargs = skill.bind_row(row)
        text = f"select {seed} {skill.request_text(*args, **kwargs)}"
        drawn = int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64
        (judged if drawn < share else learn).append((row, label))
    if not learn or not judged:
        raise InputError(
            f"{len(pairs)} examples of {skill.name} are too few to learn from and to judge by.",
            hint="Give some dozens at least, or others to judge by.",
        )
    return learn, judged


def _pairs(skill: Skill[Any, Any], examples: Iterable[Any]) -> list[tuple[Any, Any]]:
    return list(zip(*parsed(skill, examples), strict=True))


def _why(refused: Sequence[Refused]) -> str:
    return " ".join(f"{one.name}: {one.why}." for one in refused[:3])
