"""The tables of docs/performance.md, from what `benchmarks.engine` measured.

python -m benchmarks.tables engine.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HEAD = (
    "system",
    "one caller",
    "4 callers",
    "16 callers",
    "p50 / p95 ms, one caller",
    "16 callers",
    "tokens a call",
    "peak MB",
    "same answer",
)


def cell_tables(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A table of every cell: calls a second, latencies, tokens, memory, agreement."""
    for part in dict.fromkeys(row["part"] for row in rows if "calls_per_s" in row):
        found = {(r["system"], r["callers"]): r for r in rows if r["part"] == part and not raw(r)}
        systems = dict.fromkeys(name for name, _ in found)
        yield f"**{part}**\n"
        yield line(HEAD)
        yield line(["---"] * len(HEAD))
        for system in systems:
            one = found.get((system, 1), {})
            counts = [found.get((system, callers)) for callers in (1, 4, 16)]
            yield line(
                [
                    system,
                    *(rate(row) if row else "" for row in counts),
                    latency(one),
                    latency(found.get((system, 16), {})),
                    figure(one.get("tokens")),
                    figure(one.get("peak_mb"), "{:.0f}"),
                    figure(one.get("same"), "{:.0%}"),
                ]
            )
        yield ""


def raw(row: dict[str, Any]) -> bool:
    return bool(row.get("raw"))


def rate(row: dict[str, Any]) -> str:
    low, middle, high = (f"{row[key]:.3g}" for key in ("low", "calls_per_s", "high"))
    return f"{middle} ({low} to {high})"


def latency(row: dict[str, Any]) -> str:
    return f"{row['p50_ms']:.0f} / {row['p95_ms']:.0f}" if row else ""


def figure(value: float | None, form: str = "{:.1f}") -> str:
    return "" if value is None else form.format(value)


def target_table(targets: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield line(["target", "wanted", "measured", ""])
    yield line(["---"] * 4)
    for one in targets:
        holds = "" if one["holds"] else "**missed**"
        yield line([one["name"], one["target"], f"{one['value']:.3g}", holds])


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Markdown tables of the engine's figures.")
    parser.add_argument("json", type=Path)
    found = json.loads(parser.parse_args().json.read_text(encoding="utf-8"))
    print("\n".join([*cell_tables(found["rows"]), *target_table(found["targets"])]))


if __name__ == "__main__":
    main()
