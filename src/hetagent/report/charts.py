"""Each figure of a report: a chart, its legend, and the table behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from hetagent.calibrate.certificate import Part
from hetagent.explain import money
from hetagent.report.figures import CostQuality, Timeline
from hetagent.report.markup import Element, Node, el
from hetagent.report.runs import ACCEPTED
from hetagent.report.svg import Axis, Line, Mark, Plot, Rule, columns, plot, shares

__all__ = [
    "cost_quality",
    "figure",
    "percent",
    "reasons_over_time",
    "reliability",
    "risk_coverage",
    "served",
    "table",
]

T = TypeVar("T")

_STYLES = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
_ROWS = 20
_SERVED = {"slm": "c1", "both": "c3", "llm": "c2", "none": "c6"}


def percent(share: float) -> str:
    """A share as a percentage, with digits where it is small."""
    digits = 0 if share == 0 or share >= 0.0995 else 1 if share >= 0.00995 else 2
    text = f"{100 * share:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if digits else text
    # What is not nothing, or not all, must not look so.
    if share > 0 and float(text or 0) == 0:
        return "<0.01%"
    return "99.9%" if share < 1 and text == "100" else f"{text}%"


def risk_coverage(name: str, part: Part, max_error: float) -> Element:
    """Error rate among the accepted against how many are accepted."""
    curve = list(zip(part.curves.coverage, part.curves.risk, strict=True))
    # Among the first few answers one error is a large share, which would press down all else.
    settled = [risk for cover, risk in curve if cover >= 0.05 or cover == curve[-1][0]]
    high = _ceiling(max([*settled, 1.6 * max_error, _whisker(part)]))
    marks = []
    if part.threshold is not None:
        marks.append(
            Mark(
                part.coverage,
                part.errors / part.accepted,
                "chosen",
                top=part.upper_bound,
                below=True,
            )
        )
    chart = Plot(
        f"Risk and coverage: {name}",
        "Error rate among accepted answers, rising as more of them are accepted. "
        + _chosen_in_words(part, max_error),
        Axis("share of answers accepted", 0, 1, _tick),
        Axis("wrong among accepted", 0, high, _tick),
        lines=[Line(curve, "c1", dots=[3.0] if len(curve) == 1 else ())],
        rules=[Rule((0, max_error), (1, max_error), f"α = {percent(max_error)}")],
        marks=marks,
    )
    rows = [(percent(cover), percent(risk)) for cover, risk in _thinned(curve)]
    return figure(
        "Risk and coverage",
        plot(chart),
        [("line c1", "error rate on the certifying answers")]
        + ([("chosen", "chosen, with the bound proved for it")] if marks else []),
        note=_chosen_in_words(part, max_error),
        behind=table(["accepted", "wrong among accepted"], rows, f"Risk and coverage: {name}"),
    )


def reliability(name: str, part: Part) -> Element:
    """How often answers are right, against how sure they were; raw and calibrated."""
    raw, calibrated = part.curves.raw_bins, part.curves.bins
    every = [*raw, *calibrated]
    low = math.floor(min([min(p, right) for p, right, _ in every], default=0.0) * 10) / 10
    low = min(low, 0.9)
    most = max((n for _, _, n in every), default=1)
    chart = Plot(
        f"Reliability: {name}",
        f"Share of answers that are right against confidence, in bins. The calibration error is "
        f"{part.raw.calibration_error:.3f} raw and {part.calibrated.calibration_error:.3f} "
        "calibrated. On the diagonal confidence is exactly as often right as it says.",
        Axis("confidence", low, 1, _tick),
        Axis("share that is right", low, 1, _tick),
        lines=[_bins(raw, "c2 raw", most), _bins(calibrated, "c1", most)],
        rules=[Rule((low, low), (1, 1), style="diagonal")],
    )
    rows = [
        (kind, f"{p:.3f}", f"{right:.3f}", str(n))
        for kind, bins in (("raw", raw), ("calibrated", calibrated))
        for p, right, n in bins
    ]
    error = (
        f"Calibration error {part.raw.calibration_error:.3f} raw, "
        f"{part.calibrated.calibration_error:.3f} calibrated."
    )
    if not raw:
        error += " This certificate has no raw bins: calibrate again to see them."
    legend = [("line c1", "calibrated"), ("line c2 raw", "raw"), ("diagonal", "perfect")]
    return figure(
        "Reliability",
        plot(chart),
        legend if raw else [legend[0], legend[2]],
        note=error,
        behind=table(["", "confidence", "right", "answers"], rows, f"Reliability: {name}"),
    )


def cost_quality(
    certified: CostQuality,
    expected: CostQuality | None,
    *,
    llm_price: float | None,
    slm_price: float,
    actual: tuple[float, float] | None,
) -> Element:
    """Wrong answers that the SLM serves, against what the calls cost.

    Args:
        certified: By labels.
        expected: By the confidences of a log.
        llm_price: US dollars of an LLM's call; ``None`` or 0 where there is no such price, and
            calls of the LLM are counted instead.
        slm_price: US dollars of an SLM's call.
        actual: Share escalated in the log, and US dollars of one call there.
    """

    def across(share: float) -> float:
        return 1000 * (slm_price + share * llm_price) if llm_price else share

    curves = [("c1", "by the labels of the certificate", certified)]
    if expected is not None:
        curves.append(("c3 raw", "by the confidences in the log", expected))
    lines = [
        Line(sorted((across(p.escalated), p.wrong) for p in curve.points), style)
        for style, _, curve in curves
    ]
    high = _ceiling(max(y for line in lines for _, y in line.points))
    marks = [
        Mark(across(curve.chosen.escalated), curve.chosen.wrong, label, style=f"chosen {style}")
        for (style, _, curve), label in zip(curves, ("chosen", "in the log"), strict=False)
        if curve.chosen is not None
    ]
    dearest = across(1.0)
    label = "US dollars for 1,000 calls" if llm_price else "share of calls that the LLM is asked"
    words = [
        f"{percent(curve.chosen.escalated)} escalated and {percent(curve.chosen.wrong)} of all "
        f"calls wrong {how}"
        for _, how, curve in curves
        if curve.chosen is not None
    ]
    said = f"At the chosen point: {'; '.join(words)}." if words else "No point is chosen."
    if actual is not None:
        share, usd = actual
        said += f" In the log an LLM was asked in {percent(share)} of calls"
        said += f", and 1,000 calls cost {money(1000 * usd)}." if usd else "."
    chart = Plot(
        "Cost and quality",
        "Wrong answers served by the SLM, falling as more is escalated and paid. " + said,
        Axis(label, 0, dearest or 1, _money_tick(dearest) if llm_price else _tick),
        Axis("served wrongly by the SLM", 0, high, _tick),
        lines=lines,
        marks=marks,
    )
    heads = ["escalated", "1,000 calls cost" if llm_price else "LLM calls in 1,000"]
    rows = [
        (
            percent(point.escalated),
            money(across(point.escalated)) if llm_price else f"{1000 * point.escalated:.0f}",
            percent(point.wrong),
        )
        for point in _thinned(certified.points)
    ]
    return figure(
        "Cost and quality",
        plot(chart),
        [(f"line {style}", how) for style, how, _ in curves]
        + ([("chosen", "chosen")] if marks else []),
        note=said + " What the LLM itself gets wrong comes on top, and is not known here.",
        behind=table(
            [*heads, "served wrongly"], rows, "Cost and quality, by the labels of the certificate"
        ),
    )


def reasons_over_time(name: str, time: Timeline) -> Element:
    """Share of calls that was not accepted, by reason, in each stretch of time."""
    totals = [sum(one.values()) for one in time.counts]
    order = _by_count(time.counts)
    parts = [
        {reason: count / total for reason, count in one.items() if reason != ACCEPTED}
        for one, total in zip(time.counts, totals, strict=True)
    ]
    labels = _stretches(time)
    styles = {reason: _STYLES[min(i, len(_STYLES) - 1)] for i, reason in enumerate(order)}
    high = _ceiling(max([sum(one.values()) for one in parts] + [0.05]))
    width = _span(time.minutes)
    chart = columns(
        f"Escalation reasons over time: {name}",
        f"One column for {width}; its parts are the shares of calls not accepted, by reason.",
        labels=labels,
        parts=[{_words(reason): share for reason, share in one.items()} for one in parts],
        styles={_words(reason): style for reason, style in styles.items()},
        x="time (UTC)",
        y=Axis("share of calls", 0, high, _tick),
    )
    heads = ["from (UTC)", "calls", *[_words(reason) for reason in order]]
    rows = [
        (label, str(total), *[str(one.get(reason, 0)) for reason in order])
        for label, total, one in zip(labels, totals, time.counts, strict=True)
    ]
    said = f"One column for {width}."
    return figure(
        "Escalation reasons over time",
        chart,
        [(f"bar {style}", _words(reason)) for reason, style in styles.items()],
        note=said if order else f"{said} Every call was accepted.",
        behind=table(heads, rows, f"Escalation reasons over time: {name}"),
    )


def served(name: str, found: Mapping[str, int]) -> Element:
    """Who served how much."""
    words = {"slm": "the SLM", "both": "both", "llm": "the LLM", "none": "nobody"}
    known = {who: found[who] for who in _SERVED if found.get(who)}
    total = sum(known.values())
    said = ", ".join(f"{words[who]} {percent(n / total)}" for who, n in known.items())
    bar = shares(
        f"Who served: {name}",
        f"Of {total} calls: {said}.",
        parts={words[who]: float(n) for who, n in known.items()},
        styles={words[who]: style for who, style in _SERVED.items()},
    )
    rows = [(words[who], str(n), percent(n / total)) for who, n in known.items()]
    return figure(
        "Who served",
        bar,
        [(f"bar {_SERVED[who]}", f"{words[who]} {percent(n / total)}") for who, n in known.items()],
        behind=table(["", "calls", "share"], rows, f"Who served: {name}"),
    )


def figure(
    title: str,
    chart: Element,
    legend: Iterable[tuple[str, str]],
    *,
    behind: Element,
    note: str = "",
) -> Element:
    """A chart with its title and legend, and its numbers folded away below."""
    swatches = [el("li", _swatch(style), " ", words) for style, words in legend]
    return el(
        "figure",
        el("figcaption", title),
        el("ul", *swatches, class_="legend") if swatches else None,
        chart,
        el("p", note, class_="note") if note else None,
        el("details", el("summary", "The numbers"), el("div", behind, class_="wide")),
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[Node]], caption: str) -> Element:
    """A table; the first cell of each row is its head."""
    body = [
        el("tr", el("th", row[0], scope="row"), *[el("td", cell) for cell in row[1:]])
        for row in rows
    ]
    return el(
        "table",
        el("caption", caption),
        el("thead", el("tr", *[el("th", head, scope="col") for head in heads])),
        el("tbody", *body),
    )


def _money_tick(most: float) -> Callable[[float], str]:
    """How US dollars are written on an axis that ends here."""
    digits = max(0, 2 - math.floor(math.log10(most))) if most > 0 else 2
    digits = 0 if most >= 50 else min(digits, 6)
    return lambda value: f"${value:,.{digits}f}"


def _bins(bins: Sequence[tuple[float, float, int]], style: str, most: int) -> Line:
    points = [(p, right) for p, right, _ in bins]
    return Line(points, style, dots=[2 + 3 * math.sqrt(n / most) for _, _, n in bins])


def _whisker(part: Part) -> float:
    return part.upper_bound * 1.1 if part.threshold is not None else 0.0


def _chosen_in_words(part: Part, max_error: float) -> str:
    if part.threshold is None:
        return f"No threshold keeps {percent(max_error)}."
    return (
        f"Chosen: {percent(part.coverage)} accepted, {part.errors} of {part.accepted} wrong; at "
        f"most {percent(part.upper_bound)} of all such are."
    )


def _thinned(points: Sequence[T]) -> list[T]:
    """About as many as can be read in a table, the ends included."""
    count = min(_ROWS, len(points))
    if count < 2:
        return list(points)
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]


def _ceiling(most: float) -> float:
    """Somewhat more, and round."""
    for high in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8):
        if most <= high:
            return high
    return 1.0


def _tick(share: float) -> str:
    return f"{100 * share:.6g}%"


def _by_count(counts: Iterable[Mapping[str, int]]) -> list[str]:
    totals: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            totals[reason] = totals.get(reason, 0) + count
    totals.pop(ACCEPTED, None)
    return sorted(totals, key=lambda reason: (-totals[reason], reason))


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _stretches(time: Timeline) -> list[str]:
    days = len({start // 1440 for start in time.starts}) > 1
    form = "%d %b" if time.minutes >= 1440 else "%d %b %H:%M" if days else "%H:%M"
    return [datetime.fromtimestamp(start * 60, UTC).strftime(form) for start in time.starts]


def _span(minutes: int) -> str:
    for size, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            count = minutes // size
            return f"each {name}" if count == 1 else f"every {count} {name}s"
    raise AssertionError(minutes)


def _swatch(style: str) -> Element:
    """A sample of a line, dot or bar, for a legend."""
    if style.startswith("bar"):
        shape = el("rect", x=2, y=2, width=14, height=10, class_=style)
    elif style.startswith("chosen"):
        shape = el("circle", cx=9, cy=7, r=5, class_=style)
    else:
        shape = el("line", x1=0, x2=18, y1=7, y2=7, class_=style)
    return el("svg", shape, viewBox="0 0 18 14", width=18, height=14, aria_hidden="true")
