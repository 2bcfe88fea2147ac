"""From call records to a dataset that a model can be trained and tested on.

Records are read once, in any order, and need not fit in memory: what passes the checks goes to a
file beside the dataset, and further steps work on about 400 bytes for each thing that was said. The
same records and the same recipe give the same content hash.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import InputError, StoreError
from hetagent.learn.chat import Chat, chat
from hetagent.learn.curate.against import Evaluations
from hetagent.learn.curate.checks import CALLS, CHECKS, first_fault
from hetagent.learn.curate.dataset import Dataset, DatasetWriter, Example, SplitName
from hetagent.learn.curate.example import candidate, text_of
from hetagent.learn.curate.facts import Facts
from hetagent.learn.curate.groups import Groups
from hetagent.learn.curate.near import Signatures, repeats, sketching
from hetagent.learn.curate.recipe import Near, Recipe
from hetagent.learn.curate.report import CurationReport, Removing
from hetagent.learn.curate.split import (
    SPLITS,
    join_conversations,
    late_likes,
    over_the_cap,
    part,
    weights,
)
from hetagent.learn.curate.spool import Spool, Table
from hetagent.learn.curate.words import Shingles, Template, hash64, words_of
from hetagent.learn.record import CallRecord

__all__ = ["STEPS", "curate"]

STEPS = (*CHECKS, "evaluations", "duplicates", "near-duplicates", "splits", "balance")
"""The steps, in their order."""

Progress = Callable[[str, int, int | None], None]
Chosen = NDArray[np.bool_]

_OFTEN = 1000
_LARGE = 0.2


def curate(
    records: Iterable[CallRecord],
    recipe: Recipe | None = None,
    *,
    to: str | os.PathLike[str],
    sources: Sequence[Mapping[str, Any]] = (),
    replace: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Make a dataset of records.

    Args:
        records: Redacted call records, in any order.
        recipe: What is to be done; ``None`` for the default one.
        to: The dataset's folder, which must not exist or be empty.
        sources: What the records are, for the card.
        replace: Whether a dataset that is there gives way.
        on_progress: Told the stage, what is done of it, and of how much where that is known.

    Raises:
        InputError: The folder is in use, or a file of evaluations cannot be read.
        MissingExtraError: Near-duplicates are to be found and `rensa` is not installed.
        StoreError: There is no room for the dataset, or for what making it needs.
    """
    recipe = recipe or Recipe()
    target = Path(to)
    _free(target, replace=replace)
    if recipe.near is not None:
        sketching()  # before hours of reading, not after them
    evaluations = Evaluations.of(recipe)
    with _beside(target) as work:
        with Spool(work) as spool:
            made = _Curation(recipe, spool, evaluations, on_progress or _quiet)
            made.take(records)
            made.write(work / "dataset", made.choose(work), [*sources, *evaluations.sources])
        if replace and target.exists():
            os.replace(target, work / "replaced")
        os.replace(work / "dataset", target)
    return Dataset.load(target)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder beside another, on the same disk, gone at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            yield Path(folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{target} could not be made: {error}.",
            hint="It needs about twice the room of its records on that disk, and leave to write.",
        ) from error


@dataclass(frozen=True, slots=True)
class _Choice:
    """What becomes of the rows of a table: those kept, and of each of these the rest."""

    table: Table
    rows: NDArray[np.int64]
    near: NDArray[np.int32]
    units: NDArray[np.int32]
    splits: NDArray[np.int8]
    weights: NDArray[np.float64]
    cuts: Mapping[str, int]


class _Curation:
    """One curation: `take` all records, `choose` among them, and `write` what was chosen."""

    def __init__(
        self, recipe: Recipe, spool: Spool, evaluations: Evaluations, on_progress: Progress
    ) -> None:
        self._recipe = recipe
        self._spool = spool
        self._evaluations = evaluations
        self._on_progress = on_progress
        self._removing = Removing(STEPS)
        self._template = Template()
        self._shingles = Shingles(recipe.near.shingle) if recipe.near else None
        self._read = 0

    def take(self, records: Iterable[CallRecord]) -> None:
        """Check each record, and put what it says into the spool."""
        for record in records:
            self._read += 1
            self._take(record)
            if self._read % _OFTEN == 0:
                self._on_progress("reading", self._read, None)

    def choose(self, work: Path) -> _Choice:
        """Decide what becomes of all that was said."""
        recipe = self._recipe
        table = self._spool.table()
        near, repeated = self._near(table, work)
        self._remove(table, np.flatnonzero(repeated), "near-duplicates", "same answer")
        rows = np.flatnonzero(~repeated)
        facts = {name: values[rows] for name, values in table.facts.items()}
        near = _first_of(near[rows])

        units = Groups(len(rows))
        if recipe.split.across == "earlier":
            units.join(np.arange(len(rows), dtype=np.int64), near.astype(np.int64))
        join_conversations(units, facts, limit=self._limit(len(table)))
        parting = part(recipe.split, units.roots(), table.times[rows], table.keys[rows])

        late = late_likes(parting.splits, near)
        self._remove(table, rows[late], "splits", "near-duplicate in an earlier split")
        trained = (parting.splits == 0) & ~late
        over = np.zeros(len(rows), bool)
        over[trained] = over_the_cap(
            recipe.balance,
            facts["class_"][trained],
            table.keys[rows[trained]],
            exempt=self._kept(facts["class_"][trained]),
        )
        self._remove(table, rows[over], "balance", "over the cap")

        left = ~(late | over)
        weighed = np.ones(len(rows))
        weighed[trained & ~over] = weights(recipe.balance, facts["class_"][trained & ~over])
        roots = _first_of(units.roots()[left])
        return _Choice(
            table, rows[left], _first_of(near[left]), roots, parting.splits[left],
            weighed[left], parting.cuts,
        )  # fmt: skip

    def write(self, folder: Path, choice: _Choice, sources: Sequence[Mapping[str, Any]]) -> None:
        """Write the dataset."""
        table, rows = choice.table, choice.rows
        facts = Facts()
        writer = DatasetWriter(folder)
        with contextlib.closing(writer):
            for at, spooled in enumerate(self._spool.read(table.numbers[rows])):
                body, split = spooled.body, cast(SplitName, SPLITS[choice.splits[at]])
                facts.add(body, split=split, time=int(table.times[rows[at]]))
                writer.add(
                    Example(
                        id=table.id(rows[at]),
                        messages=body["messages"],
                        tools=body["tools"],
                        answer=body["answer"],
                        schema=body["schema"],
                        class_=body["class"],
                        weight=float(choice.weights[at]),
                        split=split,
                        record=spooled.record,
                        copies=spooled.copies,
                        unit=table.id(rows[choice.units[at]]),
                        group=table.id(rows[choice.near[at]]),
                    )
                )
                if at % _OFTEN == 0:
                    self._on_progress("writing", at, len(rows))
            report = self._report(choice, facts, writer.counts)
            writer.finish(self._recipe, report, sources)

    def _take(self, record: CallRecord) -> None:
        said = chat(record) if record.form in CALLS else Chat(())
        fault = first_fault(record, said, self._recipe)
        if fault is not None:
            self._removing.add(*fault, record.id)
            return
        one = candidate(record, said, self._recipe)
        repeated = self._evaluations.found_in(
            [*(part.text for part in said.messages), one.body["answer"]["content"]]
        )
        if repeated is not None:
            self._removing.add("evaluations", f"in {repeated}", record.id)
            return
        duplicate = self._spool.add(one)
        if duplicate is not None:
            self._removing.add("duplicates", "said before", duplicate)
        elif self._shingles is not None:
            self._template.add(self._shingles(one.words))

    def _near(self, table: Table, work: Path) -> tuple[NDArray[np.int32], Chosen]:
        """Of each row, the first of its near-duplicates, and whether it repeats an earlier one."""
        facts, near = table.facts, self._recipe.near
        if near is None or not len(table):
            groups = Groups(len(table))
            groups.join_equal(facts["words"])
            return groups.roots(), np.zeros(len(table), bool)
        signatures = Signatures(work, rows=len(table), near=near)
        signatures.fill(self._contents(table))
        self._on_progress("comparing", 0, None)
        groups = signatures.groups()
        groups.join_equal(facts["words"])
        same = facts["task"] * np.uint64(3) + facts["answer"]
        exempt = self._kept(facts["class_"])
        repeated = repeats(groups, same, facts["words"], signatures, exempt=exempt)
        return groups.roots(), repeated

    def _contents(self, table: Table) -> Iterator[NDArray[np.uint64]]:
        """Of each row, the runs of words that are no template."""
        assert self._shingles is not None  # only asked where there are near-duplicates
        limit = self._limit(len(table))
        for at, spooled in enumerate(self._spool.read(table.numbers)):
            runs = self._shingles(words_of(text_of(spooled.body)))
            yield self._template.content(runs, limit=limit)
            if at % _OFTEN == 0:
                self._on_progress("signing", at, len(table))

    def _limit(self, prompts: int) -> int:
        return (self._recipe.near or Near()).template_from(prompts)

    def _kept(self, classes: NDArray[np.uint64]) -> Chosen:
        names = np.array([hash64(name) for name in self._recipe.keep], np.uint64)
        return np.isin(classes, names)

    def _remove(self, table: Table, rows: NDArray[np.int64], step: str, reason: str) -> None:
        for number in table.numbers[rows].tolist():
            self._removing.add(step, reason, self._spool.record(number))

    def _report(self, choice: _Choice, facts: Facts, counts: Mapping[str, int]) -> CurationReport:
        prompts = choice.table.facts["prompt"][choice.rows]
        _, answers = np.unique(prompts, return_counts=True)
        sizes = np.bincount(choice.units, minlength=1)
        likes = np.bincount(choice.near, minlength=1)
        units = {"count": int((sizes > 0).sum()), "largest": int(sizes.max())}
        found = {
            **facts.to_dict(),
            "several_answers": int((answers > 1).sum()),
            "units": units,
            "near_groups": {"count": int((likes > 1).sum()), "largest": int(likes.max())},
            "cuts": dict(choice.cuts),
            "made_by": _versions(),
        }
        return CurationReport(
            self._read,
            self._removing.steps(self._read),
            found,
            tuple(_warnings(self._recipe, counts, units["largest"])),
        )


def _first_of(groups: NDArray[np.int32]) -> NDArray[np.int32]:
    """Groups of what is left of the rows: of each, the first row that is left of its group."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int32)


def _warnings(recipe: Recipe, counts: Mapping[str, int], largest: int) -> Iterator[str]:
    total = sum(counts.values())
    if not total:
        yield "Nothing is left: see what was removed, and why."
        return
    for name, share in (("validation", recipe.split.validation), ("test", recipe.split.test)):
        if share and not counts[name]:
            yield (
                f"There is no {name} split: too few units begin late enough. "
                "More records help, or parting by conversation."
            )
    if largest > max(10, _LARGE * total):
        yield (
            f"One unit holds {largest:,} of {total:,} examples: conversations or near-duplicates "
            "hang together. across='drop' parts near-duplicates from conversations."
        )


def _versions() -> dict[str, str]:
    from importlib import metadata

    try:
        return {"rensa": metadata.version("rensa")}
    except metadata.PackageNotFoundError:
        return {}


def _free(target: Path, *, replace: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / "dataset.json").is_file():
        raise InputError(f"{target} holds something else.", hint="Name a new folder.")
    if not replace:
        raise InputError(
            f"{target} holds a dataset.", hint="Name a new folder, or replace it (--replace)."
        )


def _quiet(stage: str, done: int, total: int | None) -> None:
    pass
