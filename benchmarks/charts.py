"""Draws what `benchmarks.engine_scaling` measured: one SVG for each part.

python -m benchmarks.charts scaling.json --out docs/img
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Told apart also without colour, by the markers (Okabe and Ito 2008, "Color universal design").
LINES = (("#0072B2", "o"), ("#D55E00", "s"))
GREY = "#5f6b76"


@dataclass(frozen=True)
class Chart:
    """How a part is drawn.

    Attributes:
        title: What it shows.
        x: The horizontal axis, with its unit.
        logarithmic: Whether both axes are.
        rates: Whether it shows calls per second instead of milliseconds per call.
    """

    title: str
    x: str
    logarithmic: bool = False
    rates: bool = False


CHARTS = {
    "labels": Chart("Cost of a choice by its labels", "labels"),
    "fields": Chart("Cost of a record by its fields", "fields (text of up to 16 characters)"),
    "prompt": Chart("Cost of a choice by the length of its prompt", "length (tokens)", True),
    "callers": Chart("Calls by concurrent callers", "concurrent callers", True, True),
}


def draw(part: str, rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw one part: medians as lines, the spread over rounds as a band."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, ScalarFormatter

    chart = CHARTS[part]
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": part, "font.size": 11})
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    lines = list(dict.fromkeys(row["line"] for row in rows))
    for line, (colour, marker) in zip(lines, LINES, strict=False):
        points = sorted((row for row in rows if row["line"] == line), key=lambda row: row["x"])
        x = [row["x"] for row in points]
        axes.plot(x, values(points, "ms_per_call", chart), color=colour, marker=marker, label=line)
        axes.fill_between(
            x,
            values(points, "low", chart),
            values(points, "high", chart),
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    if chart.logarithmic:
        ticks = sorted({row["x"] for row in rows})
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
    else:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    axes.set_title(chart.title, loc="left", fontweight="bold")
    axes.set_xlabel(chart.x)
    axes.set_ylabel("calls per second" if chart.rates else "milliseconds per call")
    axes.grid(color=GREY, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    # The same file for the same figures.
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def values(rows: Sequence[dict[str, Any]], key: str, chart: Chart) -> list[float]:
    return [1e3 / row[key] if chart.rates else row[key] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="Charts of engine_scaling's figures.")
    parser.add_argument("json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    options = parser.parse_args()
    rows = json.loads(options.json.read_text(encoding="utf-8"))["rows"]
    options.out.mkdir(parents=True, exist_ok=True)
    for part in CHARTS:
        found = [row for row in rows if row["part"] == part]
        if found:
            target = options.out / f"engine-{part}.svg"
            draw(part, found, target)
            print(target)


if __name__ == "__main__":
    main()
