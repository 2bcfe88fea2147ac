"""Recorded calls as labelled rows of a task's skill, and rows parted to train and to certify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from hetagent.errors import InputError
from hetagent.fingerprint import digest
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.record import CallRecord
from hetagent.learn.task.task import NO_VALUE, Task

__all__ = ["PARTS", "SHARES", "Example", "Rows", "Split", "rows", "split"]

PARTS = ("train", "validate", "calibrate", "test")
"""Parts of a split, the earliest first."""
SHARES: Mapping[str, float] = MappingProxyType(
    {"train": 0.6, "validate": 0.1, "calibrate": 0.15, "test": 0.15}
)
# Parts that are to have the shares that calls have.
_AS_CALLS = ("calibrate", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """A call as a row of the skill.

    Attributes:
        row: The inputs, by name.
        label: What the LLM answered, as JSON data; ``None`` of a stray.
        time: When the call began.
        record: Id of its record.
        group: The same for equal inputs, and only for them.
    """

    row: Mapping[str, Any]
    label: Any
    time: datetime
    record: str
    group: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The calls of a workload as rows.

    Attributes:
        examples: Those with a label, by time. Calls that ask the same are each one of them, so that
            inputs and labels have the shares that they have among calls.
        strays: Those that the LLM answered with no value of the output type, by time. The skill
            would be given such calls, too, and whatever it answers them is wrong; who certifies it
            should count them so.
        left_out: How many records are neither, by why; strays are told of as well.
    """

    examples: tuple[Example, ...]
    strays: tuple[Example, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows in parts, each later than the one before it.

    Attributes:
        train: To learn from.
        validate: To choose by, such as when to stop.
        calibrate: To certify on.
        test: To measure on, at last.
        strays: Of ``"calibrate"`` and ``"test"``, the strays of the same time.
        dropped: How many of ``"train"`` and ``"validate"`` were dropped, since their inputs occur
            in a later part.
    """

    train: tuple[Example, ...]
    validate: tuple[Example, ...]
    calibrate: tuple[Example, ...]
    test: tuple[Example, ...]
    strays: Mapping[str, tuple[Example, ...]]
    dropped: Mapping[str, int]


def rows(
    task: Task,
    records: Iterable[CallRecord],
    *,
    workloads: Workloads | None = None,
    interactive: bool = False,
) -> Rows:
    """Labelled rows of recorded calls.

    Args:
        task: What the rows are for.
        records: Calls of any workload; read once.
        workloads: Says which calls are of which workload, where records do not. Without it, the
            task's templates do.
        interactive: Whether calls in which a person talks with the model are taken.
    """
    found: list[Example] = []
    strays: list[Example] = []
    left_out: Counter[str] = Counter()
    for record in records:
        if record.form == "openai.embeddings":
            left_out["not a chat"] += 1
            continue
        if record.interactive and not interactive:
            left_out["interactive"] += 1
            continue
        name = record.workload
        if name is None and workloads is not None:
            name = workloads.assign(record)
            if name is None:
                left_out["of no workload"] += 1
                continue
        row = task.row(record, workload=name)
        fault = (
            task.label_fault(record) if row is not None else task.row_fault(record, workload=name)
        )
        if fault is not None:
            left_out[fault] += 1
        if row is None or fault not in (None, NO_VALUE):
            continue
        label = task.label(record) if fault is None else None
        one = Example(row, label, record.time, record.id, digest(row)[:32])
        (found if fault is None else strays).append(one)
    return Rows(_by_time(found), _by_time(strays), dict(left_out.most_common()))


def split(rows: Rows, *, shares: Mapping[str, float] = SHARES, least: int = 10) -> Split:
    """Part rows by time: the latest are the test, those before them calibrate, and so on.

    What is certified and tested must not have been learned: an input that occurs in a later part,
    too, is dropped from ``train`` and ``validate``. It is dropped there, and not from the later
    part, since a certificate holds for inputs that come as those it was made on: to take inputs
    that had come before out of ``calibrate`` or ``test`` would leave the unusual ones alone. For
    the same reason these two share inputs wherever calls repeat themselves.

    The same rows are parted alike each time.

    Args:
        rows: Examples and strays.
        shares: Of each part; together 1, and ``validate`` may be 0.
        least: Examples that each part must have.

    Raises:
        InputError: The shares are none, or there are too few rows.
    """
    _check_shares(shares)
    every = _by_time([*rows.examples, *rows.strays])
    strays = {id(one) for one in rows.strays}
    parts: dict[str, tuple[Example, ...]] = {}
    begun, share = 0, 0.0
    for name in PARTS:
        share += shares[name]
        end = len(every) if name == PARTS[-1] else round(share * len(every))
        parts[name], begun = every[begun:end], end
    later: set[str] = set()
    kept: dict[str, tuple[Example, ...]] = {}
    dropped: dict[str, int] = {}
    for name in reversed(PARTS):
        some = tuple(one for one in parts[name] if id(one) not in strays)
        if name not in _AS_CALLS:
            new = tuple(one for one in some if one.group not in later)
            dropped[name] = len(some) - len(new)
            some = new
        later |= {one.group for one in parts[name]}
        kept[name] = some
    _check_sizes(kept, shares, dropped, least, total=len(rows.examples))
    apart = {name: tuple(one for one in parts[name] if id(one) in strays) for name in _AS_CALLS}
    return Split(**kept, strays=apart, dropped=dropped)


def _by_time(examples: Sequence[Example]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda one: (one.time, one.record)))


def _check_shares(shares: Mapping[str, float]) -> None:
    wrong = (
        set(shares) != set(PARTS)
        or abs(sum(shares.values()) - 1) > 1e-6
        or min(shares.values()) < 0
        or any(shares[name] == 0 for name in PARTS if name != "validate")
    )
    if wrong:
        raise InputError(
            f"The shares {dict(shares)} do not part rows.",
            hint=f"Give {', '.join(PARTS)} shares above 0 that together are 1; validate may be 0.",
        )


def _check_sizes(
    parts: Mapping[str, Sequence[Example]],
    shares: Mapping[str, float],
    dropped: Mapping[str, int],
    least: int,
    *,
    total: int,
) -> None:
    for name in PARTS:
        if shares[name] and len(parts[name]) < least:
            gone = dropped.get(name, 0)
            because = (
                f" ({gone:,} were dropped, since calls after them ask the same)" if gone else ""
            )
            raise InputError(
                f"Of {total:,} labelled rows {len(parts[name]):,} are left to {name}{because}, and "
                f"{least:,} are needed.",
                hint="Record more calls first.",
            )
