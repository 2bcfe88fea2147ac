"""The workloads of a store: found in its records, kept beside it, and told each record.

What was found lies encrypted beside the store. It says whether all records were told, so that what
was interrupted is seen and made up for.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from hetagent.errors import StoreError
from hetagent.learn.cluster.embed import Embed, wordllama
from hetagent.learn.cluster.names import Namer
from hetagent.learn.cluster.sample import Progress, told, usable
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.keys import KeySource
from hetagent.learn.record import CallRecord
from hetagent.learn.source import store_source
from hetagent.learn.store import Query, Reader, Store
from hetagent.learn.store.attached import WORKLOADS
from hetagent.raised import raised

__all__ = ["AssigningStore", "Found", "Told", "assign_workloads", "find_workloads", "found_before"]

_log = logging.getLogger("hetagent")

_AT_ONCE = 2000
Where = str | Path


@dataclass(frozen=True, slots=True)
class Found:
    """Workloads that are kept beside a store.

    Attributes:
        workloads: They.
        interactive: Whether they were found in calls of people who talk with a model, too.
        told: Whether all records of that time were told theirs; else that was interrupted.
    """

    workloads: Workloads
    interactive: bool
    told: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling records their workloads.

    Attributes:
        records: Those that were looked at.
        workloads: How many are of each workload.
        unassigned: How many are of none.
        left_out: Records that were not looked at, by why.
    """

    records: int
    workloads: Mapping[str, int]
    unassigned: int
    left_out: Mapping[str, int]


def find_workloads(
    where: Where | None = None,
    *,
    keys: KeySource | None = None,
    embed: Embed = wordllama,
    namer: Namer | None = None,
    interactive: bool = False,
    progress: Progress | None = None,
) -> Workloads:
    """Find the workloads of a store's records, keep them beside it, and tell each record its own.

    Until all are found nothing is written. What was assigned before counts for nothing; workloads
    that callers said stay.

    Args:
        where: The store; by default that of ``HETAGENT_RECORDS``.
        keys: Where its keys are.
        embed: Texts to vectors; WordLlama's static embeddings unless told.
        namer: Names a workload; its distinctive terms do unless told.
        interactive: Whether to take calls in which a person talks with the model, too.
        progress: Told the stage, calls done, and of how many where that is known.

    Raises:
        InputError: There are no calls.
        StoreError: There is no store, a key is missing, or it cannot be written.
    """
    with (
        store_source(where, assigned=False, keys=keys) as records,
        tempfile.TemporaryFile("w+", encoding="utf-8") as spool,
    ):
        found = Workloads.fit(
            records,
            embed=embed,
            namer=namer,
            interactive=interactive,
            assigned=lambda name, workload: _note(spool, name, workload),
            progress=progress,
        )
        with Store(where, keys=keys) as store:
            _keep(store, Found(found, interactive, told=False))
            if not interactive:
                store.unassign(Query(interactive=True))
            _tell(store, _noted(spool), progress, found.total)
            _keep(store, Found(found, interactive, told=True))
    return found


def found_before(
    where: Where | None = None, *, keys: KeySource | None = None, embed: Embed = wordllama
) -> Found:
    """The workloads that are kept beside a store.

    Args:
        where: The store; by default that of ``HETAGENT_RECORDS``.
        keys: Where its keys are.
        embed: The function that they were found with.

    Raises:
        StoreError: There is no store, or nothing was found in it; they cannot be read, or their key
            is not here.
    """
    with Reader(where, keys=keys) as reader:
        return _found(reader, embed)


def assign_workloads(
    where: Where | None = None,
    *,
    keys: KeySource | None = None,
    embed: Embed = wordllama,
    again: bool = False,
    progress: Progress | None = None,
) -> Told:
    """Tell records that are of no workload yet which of those found before they are of.

    Args:
        where: The store; by default that of ``HETAGENT_RECORDS``.
        keys: Where its keys are.
        embed: The function that workloads were found with.
        again: Whether to look at all records, also at those that have a workload. It is done in any
            case where a search was interrupted before all were told.
        progress: Told the stage, records done, and of how many.

    Raises:
        StoreError: No workloads were found yet, or the store cannot be read or written.
    """
    with Store(where, keys=keys) as store, Reader(where, keys=keys) as reader:
        found = _found(reader, embed)
        every = again or not found.told
        query = Query(unassigned=not every)
        counts, left_out = Counter[str | None](), Counter[str]()
        total = reader.count(query) if progress is not None else None
        records = told(reader.records(query, assigned=False), "assigning", progress, total)

        def looked_at() -> Iterator[tuple[str, str | None]]:
            for record in records:
                why = usable(record, interactive=found.interactive)
                if why is not None:
                    left_out[why] += 1
                    continue
                name = found.workloads.assign(record)
                counts[name] += 1
                if every or name is not None:
                    yield record.id, name

        _tell(store, looked_at())
        if not found.told:
            _keep(store, Found(found.workloads, found.interactive, told=True))
    none = counts.pop(None, 0)
    sizes = {str(name): count for name, count in counts.most_common()}
    return Told(none + sum(sizes.values()), sizes, none, dict(left_out))


class AssigningStore:
    """A store whose records are told their workloads as they are kept.

    It stands between a `hetagent.learn.pipeline.Pipeline` and a store, so that a call is assigned
    after redaction and off its way::

        kept = AssigningStore(store, Workloads.load("kept"))
        Pipeline(kept, redact=Redactor(key=kept.surrogate_key))

    A record that cannot be assigned is kept as one of no workload.

    Args:
        store: Where they go; who made it closes it.
        workloads: Those there are.
        interactive: Whether calls in which a person talks with the model are assigned, too.
    """

    def __init__(self, store: Store, workloads: Workloads, *, interactive: bool = False) -> None:
        self._store = store
        self._workloads = workloads
        self._interactive = interactive

    @property
    def surrogate_key(self) -> bytes:
        """That of the store."""
        return self._store.surrogate_key

    def append(self, records: Sequence[CallRecord]) -> None:
        """Keep all of them, durably, or none.

        Raises:
            StoreError: They could not be kept.
        """
        assigned = {record.id: name for record in records if (name := self._workload(record))}
        self._store.append(records, assigned=assigned)

    def _workload(self, record: CallRecord) -> str | None:
        if record.workload is not None or usable(record, interactive=self._interactive):
            return None
        try:
            return self._workloads.assign(record)
        except Exception as error:  # the record is worth more than its workload
            _log.debug("A record could not be assigned: %s.", raised(error))
            return None


def _found(reader: Reader, embed: Embed) -> Found:
    packed = reader.attached(WORKLOADS)
    if packed is None:
        raise StoreError(
            f"There are no workloads beside {reader.name}: none were found since it was made, or "
            "since records were erased, which they may quote.",
            hint="Find them: `hetagent workloads`.",
        )
    head, _, rest = packed.partition(b"\n")
    known = json.loads(head)
    workloads = Workloads.from_bytes(rest, embed=embed)
    return Found(workloads, bool(known["interactive"]), bool(known["told"]))


def _keep(store: Store, found: Found) -> None:
    head = json.dumps({"interactive": found.interactive, "told": found.told}).encode()
    store.attach(WORKLOADS, head + b"\n" + found.workloads.to_bytes())


def _note(spool: IO[str], name: str, workload: str | None) -> None:
    spool.write(json.dumps([name, workload]) + "\n")


def _noted(spool: IO[str]) -> Iterator[tuple[str, str | None]]:
    spool.seek(0)
    for line in spool:
        name, workload = json.loads(line)
        yield name, workload


def _tell(
    store: Store,
    pairs: Iterable[tuple[str, str | None]],
    progress: Progress | None = None,
    total: int | None = None,
) -> None:
    """Some at a time, so that writers need not wait long."""
    waiting, done = iter(pairs), 0
    while some := dict(islice(waiting, _AT_ONCE)):
        store.assign(some)
        done += len(some)
        if progress is not None:
            progress("telling records", done, total)
