"""How a race looks on a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetagent.learn.select.result import Race, Standing

__all__ = ["print_race"]

_WIDTH = 150


def print_race(race: Race, *, out: Path | None) -> None:
    """The table of all entrants, the choice and why, and what was left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    priced = race.machine_usd_per_hour is not None
    columns = ["right", "95%", "rows", "p50", "p95", "calls/s", "memory"]
    if any(_parts(one) for one in race.standings):
        columns.insert(2, "fields")
    columns.append("$/1,000" if priced else "s/1,000")
    columns += ["J/call"] if any(one.joules is not None for one in race.standings) else []
    columns += ["tuned"] if any(one.tuning_seconds is not None for one in race.standings) else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("entrant", no_wrap=True)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for one in race.standings:
        cells = _cells(one)
        chosen = one.name == race.choice
        table.add_row(
            "*" if chosen else "+" if one.front else "",
            Text(one.name),
            *(cells[head] for head in columns),
            Text(_note(one)),
            style="bold" if chosen else "" if one.finished else "dim",
        )
    console = Console(highlight=False)
    # A pipe has no width of its own, and wrapped lines would be of no use to grep.
    (console if console.is_terminal else Console(width=_WIDTH, highlight=False)).print(table)
    for line in _lines(race, out):
        console.print(line, markup=False, soft_wrap=True)


def _cells(one: Standing) -> dict[str, str]:
    low, high = one.interval
    return {
        "right": _share(one.quality),
        "95%": f"{100 * low:.1f}-{100 * high:.1f}" if one.rows else "-",
        "fields": _share(one.fields),
        "rows": f"{one.rows:,}",
        "p50": _seconds(one.p50_seconds),
        "p95": _seconds(one.p95_seconds),
        "calls/s": _number(one.calls_per_second),
        "memory": "-" if one.memory_bytes is None else f"{one.memory_bytes / 1e6:,.0f} MB",
        "$/1,000": _dollars(one.usd_per_1000),
        "s/1,000": _number(one.machine_seconds_per_1000),
        "J/call": _number(one.joules),
        "tuned": "" if one.tuning_seconds is None else f"{one.tuning_seconds / 60:.1f} min",
    }


def _lines(race: Race, out: Path | None) -> Iterator[str]:
    yield ""
    yield f"* {race.choice or 'Nothing chosen'}: {race.why}"
    if any(one.front and one.name != race.choice for one in race.standings):
        yield "+ Nothing else is as good in quality, speed and memory, and better in one of them."
    yield f"{race.rows:,} rows to judge by, {race.learned:,} to learn from. {race.machine}."
    yield from race.notes
    why = defaultdict(list)
    for one in race.refused:
        reason, _, _ = one.why.partition(":")
        why[reason].append(one.name)
    for reason, names in why.items():
        yield f"Left out, {reason}: {', '.join(names)}."
    if "not fetched" in why:
        yield "hetagent models pull NAME fetches one; --fetch all that the limits let in."
    if out is None:
        yield "Nothing was written: --out FOLDER keeps measurements and what is tuned."
    elif (chosen := race.chosen) is not None:
        yield from _use(chosen, out)


def _use(chosen: Standing, out: Path) -> Iterator[str]:
    """How what was chosen is run."""
    yield f"Written to {out}."
    if chosen.kind == "classifier":
        yield f"Run it: hetagent run MODULE:NAME --slm {chosen.file}"
    elif chosen.kind == "tuned":
        yield f"Run it: hetagent run MODULE:NAME --slm {chosen.base} --adapter {chosen.file}"
    elif chosen.kind == "untuned":
        yield f"Run it: hetagent run MODULE:NAME --slm {chosen.base}"
    else:
        yield "Run it in Python: Retrieved(LlamaCpp(...), examples_of(skill, pairs))."


def _parts(one: Standing) -> bool:
    """Whether the share of fields tells more than the share of answers."""
    return one.fields is not None and abs(one.fields - (one.quality or 0.0)) > 1e-9


def _note(one: Standing) -> str:
    return "; ".join(filter(None, ["baseline" if one.baseline else "", one.note]))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _dollars(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if 0 < value < 1e-4 else f"{value:.2g}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"
