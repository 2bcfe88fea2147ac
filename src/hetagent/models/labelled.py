"""Labelled rows of a skill: read from a file, answered by a model, judged by equality."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetagent.errors import InputError, OutputError, SkillError
from hetagent.models.base import Model
from hetagent.orchestrator import Orchestrator
from hetagent.skill import Skill

__all__ = ["Labelled", "read_labelled"]


@dataclass(frozen=True)
class Labelled:
    """Inputs of a skill, each with the value that is right.

    Attributes:
        skill: The skill.
        inputs: Rows as `Orchestrator.map` takes them.
        values: The right values, of the skill's output type.
        concurrency: How many calls are under way at once.
    """

    skill: Skill[Any, Any]
    inputs: Sequence[Any]
    values: Sequence[Any]
    concurrency: int = 8

    def __len__(self) -> int:
        return len(self.inputs)

    def judge(self, model: Model, *, on_progress: Callable[[int, int], None]) -> list[bool]:
        """Which rows a model has right: its value equals the labelled one.

        A row without a valid answer is wrong.

        Args:
            model: Answers alone; the skill's own model is not used.
            on_progress: Called with the rows that are done and those there are.

        Raises:
            ModelError: The model cannot be run.
            KeyboardInterrupt: Ctrl-C.
        """
        right: list[bool] = []
        step = 4 * self.concurrency
        for begin in range(0, len(self), step):
            outcomes = self._run(model, self.inputs[begin : begin + step])
            right += [
                outcome.served_by != "none" and bool(outcome.value == value)
                for outcome, value in zip(outcomes, self.values[begin : begin + step], strict=True)
            ]
            on_progress(len(right), len(self))
        return right

    def seconds(self, model: Model, *, begin: int, count: int) -> float:
        """How long some rows take, from ``begin`` on and around the end; in seconds."""
        rows = [self.inputs[(begin + offset) % len(self)] for offset in range(count)]
        began = time.perf_counter()
        self._run(model, rows)
        return time.perf_counter() - began

    def _run(self, model: Model, rows: Sequence[Any]) -> list[Any]:
        agent = Orchestrator(model, policy=0.0, concurrency=self.concurrency, progress=False)
        outcomes = agent.map(self.skill.using(model), rows)
        for outcome in outcomes:
            if outcome.reason == "cancelled":
                raise KeyboardInterrupt
            # Else a model that cannot run at all would be measured as one that is always wrong.
            if outcome.reason == "model_error" and outcome.error is not None:
                raise outcome.error
        return outcomes


def read_labelled(file: Path, skill: Skill[Any, Any], *, concurrency: int = 8) -> Labelled:
    """Read JSON lines of ``{"input": ..., "output": ...}``.

    Args:
        file: The file; empty lines are left out.
        skill: ``input`` is a row as `Orchestrator.map` takes it, ``output`` JSON of its type.
        concurrency: How many calls are under way at once.

    Raises:
        InputError: It cannot be read, has no rows, or a row does not fit the skill; the message
            names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Check the path.") from error
    inputs, values = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            row, value = _read_row(line, skill, place=f"line {number} of {file}")
            inputs.append(row)
            values.append(value)
    if not inputs:
        raise InputError(f"{file} has no rows.", hint=_SHAPE)
    return Labelled(skill, inputs, values, concurrency)


_SHAPE = 'Write a JSON object a line: {"input": "a table for two", "output": "book"}.'


def _read_row(line: str, skill: Skill[Any, Any], *, place: str) -> tuple[Any, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place} is not JSON: {error}.", hint=_SHAPE) from error
    if not isinstance(row, dict) or not {"input", "output"} <= row.keys():
        raise InputError(f"{place} has no input and output.", hint=_SHAPE)
    try:
        args, kwargs = skill.bind_row(row["input"])
        skill.request(*args, **kwargs)
        value = skill.output.parse_json(row["output"])
    except (InputError, SkillError, OutputError) as error:
        raise InputError(
            f"{place} does not fit {skill.name}: {error.message}", hint=error.hint or _SHAPE
        ) from error
    return row["input"], value
