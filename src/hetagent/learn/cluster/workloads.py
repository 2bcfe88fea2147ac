"""From call records to workloads: found once, recognised online, kept in two files."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from hetagent.errors import InputError, MissingExtraError, StoreError
from hetagent.files import private
from hetagent.learn.cluster.describe import Sums, counted, describe
from hetagent.learn.cluster.embed import Embed, wordllama
from hetagent.learn.cluster.finding import members_of, patterns_of
from hetagent.learn.cluster.forms import Forms
from hetagent.learn.cluster.names import Namer, names
from hetagent.learn.cluster.patterns import Match, Pattern, Patterns
from hetagent.learn.cluster.read import as_record, read_call
from hetagent.learn.cluster.sample import Progress, Sample, told, usable
from hetagent.learn.cluster.workload import Workload
from hetagent.learn.record import CallRecord, Form

__all__ = ["Assigned", "Workloads"]

Assigned = Callable[[str, str | None], None]
"""Told a record's id and its workload, ``None`` where it is of none."""

FORMAT = 1
_FILE, _ARRAYS = "workloads.json", "workloads.npz"

# Calls that workloads are looked for in; more are assigned to what is found in so many.
_MINED = 20_000


class Workloads:
    """The tasks that an agent's calls repeat.

    Find them with `Workloads.fit`, or read those found before with `Workloads.load`.

    Attributes:
        total: Calls that they were found in.
        unassigned: Calls of these that belong to none.
        left_out: Records that were left out, by why: ``"interactive"`` where a person talks with
            the model, ``"embeddings"``.
        trainable: How many of the calls say that the answer is ``"trainable"``, ``"no-train"`` or
            ``"unknown"``. They are one task whatever they say; a dataset takes the first alone.
    """

    def __init__(
        self,
        workloads: Sequence[Workload],
        patterns: Patterns,
        *,
        total: int,
        unassigned: int,
        left_out: Mapping[str, int] | None = None,
        trainable: Mapping[str, int] | None = None,
    ) -> None:
        self._workloads = tuple(workloads)
        self._patterns = patterns
        self.total = total
        self.unassigned = unassigned
        self.left_out = dict(left_out or {})
        self.trainable = dict(trainable or {})

    @classmethod
    def fit(
        cls,
        records: Iterable[CallRecord],
        *,
        embed: Embed = wordllama,
        namer: Namer | None = None,
        least: int | None = None,
        interactive: bool = False,
        assigned: Assigned | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Find the workloads of some calls.

        Of more than 20,000 calls a random sample of so many is searched, and described; then all
        are read once more to be assigned and counted, so that memory is bounded.

        Args:
            records: The calls: a list, or what can be read twice, such as a
                `hetagent.learn.source.RecordSource`. An iterator is held in memory.
            embed: Texts to vectors; WordLlama's static embeddings unless told.
            namer: Names a workload; its distinctive terms do unless told.
            least: Calls that make a workload. Unless told, 20; in fewer than 500 calls 4% of them
                and at least 5; in more than 10,000 calls 0.2% of those searched. Where meaning
                alone tells them, at least 20.
            interactive: Whether to take calls in which a person talks with the model, too.
            assigned: Told the id of each call and the name of its workload, or ``None``, once names
                are known.
            progress: Told the stage, calls done, and of how many where that is known.

        Raises:
            InputError: There are no calls.
            MissingExtraError: scikit-learn or WordLlama is not installed.
        """
        if find_spec("sklearn") is None:
            raise MissingExtraError("scikit-learn", extra="learn")
        some = list(records) if isinstance(records, Iterator) else records
        drawn = Sample.of(some, most=_MINED, interactive=interactive, progress=progress)
        if not drawn.calls:
            raise InputError(
                f"There are no calls to find workloads in{_reasons(drawn.left_out)}.",
                hint="Record some; calls of people who talk with a model are left out unless "
                "interactive=True (--interactive).",
            )
        if progress is not None:
            progress("searching", 0, None)
        found = cls._of(drawn, embed=embed, namer=namer, least=least, assigned=assigned)
        if not drawn.whole:
            found._count(some, drawn.sums, interactive, assigned, progress)
        return found

    @classmethod
    def _of(
        cls,
        drawn: Sample,
        *,
        embed: Embed,
        namer: Namer | None,
        least: int | None,
        assigned: Assigned | None,
    ) -> Self:
        """The workloads of a sample."""
        taken, calls = drawn.records, drawn.calls
        patterns, given = patterns_of([one.workload for one in taken], calls, embed, least)
        members = members_of(taken, calls, patterns, given)
        patterns = patterns.only([bool(rows) for rows, _ in members])
        totals = drawn.sums
        described: list[Workload] = []
        texts: list[list[str]] = []
        kept = [(name, *one) for name, one in zip(given, members, strict=True) if one[0]]
        for _, rows, own in kept:
            some = [calls[row] for row in rows]
            described.append(
                describe([taken[row] for row in rows], some, own, totals=totals, embed=embed)
            )
            texts.append([call.said[:500] for call in some[:200]])
        named = names(described, texts, given=[name for name, *_ in kept], namer=namer)
        if assigned is not None and drawn.whole:
            home = {
                row: name for name, (_, rows, _) in zip(named, kept, strict=True) for row in rows
            }
            for row, record in enumerate(taken):
                assigned(record.id, home.get(row))
        return cls(
            [replace(one, name=name) for one, name in zip(described, named, strict=True)],
            patterns,
            total=len(taken),
            unassigned=len(taken) - sum(one.size for one in described),
            left_out=drawn.left_out,
            trainable=drawn.trainable,
        )

    def _count(
        self,
        records: Iterable[CallRecord],
        totals: Sums,
        interactive: bool,
        assigned: Assigned | None,
        progress: Progress | None,
    ) -> None:
        """Assign all calls to what was found in a sample of them, and count them."""
        own = {one.name: Sums() for one in self._workloads}
        every = Sums()
        for record in told(records, "assigning", progress, totals.calls):
            if usable(record, interactive=interactive) is not None:
                continue
            every.add(record)
            name = self.assign(record)
            if name is not None:
                own.setdefault(name, Sums()).add(record)
            if assigned is not None:
                assigned(record.id, name)
        self._workloads = tuple(
            counted(one, own[one.name], totals=every) for one in self._workloads
        )
        self.total = every.calls
        self.unassigned = every.calls - sum(one.calls for one in own.values())

    def __iter__(self) -> Iterator[Workload]:
        """The workloads, the largest first."""
        return iter(sorted(self._workloads, key=lambda one: -one.size))

    def __len__(self) -> int:
        return len(self._workloads)

    def __getitem__(self, name: str) -> Workload:
        """The workload of a name.

        Raises:
            InputError: There is none.
        """
        for one in self._workloads:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self) or "none"
        raise InputError(f"There is no workload {name!r}.", hint=f"There is: {known}.")

    @property
    def narrow_share(self) -> float:
        """Share of all calls that are of workloads which look narrow and repetitive."""
        narrow = sum(one.size for one in self._workloads if one.verdict.narrow)
        return narrow / max(1, self.total)

    def assign(
        self, call: CallRecord | Mapping[str, Any], *, form: Form = "openai.chat"
    ) -> str | None:
        """The workload of a new call, by its prompt alone.

        Args:
            call: A record, or the body of a request.
            form: Of a request's body: the API it is for.

        Returns:
            The workload's name, as the record says or else as the prompt looks; ``None`` where it
            is like none.
        """
        record = call if isinstance(call, CallRecord) else as_record(call, form=form)
        if record.workload is not None:
            return record.workload
        found = self._patterns.find(read_call(record))
        return None if found is None else self._workloads[found[1]].name

    def match(
        self, call: CallRecord | Mapping[str, Any], *, form: Form = "openai.chat"
    ) -> Match | None:
        """As `assign`, with the pattern that the prompt has, and what is in its slots."""
        record = call if isinstance(call, CallRecord) else as_record(call, form=form)
        found = self._patterns.find(read_call(record))
        if found is None:
            return None if record.workload is None else Match(record.workload)
        pattern, number = found
        name = record.workload or self._workloads[number].name
        own = name in (self._workloads[owner].name for owner in pattern.owners)
        return Match(name, pattern, pattern.read(record)) if own else Match(name)

    def wordings(self, name: str) -> tuple[tuple[Pattern, bool], ...]:
        """The patterns that a workload's calls have, that of its inputs first.

        Returns:
            With each, whether what fits its text is of this workload whoever looks: no other
            pattern's prompts, and no other workload's, fit it too.

        Raises:
            InputError: There is no such workload.
        """
        workload = self[name]
        number = self._workloads.index(workload)
        own = [one for one in self._patterns.patterns if number in one.owners]
        own.sort(key=lambda one: one.slots != workload.inputs)
        others = [one for one in self._patterns.patterns if number not in one.owners]
        return tuple(
            (one, one.owners == (number,) and not any(map(one.covers, others))) for one in own
        )

    def to_dict(self) -> dict[str, Any]:
        """The workloads as JSON data, the largest first, without what recognises them."""
        return {
            "total": self.total,
            "unassigned": self.unassigned,
            "left_out": self.left_out,
            "trainable": self.trainable,
            "narrow_share": self.narrow_share,
            "workloads": [one.to_dict() for one in self],
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write them to two files in a folder: what can be read, as JSON, and arrays.

        The files hold examples of calls, and can be read by their owner only.

        Raises:
            StoreError: They cannot be written.
        """
        data, arrays = self._parts()
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            with open(target / _ARRAYS, "wb", opener=private) as file:
                np.savez_compressed(file, **arrays)
            with open(target / _FILE, "w", encoding="utf-8", opener=private) as file:
                json.dump(data, file, ensure_ascii=False, indent=1)
        except OSError as error:
            raise StoreError(
                f"The workloads cannot be written to {target}: {error}.",
                hint="Name a folder that you can write to.",
            ) from error

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, embed: Embed = wordllama) -> Self:
        """Read what `save` wrote.

        Args:
            folder: Where it is.
            embed: The function they were found with.

        Raises:
            StoreError: There is nothing to read, or it is of a later version's format.
        """
        target = Path(folder)
        try:
            data = json.loads((target / _FILE).read_text(encoding="utf-8"))
            return cls._read(data, target / _ARRAYS, embed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"The workloads in {target} cannot be read: {error}.",
                hint="Name the folder that Workloads.save wrote.",
            ) from error

    def to_bytes(self) -> bytes:
        """The same as `save` writes, in one piece; `from_bytes` reads it."""
        data, arrays = self._parts()
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        return json.dumps(data, ensure_ascii=True).encode() + b"\n" + packed.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes, *, embed: Embed = wordllama) -> Self:
        """Read what `to_bytes` gave.

        Args:
            packed: The bytes.
            embed: The function they were found with.

        Raises:
            StoreError: They are of a later version's format, or broken.
        """
        data, _, arrays = packed.partition(b"\n")
        try:
            return cls._read(json.loads(data), io.BytesIO(arrays), embed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"The workloads found before cannot be read: {error}.", hint="Find them again."
            ) from error

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """All of it, as JSON data and arrays."""
        patterns = self._patterns.patterns
        data = {
            "format": FORMAT,
            "total": self.total,
            "unassigned": self.unassigned,
            "left_out": self.left_out,
            "trainable": self.trainable,
            "workloads": [one.to_dict() for one in self._workloads],
            "forms": {
                "tools": [list(one) for one in self._patterns.forms.tools],
                "schemas": list(self._patterns.forms.schemas),
            },
            "patterns": [one.to_dict() for one in patterns],
        }
        arrays: dict[str, Any] = {f"fixed_{place}": one.fixed for place, one in enumerate(patterns)}
        arrays |= {f"centres_{place}": one.centres for place, one in enumerate(patterns)}
        return data, arrays

    @classmethod
    def _read(cls, data: Any, packed: BinaryIO | Path, embed: Embed) -> Self:
        if data.get("format") != FORMAT:
            raise ValueError(f"its format is {data.get('format')!r}, not {FORMAT}")
        with np.load(packed, allow_pickle=False) as arrays:
            patterns = [
                Pattern.from_dict(
                    one, fixed=arrays[f"fixed_{place}"], centres=arrays[f"centres_{place}"]
                )
                for place, one in enumerate(data["patterns"])
            ]
        forms = Forms(
            tuple(tuple(one) for one in data["forms"]["tools"]), tuple(data["forms"]["schemas"])
        )
        return cls(
            [Workload.from_dict(one) for one in data["workloads"]],
            Patterns(forms, patterns, embed=embed),
            total=data["total"],
            unassigned=data["unassigned"],
            left_out=data.get("left_out"),
            trainable=data.get("trainable"),
        )


def _reasons(left_out: Mapping[str, int]) -> str:
    said = ", ".join(f"{count:,} {why}" for why, count in left_out.items())
    return f" (left out: {said})" if said else ""
