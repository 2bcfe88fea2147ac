"""A workload from its calls: sizes and shares, drift, an example, the verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, timedelta
from typing import Any

import numpy as np

from hetagent.learn.chat import chat
from hetagent.learn.cluster.actions import Output, observe
from hetagent.learn.cluster.embed import Embed, mean_direction
from hetagent.learn.cluster.forms import PLAIN
from hetagent.learn.cluster.groups import Mean
from hetagent.learn.cluster.patterns import Pattern
from hetagent.learn.cluster.read import Call
from hetagent.learn.cluster.slots import Slot, Template
from hetagent.learn.cluster.workload import Example, Period, Verdict, Workload
from hetagent.learn.record import CallRecord

__all__ = ["Sums", "counted", "describe"]

# Calls of each stretch of time whose inputs are looked at, and the fewest that say something.
_PER_PERIOD, _FEWEST = 200, 20
_WEEKS_FROM = timedelta(days=14)
_LONGEST = 2000
# Words of an answer that are a sentence or less, and of a short program; fixed share of a prompt
# from which on instructions count.
_SENTENCE, _PROGRAM, _INSTRUCTED = 20, 80, 0.25

_NO_PATTERN = Pattern(
    (),
    PLAIN,
    "form",
    np.empty(0, np.uint64),
    Template(("", "")),
    (),
    np.empty((1, 0), np.float32),
    0.0,
)


@dataclass(slots=True)
class Sums:
    """Of some calls.

    Attributes:
        calls: How many.
        tokens: Of prompts and completions, where known.
        cost_usd: US dollars, where known.
        by_day: Calls of each day.
    """

    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    by_day: Counter[date] = field(default_factory=Counter)

    @classmethod
    def of(cls, records: Iterable[CallRecord]) -> Sums:
        """Sum them up."""
        found = cls()
        for one in records:
            found.add(one)
        return found

    def add(self, record: CallRecord) -> None:
        """Add a call."""
        self.calls += 1
        self.tokens += (record.usage.prompt or 0) + (record.usage.completion or 0)
        self.cost_usd += record.cost_usd or 0.0
        self.by_day[record.time.astimezone(UTC).date()] += 1


def describe(
    records: Sequence[CallRecord],
    calls: Sequence[Call],
    patterns: Sequence[Pattern],
    *,
    totals: Sums,
    embed: Embed,
) -> Workload:
    """Describe a workload that has no name yet.

    Args:
        records: Its calls.
        calls: The same, as clustering reads them.
        patterns: What they look like, the most common first; there may be none.
        totals: Of all calls.
        embed: Texts to vectors.
    """
    main = patterns[0] if patterns else _NO_PATTERN
    output = observe(calls)
    return Workload(
        name="",
        **_sizes(Sums.of(records), totals),
        instructions=main.template.instructions(main.slots) if len(main.fixed) else "",
        wordings=sum(len(one.fixed) > 0 for one in patterns),
        inputs=main.slots or _whole(calls),
        output=output,
        tools=_tools(records, output),
        example=_example(calls, main),
        drift=_drift(records, calls, patterns, totals, embed),
        verdict=_verdict(calls, output, main),
    )


def counted(workload: Workload, own: Sums, *, totals: Sums) -> Workload:
    """A workload that was described from a sample of its calls, with the sizes that all have.

    Args:
        workload: The description.
        own: Of all its calls.
        totals: Of all calls.
    """
    moved = {one.start: one.distance for one in workload.drift}
    weekly = _weekly(totals)
    mine, every = _by_period(own, weekly), _by_period(totals, weekly)
    drift = tuple(
        Period(str(start), count, count / every[start], moved.get(str(start)))
        for start, count in sorted(mine.items())
    )
    return replace(workload, **_sizes(own, totals), drift=drift)


def _sizes(own: Sums, totals: Sums) -> dict[str, Any]:
    return {
        "size": own.calls,
        "share": own.calls / max(1, totals.calls),
        "tokens": own.tokens,
        "token_share": own.tokens / max(1, totals.tokens),
        "cost_usd": own.cost_usd,
        "cost_share": own.cost_usd / totals.cost_usd if totals.cost_usd else 0.0,
    }


def _weekly(totals: Sums) -> bool:
    return max(totals.by_day) - min(totals.by_day) >= _WEEKS_FROM


def _by_period(sums: Sums, weekly: bool) -> Counter[date]:
    found: Counter[date] = Counter()
    for day, count in sums.by_day.items():
        found[_start(day, weekly)] += count
    return found


def _whole(calls: Sequence[Call]) -> tuple[Slot, ...]:
    """Without a template the input is what the user said."""
    said = [call.said for call in calls[:400]]
    examples = tuple(one[:200] for one in dict.fromkeys(said) if one)[:3]
    return (Slot("message", "str", examples, (), len(set(said)) / max(1, len(said))),)


def _tools(records: Sequence[CallRecord], output: Output) -> tuple[Mapping[str, Any], ...]:
    """The tools that nearly all its calls are offered, as the last of them described them."""
    wanted = set(output.tools)
    if not wanted:
        return ()
    for record in reversed(records):
        offered = chat(record).tools
        if wanted <= {one.name for one in offered}:
            return tuple(
                {
                    "name": one.name,
                    "description": one.description,
                    "parameters": dict(one.parameters),
                }
                for one in offered
                if one.name in wanted
            )
    return ()


def _example(calls: Sequence[Call], main: Pattern) -> Example | None:
    for call in calls:
        if call.answer is None:
            continue
        values = main.template.values(call.text) if len(main.fixed) else [call.said]
        names = [one.name for one in main.slots] if len(main.fixed) else ["message"]
        if values is None or len(values) != len(names):
            continue
        answer = f"{call.called}({call.arguments})" if call.called else call.answer
        inputs = {name: value[:_LONGEST] for name, value in zip(names, values, strict=True)}
        return Example(inputs, answer[:_LONGEST])
    return None


def _drift(
    records: Sequence[CallRecord],
    calls: Sequence[Call],
    patterns: Sequence[Pattern],
    totals: Sums,
    embed: Embed,
) -> tuple[Period, ...]:
    """Sizes by week or day, and how far each one's inputs are from the first one's."""
    days = [one.time.astimezone(UTC).date() for one in records]
    weekly = _weekly(totals)
    rows: dict[date, list[int]] = {}
    for row, day in enumerate(days):
        rows.setdefault(_start(day, weekly), []).append(row)
    everything = _by_period(totals, weekly)
    first: Mean | None = None
    found = []
    for start in sorted(rows):
        some = rows[start][:: max(1, len(rows[start]) // _PER_PERIOD)][:_PER_PERIOD]
        distance = None
        if len(some) >= _FEWEST:
            texts = [_varying(calls[row], patterns) for row in some]
            here = Mean(mean_direction(embed(texts)), len(texts))
            first = first or here
            distance = round(max(0.0, 1 - first.near(here)), 4) if first is not here else 0.0
        count = len(rows[start])
        found.append(Period(start.isoformat(), count, count / everything[start], distance))
    return tuple(found)


def _start(day: date, weekly: bool) -> date:
    return day - timedelta(days=day.weekday()) if weekly else day


def _varying(call: Call, patterns: Sequence[Pattern]) -> str:
    """What is in the slots of whichever template the call has."""
    for pattern in patterns:
        if len(pattern.fixed) and (values := pattern.template.values(call.text)):
            return " ".join(values)
    return call.said


def _verdict(calls: Sequence[Call], output: Output, main: Pattern) -> Verdict:
    good: list[str] = []
    bad: list[str] = []
    (good if output.kind != "text" else bad).append(_answers_in_words(output))
    is_code = output.code >= 0.8
    short = output.most_words <= (_PROGRAM if is_code else _SENTENCE)
    if output.kind == "text":
        size = f"Four in five of its answers have at most {output.most_words:.0f} words."
        (good if short else bad).append(size)
    fixed = _fixed_share(calls, main)
    words = f"{fixed:.0%} of its prompts' words are the same in every call."
    (good if fixed >= _INSTRUCTED else bad).append(words)
    if len(main.fixed) == 0:
        bad.append("Its prompts share no fixed text.")
    turns = sum(call.turns > 0 for call in calls) / max(1, len(calls))
    if turns >= 0.5 and output.kind == "text":
        bad.append(f"{turns:.0%} of its calls go on with a conversation.")
    narrow = output.kind != "text" or (short and fixed >= _INSTRUCTED and turns < 0.5)
    return Verdict(narrow, tuple(good + bad if narrow else bad + good))


def _answers_in_words(output: Output) -> str:
    share = "All" if output.valid == 1 else f"{output.valid:.1%}"
    match output.kind:
        case "labels":
            return f"{share} of its answers are one of {len(output.labels)} labels."
        case "tools" if output.tools:
            count = len(output.tools)
            tools = "one tool" if count == 1 else f"one of the same {count} tools"
            return f"{share} of its answers are calls of {tools}."
        case "tools":
            return f"{share} of its answers are calls of one of the tools offered, which vary."
        case "json":
            form = "the JSON that was asked for" if output.asked else "JSON of one form"
            return f"{share} of its answers are {form}."
        case "text" if output.code >= 0.8:
            return f"{output.code:.0%} of its answers are programs."
        case "text":
            return "Its answers are free text."


def _fixed_share(calls: Sequence[Call], main: Pattern) -> float:
    lengths = sorted(len(re.findall(r"\w+", call.text)) for call in calls[:400])
    return min(1.0, main.template.words / max(1, lengths[len(lengths) // 2])) if lengths else 0.0
