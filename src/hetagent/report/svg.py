"""Charts as inline SVG: axes, lines, points, columns. Colours are classes of the page's style.

A chart is 400 units wide, about what a phone shows, so that its text stays readable there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hetagent.report.markup import Element, el

__all__ = ["Axis", "Line", "Mark", "Plot", "Rule", "columns", "plot", "shares"]

_WIDTH, _HEIGHT = 400.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 22.0, 12.0, 46.0
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        label: What it shows.
        low: Where it begins.
        high: Where it ends.
        text: How a number on it is written.
    """

    label: str
    low: float
    high: float
    text: Callable[[float], str]

    def ticks(self) -> list[float]:
        """Round numbers within it, about five."""
        span = self.high - self.low
        rough = span / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or the dots of one.

    Attributes:
        points: From left to right.
        style: Its class.
        dots: Radius of the dot at each point; empty for none.
        joined: Whether it is drawn as a line, too.
    """

    points: Sequence[tuple[float, float]]
    style: str
    dots: Sequence[float] = ()
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line from one point to another, with a name beside its end.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        label: Its name.
        style: Its class.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    label: str = ""
    style: str = "rule"


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that stands out.

    Attributes:
        x: Where.
        y: Where.
        label: Written beside it.
        style: Its class.
        top: Where a whisker from it ends; ``None`` for none.
        below: Whether its label is to be below it, where there is room.
    """

    x: float
    y: float
    label: str
    style: str = "chosen"
    top: float | None = None
    below: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """Something drawn over two axes.

    Attributes:
        title: What it is called by a screen reader.
        description: What it shows, for those who cannot see it.
        x: The axis from left to right.
        y: The axis upwards.
        lines: Drawn first.
        rules: Drawn over them.
        marks: Drawn last.
    """

    title: str
    description: str
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    rules: Sequence[Rule] = ()
    marks: Sequence[Mark] = ()


def plot(chart: Plot) -> Element:
    """Draw it."""
    frame = _frame(chart.title, chart.description, _HEIGHT)
    across = _scale(chart.x, _LEFT, _WIDTH - _RIGHT)
    up = _scale(chart.y, _HEIGHT - _BOTTOM, _TOP)
    frame.extend(_axes(chart.x, chart.y, across, up))
    # What leaves the axes is cut off at their edges by an inner picture.
    inside = el(
        "svg",
        x=0.0,
        y=_TOP - 6,
        width=_WIDTH,
        height=_HEIGHT - _BOTTOM - _TOP + 12,
        viewBox=f"0 {_TOP - 6:g} {_WIDTH:g} {_HEIGHT - _BOTTOM - _TOP + 12:g}",
    )
    frame.append(inside)
    for line in chart.lines:
        inside.extend(_line(line, across, up))
    for rule in chart.rules:
        frame.extend(_rule(rule, across, up))
    for mark in chart.marks:
        frame.extend(_mark(mark, across, up))
    return frame


def columns(
    title: str,
    description: str,
    *,
    labels: Sequence[str],
    parts: Sequence[Mapping[str, float]],
    styles: Mapping[str, str],
    x: str,
    y: Axis,
) -> Element:
    """Columns side by side, each of parts on top of each other.

    Args:
        title: As of a `Plot`.
        description: Likewise.
        labels: Below the columns; not all are written where there are many.
        parts: Height of each part of each column, by name.
        styles: Class of each part by name, the lowest first.
        x: What the columns are.
        y: The axis upwards.
    """
    frame = _frame(title, description, _HEIGHT)
    up = _scale(y, _HEIGHT - _BOTTOM, _TOP)
    frame.extend(_axes(None, y, lambda _: 0.0, up))
    step = (_WIDTH - _RIGHT - _LEFT) / len(labels)
    wide = min(step * 0.8, 48.0)
    shown = max(1, math.ceil(len(labels) * max(map(len, labels)) * 7.5 / (_WIDTH - _LEFT)))
    for index, (label, column) in enumerate(zip(labels, parts, strict=True)):
        middle, base = _LEFT + step * (index + 0.5), y.low
        for name, style in styles.items():
            height = column.get(name, 0.0)
            if height > 0:
                bar = el("rect", x=middle - wide / 2, y=up(base + height), width=wide,
                         height=up(base) - up(base + height), class_=f"bar {style}")  # fmt: skip
                bar.append(el("title", f"{label}: {name} {y.text(height)}"))
                frame.append(bar)
                base += height
        if index % shown == 0:
            anchor = "start" if index == 0 and len(label) * 6 > step else "middle"
            place = _LEFT if anchor == "start" else middle
            frame.append(_text(label, place, _HEIGHT - _BOTTOM + 18, anchor=anchor))
    frame.append(_base())  # over the columns
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    frame.append(_text(x, middle, _HEIGHT - 8, anchor="middle", style="label"))
    return frame


def shares(
    title: str, description: str, *, parts: Mapping[str, float], styles: Mapping[str, str]
) -> Element:
    """One bar across, of parts that sum to the whole."""
    total, height, left = sum(parts.values()), 34.0, 0.0
    frame = _frame(title, description, height)
    for name, part in parts.items():
        wide = _WIDTH * part / total
        bar = el("rect", x=left, y=2.0, width=wide, height=height - 4, class_=f"bar {styles[name]}")
        bar.append(el("title", f"{name}: {part / total:.0%}"))
        frame.append(bar)
        left += wide
    return frame


def _frame(title: str, description: str, height: float) -> Element:
    number = next(_ids)
    return el(
        "svg",
        el("title", title, id=f"title-{number}"),
        el("desc", description, id=f"desc-{number}"),
        viewBox=f"0 0 {_WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"title-{number}",
        aria_describedby=f"desc-{number}",
    )


def _scale(axis: Axis, start: float, end: float) -> Callable[[float], float]:
    def place(value: float) -> float:
        return start + (value - axis.low) / (axis.high - axis.low) * (end - start)

    return place


def _axes(
    x: Axis | None, y: Axis, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[Element]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tick in y.ticks():
        yield el("line", x1=_LEFT, x2=right, y1=up(tick), y2=up(tick), class_="grid")
        yield _text(y.text(tick), _LEFT - 6, up(tick) + 4, anchor="end")
    yield _base()
    middle = (_TOP + bottom) / 2
    yield el("text", y.label, x=0, y=0, text_anchor="middle", class_="label",
             transform=f"translate(11 {middle:g}) rotate(-90)")  # fmt: skip
    if x is None:
        return
    for tick in x.ticks():
        yield el("line", x1=across(tick), x2=across(tick), y1=bottom, y2=bottom + 4, class_="axis")
        yield _text(x.text(tick), across(tick), bottom + 18, anchor="middle")
    yield el("text", x.label, x=(_LEFT + right) / 2, y=_HEIGHT - 8, text_anchor="middle",
             class_="label")  # fmt: skip


def _base() -> Element:
    bottom = _HEIGHT - _BOTTOM
    return el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom, class_="axis")


def _line(
    line: Line, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[Element]:
    places = [(across(x), up(y)) for x, y in line.points]
    if line.joined and len(places) > 1:
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        yield el("polyline", points=path, class_=f"line {line.style}")
    for (x, y), radius in zip(places, line.dots, strict=False):
        yield el("circle", cx=x, cy=y, r=float(radius), class_=f"dot {line.style}")


def _rule(
    rule: Rule, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[Element]:
    (x1, y1), (x2, y2) = rule.start, rule.end
    yield el("line", x1=across(x1), y1=up(y1), x2=across(x2), y2=up(y2), class_=rule.style)
    if rule.label:
        yield _text(rule.label, across(x1) + 4, up(y1) - 5, anchor="start", style="named")


def _mark(
    mark: Mark, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[Element]:
    x, y = across(mark.x), up(mark.y)
    if mark.top is not None:
        top = max(up(mark.top), _TOP - 4)
        yield el("line", x1=x, x2=x, y1=y, y2=top, class_="whisker")
        yield el("line", x1=x - 4, x2=x + 4, y1=top, y2=top, class_="whisker")
    yield el("circle", cx=x, cy=y, r=5.5, class_=mark.style)
    right = x > (_WIDTH - _RIGHT - 60 if mark.below else (_LEFT + _WIDTH) / 2)
    below = y < _HEIGHT - _BOTTOM - 18 if mark.below else y < _TOP + 26
    yield _text(mark.label, x - 9 if right else x + 9, y + 16 if below else y - 8,
                anchor="end" if right else "start", style="named")  # fmt: skip


def _text(text: str, x: float, y: float, *, anchor: str, style: str = "tick") -> Element:
    return el("text", text, x=x, y=y, text_anchor=anchor, class_=style)
