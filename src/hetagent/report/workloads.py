"""What a page says of workloads: how calls divide, how that changes, and what each one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from hetagent.explain import money
from hetagent.report.charts import figure, percent, table
from hetagent.report.markup import Element, Node, el
from hetagent.report.svg import Axis, Line, Plot, columns, plot, shares

if TYPE_CHECKING:
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.workload import Workload

__all__ = ["workloads_section"]

# As many as there are colours, the last of which is for all others.
_SHOWN = 6
_STYLES = ("c1", "c2", "c3", "c4", "c5", "c7")
_OTHERS, _NONE = "others", "of none"
_LINES = ("c1", "c2", "c3", "c1 raw", "c2 raw")


def workloads_section(found: Workloads) -> Element:
    """Everything about some workloads: pictures of all, and a part for each."""
    some = list(found)
    section = el("section", el("h2", "Workloads", id="workloads"), el("p", _summary(found, some)))
    if not some:
        return section
    pictures = [_division(found, some), _over_time(some)]
    moved = _moved(some)
    section.append(el("div", *pictures, *([moved] if moved is not None else []), class_="grid"))
    section.append(el("div", _all(some), class_="wide"))
    for one in some:
        section.extend(_one(one))
    return section


def _summary(found: Workloads, some: Sequence[Workload]) -> str:
    total = max(1, found.total)
    return (
        f"{found.total:,} calls, of which {percent(1 - found.unassigned / total)} are of "
        f"{len(some):,} workload{'' if len(some) == 1 else 's'}; {percent(found.narrow_share)} are "
        "of such as look narrow and repetitive, and so may be done by a small model."
    )


def _division(found: Workloads, some: Sequence[Workload]) -> Element:
    parts = {one.name: float(one.size) for one in some[:_SHOWN]}
    rest = sum(one.size for one in some[_SHOWN:])
    if rest:
        parts[_OTHERS] = float(rest)
    if found.unassigned:
        parts[_NONE] = float(found.unassigned)
    styles = _styles(list(parts))
    said = ", ".join(f"{name} {percent(n / found.total)}" for name, n in parts.items())
    rows = [(name, f"{n:,.0f}", percent(n / found.total)) for name, n in parts.items()]
    return figure(
        "How calls divide",
        shares("How calls divide", f"Of {found.total:,} calls: {said}.", parts=parts,
               styles=styles),
        [(f"bar {styles[name]}", f"{name} {percent(n / found.total)}")
         for name, n in parts.items()],
        behind=table(["workload", "calls", "share"], rows, "How calls divide"),
    )  # fmt: skip


def _styles(names: Sequence[str]) -> dict[str, str]:
    """The greys are for what has no name."""
    found = dict(zip(names, _STYLES, strict=False))
    return {name: "c6" if name in (_OTHERS, _NONE) else found[name] for name in names}


def _over_time(some: Sequence[Workload]) -> Element:
    starts = sorted({period.start for one in some for period in one.drift})
    parts: list[dict[str, float]] = [{} for _ in starts]
    for place, one in enumerate(some):
        name = one.name if place < _SHOWN else _OTHERS
        for period in one.drift:
            column = parts[starts.index(period.start)]
            column[name] = column.get(name, 0.0) + period.share
    names = [one.name for one in some[:_SHOWN]] + ([_OTHERS] if len(some) > _SHOWN else [])
    styles = _styles(names)
    chart = columns(
        "Workloads over time",
        "One column for each stretch of time; its parts are the workloads' shares of calls.",
        labels=[date.fromisoformat(start).strftime("%d %b") for start in starts],
        parts=parts,
        styles=styles,
        x="from (UTC)",
        y=Axis("share of calls", 0, 1, _tick),
    )
    rows = [
        (start, *[percent(column.get(name, 0.0)) for name in names])
        for start, column in zip(starts, parts, strict=True)
    ]
    return figure(
        "Workloads over time",
        chart,
        [(f"bar {styles[name]}", name) for name in names],
        behind=table(["from", *names], rows, "Shares of calls over time"),
    )


def _moved(some: Sequence[Workload]) -> Element | None:
    """How far inputs have moved; ``None`` where nothing lasted longer than one stretch of time."""
    lasting = [one for one in some if sum(p.distance is not None for p in one.drift) > 1]
    shown = lasting[: len(_LINES)]
    if not shown:
        return None
    starts = sorted({period.start for one in shown for period in one.drift})
    lines, rows, most = [], [], 0.0
    for one, style in zip(shown, _LINES, strict=False):
        known = {p.start: p.distance for p in one.drift if p.distance is not None}
        most = max(most, *known.values())
        lines.append(Line([(float(starts.index(start)), d) for start, d in known.items()], style))
        rows.append(
            (one.name, *[f"{known[start]:.3f}" if start in known else "-" for start in starts])
        )
    days = [date.fromisoformat(start).strftime("%d %b") for start in starts]
    high = next((top for top in (0.05, 0.1, 0.2, 0.5) if most <= top), 1.0)
    chart = Plot(
        "How far inputs have moved",
        "Distance in meaning from the first stretch of time: 0 where inputs are alike, 1 where "
        "they have nothing in common.",
        Axis("from (UTC)", 0, max(1, len(starts) - 1), lambda place: _day(days, place)),
        Axis("distance", 0, high, lambda value: f"{value:g}"),
        lines=lines,
    )
    return figure(
        "How far inputs have moved",
        plot(chart),
        [(f"line {style}", one.name) for one, style in zip(shown, _LINES, strict=False)],
        note="From the first stretch of time: 0 is no change, 1 nothing in common.",
        behind=table(["workload", *starts], rows, "How far inputs have moved"),
    )


def _day(days: Sequence[str], place: float) -> str:
    return days[round(place)] if place == round(place) < len(days) else ""


def _all(some: Sequence[Workload]) -> Element:
    heads = ["workload", "calls", "share", "tokens", "cost", "answers", "looks"]
    rows: list[list[Node]] = [
        [
            one.name,
            f"{one.size:,}",
            percent(one.share),
            f"{one.tokens:,} ({percent(one.token_share)})",
            f"{money(one.cost_usd)} ({percent(one.cost_share)})" if one.cost_usd else "-",
            one.output.kind,
            el("span", one.verdict.in_words, class_="good" if one.verdict.narrow else "bad"),
        ]
        for one in some
    ]
    return table(heads, rows, "All workloads")


def _one(one: Workload) -> Iterator[Element]:
    yield el("h3", one.name)
    yield el("p", " ".join(one.verdict.reasons))
    if one.instructions:
        yield el("details", el("summary", "Instructions"), el("p", el("code", one.instructions)))
    inputs: list[list[Node]] = [
        [slot.name, slot.type, _some(slot.options or slot.examples)] for slot in one.inputs
    ]
    if inputs:
        yield el("div", table(["input", "type", "such as"], inputs, "Inputs"), class_="wide words")
    yield el("p", _answers(one), class_="soft")
    if one.example is not None:
        given = "; ".join(f"{name}: {value}" for name, value in one.example.inputs.items())
        yield el("p", "An example: ", el("code", given[:600]), " → ",
                 el("code", one.example.answer[:600]))  # fmt: skip


def _some(values: Sequence[str]) -> str:
    """A few values, each cut where it is long."""
    return " · ".join(one if len(one) <= 90 else f"{one[:90]}…" for one in values[:3])


def _answers(one: Workload) -> str:
    output = one.output
    match output.kind:
        case "labels":
            return f"Answers: {', '.join(list(output.labels)[:40])}."
        case "tools":
            called = ", ".join(list(output.labels)[:20])
            return f"Calls tools, such as {called}."
        case "json":
            keys = ", ".join(output.schema.get("properties", {}))
            return f"Answers JSON: {keys or 'of one form'}."
        case "text":
            return f"Answers free text, half of the time at most {output.words:.0f} words."


def _tick(share: float) -> str:
    return f"{100 * share:.6g}%"
