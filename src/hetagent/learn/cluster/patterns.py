"""What calls of each workload look like, and which workload a new prompt is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from hetagent.learn.cluster.embed import Embed, Vectors, unit
from hetagent.learn.cluster.forms import Form, Forms
from hetagent.learn.cluster.groups import By, Group
from hetagent.learn.cluster.merge import merged, shared_by
from hetagent.learn.cluster.read import Call, Hashes, shingles, whole_prompt
from hetagent.learn.cluster.slots import Slot, Template
from hetagent.learn.cluster.templates import Matcher
from hetagent.learn.record import CallRecord

__all__ = ["Match", "Pattern", "Patterns"]

_NONE = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way in which calls of a workload look.

    Attributes:
        owners: Numbers of the workloads; several where tasks share a template that does not say
            which one it is for.
        form: Tools and schema.
        by: What it is recognised by.
        fixed: Hashes of the template's runs of words, sorted.
        template: Fixed text and slots.
        slots: What the slots hold.
        centres: Unit vectors, shape ``(owners, dimensions)``, that tell several owners apart; or
            the middle of a group by meaning.
        radius: Least cosine to it.
    """

    owners: tuple[int, ...]
    form: Form
    by: By
    fixed: Hashes
    template: Template
    slots: tuple[Slot, ...]
    centres: Vectors
    radius: float

    def read(self, record: CallRecord) -> dict[str, str] | None:
        """What a prompt has in the slots, by their names; ``None`` where its text is another one.

        Nothing is cut. A group without a template has no slots.
        """
        values = self.template.values(whole_prompt(record)) if len(self.fixed) else None
        if values is None:
            return None
        return {slot.name: value for slot, value in zip(self.slots, values, strict=True)}

    def covers(self, other: Pattern) -> bool:
        """Whether prompts that have another pattern's text fit this one's, too."""
        if self.form != other.form or not len(other.fixed):
            return False
        some = other.template.filled(["x"] * (len(other.template.pieces) - 1))
        return self.template.values(some) is not None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, without its arrays."""
        return {
            "owners": list(self.owners),
            "form": list(self.form),
            "by": self.by,
            "pieces": list(self.template.pieces),
            "slots": [one.to_dict() for one in self.slots],
            "radius": self.radius,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, fixed: Hashes, centres: Vectors) -> Self:
        """What `to_dict` wrote, with its arrays."""
        tools, schema = data["form"]
        return cls(
            tuple(data["owners"]),
            (tools, schema),
            data["by"],
            fixed,
            Template(tuple(data["pieces"])),
            tuple(Slot.from_dict(one) for one in data["slots"]),
            centres,
            data["radius"],
        )


@dataclass(frozen=True, slots=True)
class Match:
    """What a prompt was recognised as.

    Attributes:
        name: The workload's.
        pattern: What the prompt looks like; ``None`` where the caller named a workload whose
            calls look otherwise.
        values: What is in the pattern's slots, by their names; ``None`` where the fixed text is
            not wholly the pattern's, or there is none.
    """

    name: str
    pattern: Pattern | None = None
    values: Mapping[str, str] | None = None


class Patterns:
    """All patterns, and the search among them.

    Args:
        forms: Tools and schemas that recur.
        patterns: What calls look like.
        embed: Texts to vectors; called only where words do not decide.
    """

    def __init__(self, forms: Forms, patterns: Sequence[Pattern], *, embed: Embed) -> None:
        self.forms = forms
        self.patterns = tuple(patterns)
        self._embed = embed
        self._matcher = Matcher([one.fixed for one in patterns])
        self._by_form = {one.form: one for one in patterns if one.by == "form"}
        self._by_meaning: dict[Form, list[Pattern]] = {}
        for one in patterns:
            if one.by == "meaning":
                self._by_meaning.setdefault(one.form, []).append(one)

    @classmethod
    def of(
        cls, groups: Sequence[Group], calls: Sequence[Call], *, forms: Forms, embed: Embed
    ) -> tuple[Self, list[list[int]]]:
        """Merge groups to workloads.

        Returns:
            The patterns, and the places of each workload's groups.
        """
        shared = {place: shared_by(one, groups) for place, one in enumerate(groups)}
        alone = [place for place in range(len(groups)) if not shared[place]]
        found = [[alone[one] for one in some] for some in merged([groups[p] for p in alone])]
        owner = {place: number for number, some in enumerate(found) for place in some}
        patterns = []
        for place, group in enumerate(groups):
            parts = [one for one in shared[place] if one in owner]
            centres = group.centre[None] if len(group.centre) else _NONE[None]
            if parts:
                centres = unit(np.stack([groups[one].asked.vector for one in parts]))
            elif shared[place]:
                continue
            owners = tuple(owner[one] for one in parts) or (owner[place],)
            some = [calls[row].text for row in group.rows[:: max(1, len(group.rows) // 400)]]
            patterns.append(
                Pattern(
                    owners,
                    group.form,
                    group.by,
                    group.fixed,
                    group.template,
                    group.template.slots(some) if len(group.fixed) else (),
                    centres,
                    group.radius,
                )
            )
        return cls(forms, patterns, embed=embed), found

    def only(self, kept: Sequence[bool]) -> Patterns:
        """Those of some workloads, which are numbered anew.

        Args:
            kept: Whether to keep each workload.
        """
        number = {old: new for new, old in enumerate(np.flatnonzero(kept).tolist())}
        some = [
            replace(one, owners=tuple(number[owner] for owner in one.owners))
            for one in self.patterns
            if all(owner in number for owner in one.owners)
        ]
        return Patterns(self.forms, some, embed=self._embed)

    def find(self, call: Call, *, prompt: Hashes | None = None) -> tuple[Pattern, int] | None:
        """The pattern of a prompt, and the number of its workload.

        Args:
            call: Only its prompt, tools and schema are looked at.
            prompt: Hashes of the prompt's runs, where they are known.
        """
        form = self.forms.of_call(call)
        runs = shingles(call.text) if prompt is None else prompt
        for place in self._matcher.match(runs):
            pattern = self.patterns[place]
            if pattern.form == form:
                return pattern, self._owner(pattern, call)
        by_form = self._by_form.get(form)
        if by_form is not None:
            return by_form, by_form.owners[0]
        return self._near(form, call)

    def _owner(self, pattern: Pattern, call: Call) -> int:
        if len(pattern.owners) == 1:
            return pattern.owners[0]
        values = pattern.template.values(call.text)
        text = " ".join(values) if values else call.said
        return pattern.owners[int(np.argmax(pattern.centres @ self._vector(text)))]

    def _near(self, form: Form, call: Call) -> tuple[Pattern, int] | None:
        some = self._by_meaning.get(form)
        if not some:
            return None
        vector = self._vector(call.said)
        cosines = [float(one.centres[0] @ vector) for one in some]
        best = int(np.argmax(cosines))
        return (some[best], some[best].owners[0]) if cosines[best] >= some[best].radius else None

    def _vector(self, text: str) -> Vectors:
        found: Vectors = unit(self._embed([text]))[0]
        return found
