"""The five cells' calls, as skills for hetagent and as plain JSON for everything else.

The JSON holds what a model is told and what it may answer (messages, JSON Schema, labels), so that
a peer in another virtual environment gets exactly the same prompts without importing hetagent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine.skills import EIGHT, domain, every_intent, slots
from benchmarks.report import data_folder
from benchmarks.skills import asked_for

__all__ = ["CELLS", "rows_for", "skills_of", "workload"]

SEED = 20261121
CELLS = {
    "a": "choice, 10 labels",
    "b": "choice, 150 labels",
    "c": "record, 5 slots",
    "d": "eight skills in random order",
    "e": "eight skills with eight adapters",
}


def skills_of(cell: str) -> tuple[Any, ...]:
    """The skills that a cell calls, as hetagent has them."""
    makers: dict[str, Callable[[], tuple[Any, ...]]] = {
        "a": lambda: (domain,),
        "b": lambda: (every_intent(),),
        "c": lambda: (slots,),
        "d": lambda: EIGHT,
        "e": lambda: EIGHT,
    }
    return makers[cell]()


def workload(cell: str, count: int, *, adapters: Sequence[Path] = ()) -> dict[str, Any]:
    """The calls of a cell as JSON.

    Args:
        cell: One of `CELLS`.
        count: How many calls.
        adapters: One LoRA file for each skill, for the cell that has them.
    """
    skills = skills_of(cell)
    generator = random.Random(f"{SEED} {cell}")
    rows = rows_for(skills[0], count + len(skills), seed=f"{SEED} {cell}")
    files = [str(path) for path in adapters] or [None] * len(skills)
    return {
        "cell": cell,
        "skills": {
            task.name: {**describe(task), "adapter": file}
            for task, file in zip(skills, files, strict=True)
        },
        # Other inputs than those that are measured: some peers keep whole prompts.
        "warm": [call(task, row) for task, row in zip(skills, rows, strict=False)],
        "calls": [call(generator.choice(skills), row) for row in rows[len(skills) :]],
    }


def rows_for(task: Any, count: int, *, seed: str = "") -> list[Any]:
    """Inputs of a skill: turns of guests for the record, else what users of an assistant said."""
    generator = random.Random(seed)
    if task is slots:
        folder = data_folder("restaurants8k")
        turns = json.loads((folder / "test.json").read_text(encoding="utf-8"))
        picked = generator.sample(turns, count)
        return [(asked_for(turn), turn["userInput"]["text"]) for turn in picked]
    text = (data_folder("clinc150") / "data_full.json").read_text(encoding="utf-8")
    return [utterance for utterance, _ in generator.sample(json.loads(text)["test"], count)]


def describe(task: Any) -> dict[str, Any]:
    """The fixed part of a skill: what any of its calls begins with, and what may be answered."""
    return {
        "instructions": task.instructions,
        "messages": [{"role": m.role, "content": m.content} for m in task.messages],
        "form": task.output.form,
        "labels": list(task.output.labels),
        "schema": {key: value for key, value in task.schema.items() if key != "$schema"},
        "max_tokens": task.max_tokens,
    }


def call(task: Any, row: Any) -> dict[str, Any]:
    """One call: the skill's name, its input, and the user's turn it is told as."""
    args, kwargs = task.bind_row(row)
    return {"skill": task.name, "input": row, "message": task.request_text(*args, **kwargs)}
