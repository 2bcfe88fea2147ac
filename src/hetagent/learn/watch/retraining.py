"""Going round again: a skill that is watched is converted anew, with what came since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hetagent.errors import InputError
from hetagent.files import write_whole
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert import Conversion, ConvertSettings, convert
from hetagent.learn.record import CallRecord
from hetagent.learn.source import RecordSource
from hetagent.learn.watch.needs import shares_for
from hetagent.learn.watch.result import Watched
from hetagent.registry import Registry

__all__ = ["retrain"]

_PLAN, _DONE = "plan.json", "round.json"
_FIRST = 2  # the first conversion was the first round

Tell = Callable[[str, int, int | None], None]


def retrain(
    records: RecordSource,
    registry: Registry,
    watched: Watched,
    *,
    work: Path,
    settings: ConvertSettings | None = None,
    tell: Tell = lambda stage, done, total: None,
) -> Conversion:
    """Convert a skill's workload anew, with all its calls.

    The workload is found again, so that answers it did not have become its own, and so do other
    wordings of its prompt. Thresholds are fitted again with the rest. What serves goes on serving
    until the new binding is promoted, by its own decision; otherwise that stays in shadow.

    Each round has a folder of its own. One that was interrupted is gone on with.

    Args:
        records: All calls, those that it was made with before among them.
        registry: Where it is bound.
        watched: The skill, as `hetagent.learn.watch.watch` found it.
        work: Folder of the rounds.
        settings: How; by default as before. How calls are parted follows from what is new.
        tell: Told how far it is.

    Raises:
        InputError: It cannot be converted, or there are too few calls.
        HetagentError: A stage cannot be done; those before it stay done.
    """
    binding = registry.binding(watched.binding)
    lineage = binding.lineage
    if settings is None:
        written = (
            registry.path(lineage["settings"]).read_bytes() if "settings" in lineage else b"{}"
        )
        settings = ConvertSettings.from_dict(json.loads(written))
    folder = _round(work)
    plan = _planned(folder, watched)
    source = records
    if "workloads" in lineage:
        known = Workloads.from_bytes(registry.path(lineage["workloads"]).read_bytes())
        source = _marked(records, _Marks(known, watched.workload))
    done = convert(
        source,
        registry=registry,
        work=folder,
        workload=watched.workload,
        settings=replace(settings, shares=plan["shares"]),
        tell=tell,
    )
    if done.binding.skill != watched.skill:
        raise InputError(
            f"The calls of {watched.workload} are now those of {done.binding.skill}.",
            hint=f"Switch to it yourself: the binding {done.binding.id} is in the registry.",
        )
    told = {"binding": done.binding.id, "promoted": done.decision.promoted}
    write_whole(folder / _DONE, json.dumps(told) + "\n")
    return done


@dataclass(frozen=True, slots=True)
class _Marks:
    """Has records say that they are of a workload where those known before say so."""

    known: Workloads
    name: str

    def of(self, record: CallRecord) -> CallRecord:
        """The record, with its workload."""
        if record.workload is not None or record.form == "openai.embeddings":
            return record
        own = self.known.assign(record) == self.name
        return record.with_(workload=self.name) if own else record


def _marked(records: RecordSource, marks: _Marks) -> RecordSource:
    """The same records, those of a workload marked so that it keeps its name."""

    def read() -> Iterator[CallRecord]:
        return (marks.of(record) for record in records)

    return RecordSource(records.name, records.kinds, read, records.count, records.facts)


def _round(work: Path) -> Path:
    """The folder of the first round that is not done."""
    number = _FIRST
    while (work / f"round-{number}" / _DONE).exists():
        number += 1
    return work / f"round-{number}"


def _planned(folder: Path, watched: Watched) -> dict[str, Any]:
    """How calls are parted: as planned when the round began, unless another binding serves."""
    try:
        found: dict[str, Any] = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
        if found["binding"] == watched.binding:
            return found
    except (OSError, ValueError, KeyError):
        pass
    new, earlier = watched.learnable.calls, watched.learnable.earlier
    plan = {"binding": watched.binding, "shares": shares_for(new, earlier + new)}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(folder / _PLAN, json.dumps(plan) + "\n")
    return plan
