"""Recorded calls as an agent would have made them, of data sets that people labelled.

What the LLM is recorded to have answered is the data set's label: so what is measured is the
conversion, and no LLM's mistakes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.report import data_folder
from benchmarks.skills import SLOTS, asked_for, labelled_slots
from benchmarks.tune_clinc import clinc150, intents
from hetagent.learn.record import CallRecord, Usage

SEED = 20261122
OUT_OF_SCOPE = "out of scope"
BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
# US dollars for a million tokens of prompt and completion, and characters of a token: what a small
# hosted LLM takes. Only what is said of money follows from them.
PROMPT_USD, COMPLETION_USD, CHARACTERS = 0.25, 2.0, 4.0

_ROUTER = (
    "You route what users of a voice assistant say to the part of it that handles it. Answer with "
    "exactly one of these labels, and with nothing else:\n{}"
)
_SLOTS = (
    "Copy the booking details out of a guest's message to a restaurant, word for word. A detail "
    "that the message does not state is null."
)
_SLOTS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {name: {"type": ["string", "null"]} for name in SLOTS},
    "required": list(SLOTS),
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Case:
    """One call: what the user says, and what is right."""

    text: str
    answer: str


def clinc_cases(labels: int | None = None) -> tuple[list[Case], list[Case], dict[str, list[Case]]]:
    """Calls to learn from, calls to certify with, and those to measure on by split.

    The training splits are learned from. The validation splits, in and out of scope together, are
    certified with and decided on. The test splits are seen by nothing of this.

    Args:
        labels: How many of the intents; all of them unless told.
    """
    data = clinc150()
    kept = set(random.Random(SEED).sample(intents(), labels) if labels else intents())

    def cases(split: str) -> list[Case]:
        if split.startswith("oos"):
            return [Case(text, OUT_OF_SCOPE) for text, _ in data[split]]
        return [Case(text, label) for text, label in data[split] if label in kept]

    learn, certify = cases("train") + cases("oos_train"), cases("val") + cases("oos_val")
    random.Random(SEED).shuffle(learn)
    random.Random(SEED + 1).shuffle(certify)
    return learn, certify, {"test": cases("test"), "oos_test": cases("oos_test")}


def clinc_records(cases: Sequence[Case]) -> Iterator[CallRecord]:
    """Calls of an agent that has an LLM name the intent."""
    system = _ROUTER.format("\n".join([*intents(), OUT_OF_SCOPE]))
    for number, case in enumerate(cases):
        yield _record(number, system, case.text, case.answer)


def restaurant_cases() -> tuple[list[Case], list[Case]]:
    """Calls to learn from, and those to measure on: what was just asked for, and the message."""
    return tuple(_turns(name) for name in ("train_0.json", "test.json"))  # type: ignore[return-value]


def _turns(file: str) -> list[Case]:
    turns = json.loads((data_folder("restaurants8k") / file).read_text(encoding="utf-8"))
    found = []
    for turn in turns:
        asked = asked_for(turn) or "nothing"
        text = f"Just asked for: {asked}\nMessage: {turn['userInput']['text']}"
        found.append(Case(text, json.dumps(labelled_slots(turn), ensure_ascii=False)))
    random.Random(SEED).shuffle(found)
    return found


def restaurant_records(cases: Sequence[Case]) -> Iterator[CallRecord]:
    """Calls of an agent that has an LLM fill the slots of a booking."""
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "booking", "strict": True, "schema": _SLOTS_SCHEMA},
    }
    for number, case in enumerate(cases):
        yield _record(number, _SLOTS, case.text, case.answer, response_format=wanted)


def written(path: Path, records: Iterator[CallRecord]) -> Path:
    """A log of calls, as hetagent writes it."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(record.to_json() + "\n")
    return path


def _record(number: int, system: str, user: str, answer: str, **more: Any) -> CallRecord:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    message = {"role": "assistant", "content": answer}
    usage = Usage(
        round((len(system) + len(user)) / CHARACTERS), max(1, round(len(answer) / CHARACTERS))
    )
    return CallRecord(
        id=f"{number:032x}",
        time=BEGAN + timedelta(seconds=20 * number),
        form="openai.chat",
        source="import",
        model="recorded",
        request={"model": "recorded", "messages": messages, **more},
        response={"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]},
        usage=usage,
        cost_usd=((usage.prompt or 0) * PROMPT_USD + (usage.completion or 0) * COMPLETION_USD)
        / 1e6,
        trainable="trainable",
        redacted={},
    )
