"""The data of a conversion: records that are kept, and the rows of one workload in parts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hetagent.errors import InputError
from hetagent.files import private
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.record import CallRecord
from hetagent.learn.task import PARTS, Example, Split, Task, rows, split

__all__ = ["KeptRecords", "read_split", "snapshot", "write_rows"]

_RECORDS, _ROWS = "records.jsonl", "rows.jsonl"


def snapshot(
    records: Iterable[CallRecord],
    folder: Path,
    *,
    settings: ConvertSettings,
    on_progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Keep what may be learned from, so that all that follows reads the same.

    Returns:
        How many records were read and kept, and why others were not.

    Raises:
        InputError: None is left.
    """
    left_out: Counter[str] = Counter()
    kept = read = 0
    with open(folder / _RECORDS, "w", encoding="utf-8", opener=private) as file:
        for record in records:
            read += 1
            fault = _fault(record, settings)
            if fault is None:
                file.write(record.to_json() + "\n")
                kept += 1
            else:
                left_out[fault] += 1
            if read % 500 == 0:
                on_progress(read)
    if not kept:
        raise InputError(_nothing_left(read, left_out), hint=_hint(left_out))
    return {"read": read, "kept": kept, "left_out": dict(left_out.most_common())}


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """What `snapshot` kept, to be read as often as one likes.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    def __iter__(self) -> Iterator[CallRecord]:
        """The records, in the order they were read."""
        with (self.folder / _RECORDS).open(encoding="utf-8") as file:
            for line in file:
                yield CallRecord.from_dict(json.loads(line))


def write_rows(
    task: Task,
    records: Iterable[CallRecord],
    folder: Path,
    *,
    workloads: Workloads,
    settings: ConvertSettings,
) -> dict[str, Any]:
    """Part a workload's calls by time, and write them as JSON lines.

    Returns:
        How many are in which part, what was left out, and from when to when each part is.

    Raises:
        InputError: There are too few.
    """
    known: dict[str, CallRecord] = {}

    def noted() -> Iterator[CallRecord]:
        for record in records:
            known[record.id] = record.with_(request={}, response=None)
            yield record

    found = rows(task, noted(), workloads=workloads, interactive=settings.interactive)
    parted = split(found, shares=settings.shares)
    with open(folder / _ROWS, "w", encoding="utf-8", opener=private) as file:
        for part in PARTS:
            for one in getattr(parted, part):
                file.write(_line(part, one, stray=False))
            for one in parted.strays.get(part, ()):
                file.write(_line(part, one, stray=True))
    return {
        "examples": {part: len(getattr(parted, part)) for part in PARTS},
        "strays": {part: len(some) for part, some in parted.strays.items()},
        "dropped": dict(parted.dropped),
        "left_out": dict(found.left_out),
        "teachers": dict(Counter(known[one.record].trainable for one in found.examples)),
        "llm": _spent([known[one.record] for one in (*found.examples, *found.strays)]),
        "spans": {part: _span(getattr(parted, part)) for part in PARTS},
    }


def read_split(folder: Path, dropped: Mapping[str, int]) -> Split:
    """What `write_rows` wrote."""
    parts: dict[str, list[Example]] = {part: [] for part in PARTS}
    strays: dict[str, list[Example]] = {"calibrate": [], "test": []}
    with (folder / _ROWS).open(encoding="utf-8") as file:
        for line in file:
            data = json.loads(line)
            one = Example(
                data["input"],
                data["label"],
                datetime.fromisoformat(data["time"]),
                data["record"],
                data["group"],
            )
            (strays if data["stray"] else parts)[data["part"]].append(one)
    return Split(
        **{part: tuple(some) for part, some in parts.items()},
        strays={part: tuple(some) for part, some in strays.items()},
        dropped=dict(dropped),
    )


def _fault(record: CallRecord, settings: ConvertSettings) -> str | None:
    """Why a record may not be learned from; ``None`` where it may."""
    if record.trainable not in settings.permitted:
        return f"trainable: {record.trainable}"
    if record.redacted is None and not settings.unredacted:
        return "not redacted"
    return None


def _nothing_left(read: int, left_out: Mapping[str, int]) -> str:
    if not read:
        return "There are no records."
    why = ", ".join(f"{n:,} {fault}" for fault, n in left_out.items())
    return f"Of {read:,} records none may be learned from: {why}."


def _hint(left_out: Mapping[str, int]) -> str:
    first = next(iter(left_out), "")
    return {
        "trainable: unknown": "Where you know that these answers may train a model, say so: "
        "--trainable unknown.",
        "trainable: no-train": "Their model's terms forbid it. Record calls of a model that "
        "permits it.",
        "not redacted": "Redact them by importing them into a store, or take them as they are: "
        "--unredacted.",
    }.get(first, "Record some first: see docs/gateway.md.")


def _line(part: str, one: Example, *, stray: bool) -> str:
    data = {
        "part": part,
        "input": dict(one.row),
        "label": one.label,
        "time": one.time.isoformat(),
        "record": one.record,
        "group": one.group,
        "stray": stray,
    }
    return json.dumps(data, ensure_ascii=False) + "\n"


def _spent(records: Sequence[CallRecord]) -> dict[str, float | None]:
    """What the LLM took for a call, on average of those that say."""
    costs = [one.cost_usd for one in records if one.cost_usd is not None]
    tokens = [
        one.usage.prompt + one.usage.completion
        for one in records
        if one.usage.prompt is not None and one.usage.completion is not None
    ]
    return {
        "usd": sum(costs) / len(costs) if costs else None,
        "tokens": sum(tokens) / len(tokens) if tokens else None,
    }


def _span(examples: Sequence[Example]) -> list[str]:
    return [one.time.isoformat() for one in (examples[0], examples[-1])] if examples else []
