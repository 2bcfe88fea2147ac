"""What records say of a binding: what it was asked, what it served, and what the LLM answered."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from hetagent.learn.chat import chat
from hetagent.learn.cluster.actions import label_of
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.inputs import Inputs
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Task
from hetagent.learn.task.task import NO_VALUE
from hetagent.registry import Binding
from hetagent.registry.log import Mode

__all__ = ["Asked", "Drawn", "Seen", "Target", "read"]

# Reasons of a call that went to the LLM without the skill having been unsure of it.
_NOT_UNSURE = ("", "shadow", "other_request")
# Calls that the skill cannot be asked, but one that is made anew can.
_LEARNED_ANEW = ("another wording", "another schema")
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Target:
    """A binding that is watched.

    Attributes:
        binding: It.
        mode: What it does.
        task: How its calls are read.
        workloads: Those that were known when it was made; ``None`` where none were kept.
        inputs: Those that it was made with, likewise.
        settings: How it was made.
        until: The end of its data.
        tried: The end of the data of the last conversion, also where that was not promoted.
        since: From when on calls are looked at.
    """

    binding: Binding
    mode: Mode
    task: Task
    workloads: Workloads | None
    inputs: Inputs | None
    settings: ConvertSettings
    until: datetime
    tried: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that the skill was or could be asked.

    Attributes:
        text: Its inputs.
        said: What was answered, in short.
        first: Whether it is of the half in which groups are looked for; in the other one they are
            tested.
    """

    text: str
    said: str
    first: bool


class Drawn:
    """A random sample of what comes, each as likely (algorithm R: Vitter 1985).

    Args:
        most: Its size.
        seed: Of the draw.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.kept: list[Asked] = []
        self._most = most
        self._come = 0
        self._random = random.Random(seed)

    def add(self, one: Asked) -> None:
        """Take it, or not."""
        self._come += 1
        if len(self.kept) < self._most:
            self.kept.append(one)
        elif (place := self._random.randrange(self._come)) < self._most:
            self.kept[place] = one


@dataclass(slots=True)
class Seen:
    """What was read of a binding's calls.

    Attributes:
        recent: Some of the calls since then.
        escalated: Some of those that it was not sure of.
        answered: Time of each call that it was asked, and whether it served it.
        reads: Time of each call of the workload, and why it cannot be asked it.
        reads_before: Whether earlier calls could be read.
        labelled: Later calls that an LLM answered with a value, and that may be learned from.
        since_tried: Of these and those without a value, the ones after the last conversion.
        unusable: Later calls that may not be learned from, by why.
        strays: Later answers without a value, by what they say.
        before: Earlier calls that an LLM answered with a value.
        strays_before: Earlier answers without one.
        elsewhere: Calls of no workload that are answered alike.
        elsewhere_before: Earlier ones.
    """

    recent: Drawn
    escalated: Drawn
    answered: list[tuple[datetime, bool]] = field(default_factory=list)
    reads: list[tuple[datetime, str | None]] = field(default_factory=list)
    reads_before: Counter[bool] = field(default_factory=Counter)
    labelled: int = 0
    since_tried: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)
    before: int = 0
    strays_before: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    elsewhere_before: int = 0


def read(
    records: Iterable[CallRecord], targets: Sequence[Target], *, sample: int, seed: int
) -> list[Seen]:
    """Read what records say of each of some bindings; once, in bounded memory but for times.

    Args:
        records: Calls of any workload.
        targets: The bindings.
        sample: Calls that are kept of each, and escalated ones.
        seed: Of the samples.
    """
    found = [Seen(Drawn(sample, seed), Drawn(sample, seed + 1)) for _ in targets]
    for record in records:
        if record.form == "openai.embeddings":
            continue
        names: dict[int, str | None] = {}
        for target, seen in zip(targets, found, strict=True):
            if record.interactive and not target.settings.interactive:
                continue
            name = _name(record, target, names)
            if name is None:
                _note_elsewhere(record, target, seen)
            elif name in (target.task.workload, target.task.name):
                _note(record, target, seen)
    return found


def _name(record: CallRecord, target: Target, names: dict[int, str | None]) -> str | None:
    """The call's workload; ``None`` where it is of none."""
    if record.tags.get("binding") == target.binding.id:
        return target.task.workload
    if record.workload is not None or target.workloads is None:
        return record.workload
    known = id(target.workloads)
    if known not in names:
        names[known] = target.workloads.assign(record)
    return names[known]


def _note(record: CallRecord, target: Target, seen: Seen) -> None:
    """A call of the workload."""
    text, fault = _text(record, target.task)
    later = record.time > target.until
    if not later:
        seen.reads_before[fault is None] += 1
    if record.time > target.since:
        seen.reads.append((record.time, fault))
    if text is not None or fault in _LEARNED_ANEW:
        _note_label(record, target, seen, later=later)
    if text is None or record.time <= target.since:
        return
    one = Asked(text, _said(record), blake2b(record.id.encode(), digest_size=1).digest()[0] < 128)
    seen.recent.add(one)
    asked = record.tags.get("binding")
    served = record.served_by == "slm"
    if asked not in (None, target.binding.id):
        return  # of another binding: before this one, or beside it
    if served or asked is not None or record.reason not in _NOT_UNSURE:
        seen.answered.append((record.time, served))
        if not served:
            seen.escalated.add(one)
    elif target.mode == "shadow":
        seen.escalated.add(one)  # all go to the LLM, and none says which it would be sure of


def _note_label(record: CallRecord, target: Target, seen: Seen, *, later: bool) -> None:
    """What the LLM answered, where it did."""
    if record.served_by != "llm":
        return
    fault = target.task.label_fault(record)
    if not later:
        seen.before += fault is None
        if fault == NO_VALUE:
            seen.strays_before[_said(record)] += 1
        return
    barred = fault if fault not in (None, NO_VALUE) else _barred(record, target.settings)
    if barred is not None:
        seen.unusable[barred] += 1
        return
    seen.since_tried += record.time > target.tried
    if fault is None:
        seen.labelled += 1
    else:
        seen.strays[_said(record)] += 1


def _note_elsewhere(record: CallRecord, target: Target, seen: Seen) -> None:
    """A call of no workload, which may be one of this in another wording."""
    answer = chat(record).answer
    tools = getattr(target.task.answers, "kind", None) == "tools"
    if answer is None or (tools and not answer.calls) or target.task.label(record) is None:
        return
    if record.time > target.since:
        seen.elsewhere += 1
    elif record.time <= target.until:
        seen.elsewhere_before += 1


def _text(record: CallRecord, task: Task) -> tuple[str | None, str | None]:
    """A call's inputs as text, or why it has none."""
    if record.form == "hetagent.skill":
        if record.request.get("skill") == task.name:
            return str(record.request.get("text", "")), None
        return None, "of another skill"
    row = task.row(record, workload=task.workload)
    if row is None:
        return None, task.row_fault(record, workload=task.workload)
    return task.skill.request_text(**row), None


def _barred(record: CallRecord, settings: ConvertSettings) -> str | None:
    """Why nothing may be learned from a record; ``None`` where it may."""
    if record.trainable not in settings.permitted:
        return f"trainable: {record.trainable}"
    if record.redacted is None and not settings.unredacted:
        return "not redacted"
    return None


def _said(record: CallRecord) -> str:
    """What was answered: a label, a tool, or how it begins."""
    answer = chat(record).answer
    if answer is None:
        return "nothing"
    if answer.calls:
        return " ".join(one.name for one in answer.calls)[:_LONGEST]
    return label_of(answer.text)[:_LONGEST]
