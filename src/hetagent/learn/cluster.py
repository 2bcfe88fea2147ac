"""From call records to workloads: found once, recognised online, kept in two files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np

from hetagent.errors import InputError, MissingExtraError, StoreError
from hetagent.learn.cluster_embed import Embed, wordllama
from hetagent.learn.cluster_forms import Forms
from hetagent.learn.cluster_groups import Group, Grouping
from hetagent.learn.cluster_names import Namer, names
from hetagent.learn.cluster_patterns import Pattern, Patterns
from hetagent.learn.cluster_read import Call, as_record, read_call, shingles
from hetagent.learn.record import CallRecord, Form
from hetagent.learn.workload import Workload
from hetagent.learn.workload_describe import Totals, describe

__all__ = ["Workloads"]

FORMAT = 1
_FILE, _ARRAYS = "workloads.json", "workloads.npz"

# Calls that groups are looked for in; more are assigned to what is found in so many.
_MINED = 20_000
_LEAST, _LEAST_SHARE = 20, 0.002
_SEED = 20261121


class Workloads:
    """The tasks that an agent's calls repeat.

    Find them with `Workloads.fit`, or read those found before with `Workloads.load`.

    Attributes:
        total: Calls that they were found in.
        unassigned: Calls of these that belong to none.
    """

    def __init__(
        self, workloads: Sequence[Workload], patterns: Patterns, *, total: int, unassigned: int
    ) -> None:
        self._workloads = tuple(workloads)
        self._patterns = patterns
        self.total = total
        self.unassigned = unassigned

    @classmethod
    def fit(
        cls,
        records: Sequence[CallRecord],
        *,
        embed: Embed = wordllama,
        namer: Namer | None = None,
        least: int | None = None,
        interactive: bool = False,
    ) -> Self:
        """Find the workloads of some calls.

        Args:
            records: The calls. Of more than 20,000 a random sample of so many is searched, and the
                others are assigned to what is found.
            embed: Texts to vectors; WordLlama's static embeddings unless told.
            namer: Names a workload; its distinctive terms do unless told.
            least: Calls that make a workload; 20, or 0.2% of those searched where that is more,
                unless told.
            interactive: Whether to take calls in which a person talks with the model, too.

        Raises:
            InputError: There are no calls.
            MissingExtraError: scikit-learn or WordLlama is not installed.
        """
        if find_spec("sklearn") is None:
            raise MissingExtraError("scikit-learn", extra="learn")
        taken = [one for one in records if _usable(one, interactive)]
        if not taken:
            raise InputError(
                "There are no calls to find workloads in.",
                hint="Record some; calls of people who talk with a model are left out unless "
                "interactive=True.",
            )
        calls = [read_call(one) for one in taken]
        patterns, given = _patterns([one.workload for one in taken], calls, embed, least)
        members = _members(taken, calls, patterns, given)
        patterns = patterns.only([bool(rows) for rows, _ in members])
        totals = Totals.of(taken)
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
        return cls(
            [replace(one, name=name) for one, name in zip(described, named, strict=True)],
            patterns,
            total=len(taken),
            unassigned=len(taken) - sum(one.size for one in described),
        )

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

    def to_dict(self) -> dict[str, Any]:
        """The workloads as JSON data, the largest first, without what recognises them."""
        return {
            "total": self.total,
            "unassigned": self.unassigned,
            "workloads": [one.to_dict() for one in self],
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write them to two files in a folder: what can be read, as JSON, and arrays.

        The files hold examples of calls, and can be read by their owner only.

        Raises:
            StoreError: They cannot be written.
        """
        patterns = self._patterns.patterns
        data = {
            "format": FORMAT,
            "total": self.total,
            "unassigned": self.unassigned,
            "workloads": [one.to_dict() for one in self._workloads],
            "forms": {
                "tools": [list(one) for one in self._patterns.forms.tools],
                "schemas": list(self._patterns.forms.schemas),
            },
            "patterns": [one.to_dict() for one in patterns],
        }
        arrays: dict[str, Any] = {f"fixed_{place}": one.fixed for place, one in enumerate(patterns)}
        arrays |= {f"centres_{place}": one.centres for place, one in enumerate(patterns)}
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            with open(target / _ARRAYS, "wb", opener=_private) as file:
                np.savez_compressed(file, **arrays)
            with open(target / _FILE, "w", encoding="utf-8", opener=_private) as file:
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
            if data.get("format") != FORMAT:
                raise ValueError(f"its format is {data.get('format')!r}, not {FORMAT}")
            with np.load(target / _ARRAYS, allow_pickle=False) as arrays:
                patterns = [
                    Pattern.from_dict(
                        one, fixed=arrays[f"fixed_{place}"], centres=arrays[f"centres_{place}"]
                    )
                    for place, one in enumerate(data["patterns"])
                ]
            forms = Forms(
                tuple(tuple(one) for one in data["forms"]["tools"]), tuple(data["forms"]["schemas"])
            )
            workloads = [Workload.from_dict(one) for one in data["workloads"]]
            return cls(
                workloads,
                Patterns(forms, patterns, embed=embed),
                total=data["total"],
                unassigned=data["unassigned"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"The workloads in {target} cannot be read: {error}.",
                hint="Name the folder that Workloads.save wrote.",
            ) from error


def _usable(record: CallRecord, interactive: bool) -> bool:
    return record.form != "openai.embeddings" and (interactive or not record.interactive)


def _patterns(
    given: Sequence[str | None], calls: Sequence[Call], embed: Embed, least: int | None
) -> tuple[Patterns, list[str | None]]:
    """What the workloads look like, and the name that each was given."""
    rows: list[int] = list(range(len(calls)))
    if len(calls) > _MINED:
        drawn = np.random.default_rng(_SEED).choice(len(calls), _MINED, replace=False)
        rows = np.sort(drawn).tolist()
    fewest = least or max(_LEAST, round(_LEAST_SHARE * len(rows)))
    mined = [calls[row] for row in rows]
    prompts = [shingles(call.text) for call in mined]
    forms = Forms.of(mined, least=fewest)
    grouping = Grouping(mined, prompts, forms, embed, fewest)
    found: list[Group] = []
    sets: dict[str | None, list[int]] = {}
    for place, row in enumerate(rows):
        sets.setdefault(given[row], []).append(place)
    for name, places in sets.items():
        found += grouping.groups(np.array(places), given=name)
    patterns, merged = Patterns.of(found, mined, forms=forms, embed=embed)
    owners = [next((found[p].given for p in some if found[p].given), None) for some in merged]
    # Those of which too few calls were searched to tell what they look like.
    owners += [one for one in dict.fromkeys(given) if one is not None and one not in owners]
    return patterns, owners


def _members(
    records: Sequence[CallRecord],
    calls: Sequence[Call],
    patterns: Patterns,
    given: Sequence[str | None],
) -> list[tuple[list[int], list[Pattern]]]:
    """For each workload its calls, and its patterns, the most common first."""
    rows: list[list[int]] = [[] for _ in given]
    counts: list[Counter[int]] = [Counter() for _ in given]
    place_of = {id(one): place for place, one in enumerate(patterns.patterns)}
    number_of = {name: number for number, name in enumerate(given) if name is not None}
    for row, (record, call) in enumerate(zip(records, calls, strict=True)):
        found = patterns.find(call)
        number = found[1] if found is not None else None
        if record.workload is not None:
            number = number_of[record.workload]
        if number is None:
            continue
        rows[number].append(row)
        if found is not None and found[1] == number:
            counts[number][place_of[id(found[0])]] += 1
    return [
        (some, [patterns.patterns[place] for place, _ in often.most_common()])
        for some, often in zip(rows, counts, strict=True)
    ]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
