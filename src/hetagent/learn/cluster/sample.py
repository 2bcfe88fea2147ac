"""The calls that workloads are looked for in: all of them, or a random sample in bounded memory."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hetagent.learn.cluster.describe import Sums
from hetagent.learn.cluster.read import Call, read_call
from hetagent.learn.record import CallRecord

__all__ = ["Progress", "Sample", "told", "usable"]

Progress = Callable[[str, int, int | None], None]
"""Told the stage, how many calls are done, and of how many where that is known."""

_SEED = 20261121
_OFTEN = 500
# Of each workload that callers name, as many calls at least, of so many workloads at most.
_OF_EACH, _NAMES = 20, 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """Calls to look for workloads in, and what is known of all that they were drawn from.

    Attributes:
        records: Without what was said, by time of reading.
        calls: What clustering takes of each.
        whole: Whether these are all.
        sums: Of all that were drawn from.
        left_out: Records that were not drawn from, by why.
        trainable: Of those that were, how many answers may train a model, by what records say.
    """

    records: Sequence[CallRecord]
    calls: Sequence[Call]
    whole: bool
    sums: Sums
    left_out: Mapping[str, int]
    trainable: Mapping[str, int]

    @classmethod
    def of(
        cls,
        records: Iterable[CallRecord],
        *,
        most: int,
        interactive: bool = False,
        progress: Progress | None = None,
    ) -> Sample:
        """Draw calls, each with the same chance (Vitter 1985, algorithm R), always the same ones.

        Of each workload that callers name some are taken in any case.

        Args:
            records: All there are; read once.
            most: Calls that are drawn; all where there are no more.
            interactive: Whether calls in which a person talks with the model are taken.
            progress: Told how many were read.
        """
        drawing = _Drawing(most)
        sums, left_out, trainable = Sums(), Counter[str](), Counter[str]()
        for record in told(records, "reading", progress):
            why = usable(record, interactive=interactive)
            if why is not None:
                left_out[why] += 1
                continue
            sums.add(record)
            trainable[record.trainable] += 1
            drawing.add(record)
        found = drawing.drawn()
        return cls(
            [one for one, _ in found],
            [call for _, call in found],
            len(found) == sums.calls,
            sums,
            dict(left_out),
            dict(trainable),
        )


def usable(record: CallRecord, *, interactive: bool) -> str | None:
    """Why a record says nothing of workloads; ``None`` where it does."""
    if record.form == "openai.embeddings":
        return "embeddings"
    return "interactive" if record.interactive and not interactive else None


def told(
    records: Iterable[CallRecord],
    stage: str,
    progress: Progress | None,
    total: int | None = None,
) -> Iterator[CallRecord]:
    """The records, while progress is told of every few."""
    number = 0
    for number, record in enumerate(records, 1):
        yield record
        if progress is not None and number % _OFTEN == 0:
            progress(stage, number, total)
    if progress is not None:
        progress(stage, number, total)


_Place = tuple[CallRecord, Call]


class _Drawing:
    """A sample that grows, and the first few calls of each workload that callers name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._random = random.Random(_SEED)
        self._seen = 0
        self._drawn: dict[int, tuple[int, _Place]] = {}
        self._first: dict[str, list[tuple[int, _Place]]] = {}
        self._tools: dict[str, Any] = {}

    def add(self, record: CallRecord) -> None:
        number = self._seen
        self._seen += 1
        place = number if number < self._most else self._random.randrange(self._seen)
        drawn = place < self._most
        first = self._is_first(record.workload)
        if not drawn and not first:
            return
        held = (number, (self._slim(record), read_call(record)))
        if drawn:
            self._drawn[place] = held
        if first:
            self._first.setdefault(str(record.workload), []).append(held)

    def drawn(self) -> list[_Place]:
        """All that were drawn, in the order they came."""
        found = dict(self._drawn.values())
        for some in self._first.values():
            found.update(some)
        return [found[number] for number in sorted(found)]

    def _is_first(self, name: str | None) -> bool:
        if name is None:
            return False
        known = self._first.get(name)
        return len(self._first) < _NAMES if known is None else len(known) < _OF_EACH

    def _slim(self, record: CallRecord) -> CallRecord:
        """Of request and response only the tools that are offered, which are mostly the same."""
        tools = record.request.get("tools")
        request: dict[str, Any] = {}
        if tools:
            if len(self._tools) > _NAMES:
                self._tools.clear()
            request = {"tools": self._tools.setdefault(json.dumps(tools, default=str), tools)}
        return record.with_(request=request, response=None, tags={})
