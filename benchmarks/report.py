"""What all benchmarks share: data, statistics, and the form of a report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("hetagent", "llama-cpp-python", "llguidance", "outlines", "numpy", "pydantic")
PACKAGES += ("sqlalchemy", "cryptography", "psycopg", "pyarrow", "duckdb")


class CannotMeasureError(Exception):
    """Something that is needed is not here; the message says what."""


@dataclass
class Report:
    """A benchmark's findings, as `write` puts them out."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def row(self, **facts: Any) -> None:
        self.rows.append(facts)

    def target(self, name: str, *, value: float, target: str, holds: bool) -> None:
        self.targets.append({"name": name, "value": value, "target": target, "holds": bool(holds)})

    def write(self, path: Path | None) -> None:
        from hetagent.machine import cpu

        facts = {
            "machine": {**cpu(), "platform": platform.platform()},
            "date": date.today().isoformat(),
            "versions": {"python": platform.python_version(), **_versions()},
            "rows": self.rows,
            "targets": self.targets,
        }
        if path is not None:
            path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        _print(facts)


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve, with a 95% bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float
    n: int
    positives: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def auroc(scores: Sequence[float], correct: Sequence[bool], *, draws: int = 2000) -> Auroc:
    """How well a score tells right from wrong: P(score of a right one > that of a wrong one).

    The interval is the percentile bootstrap's over cases (Efron 1979), with a fixed seed.
    """
    values, labels = np.asarray(scores, float), np.asarray(correct, bool)
    point = _area(values, labels)
    generator = np.random.default_rng(0)
    areas = []
    for _ in range(draws):
        picked = generator.integers(0, len(values), len(values))
        area = _area(values[picked], labels[picked])
        if not np.isnan(area):
            areas.append(area)
    low, high = np.percentile(areas, [2.5, 97.5]) if areas else (float("nan"), float("nan"))
    return Auroc(point, float(low), float(high), len(values), int(labels.sum()))


def _area(values: np.ndarray, labels: np.ndarray) -> float:
    """The Mann-Whitney statistic, ties counting one half."""
    right, wrong = values[labels], values[~labels]
    if not len(right) or not len(wrong):
        return float("nan")
    order = np.sort(wrong)
    below = np.searchsorted(order, right, side="left")
    upto = np.searchsorted(order, right, side="right")
    return float((below + upto).sum() / 2 / (len(right) * len(wrong)))


def risk_at(scores: Sequence[float], correct: Sequence[bool], coverage: float) -> float:
    """Error rate among the most confident share of answers."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    kept = order[: max(1, round(coverage * len(order)))]
    return float(1 - np.asarray(correct, bool)[kept].mean())


def data_folder(name: str) -> Path:
    """A folder of the shared data sets.

    Raises:
        CannotMeasureError: It is not here.
    """
    named = os.environ.get("HETAGENT_DATA")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    folder = root / name
    if not folder.is_dir():
        raise CannotMeasureError(
            f"The data set {name} is not at {root}. Name the folder that holds it with "
            "HETAGENT_DATA; docs/performance.md says where it comes from."
        )
    return folder


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here as JSON")
    return parser


def main(measure: Any, parser: argparse.ArgumentParser) -> None:
    """Measure and report; exits non-zero only where nothing could be measured."""
    options = parser.parse_args()
    report = Report()
    try:
        measure(report, options)
    except CannotMeasureError as error:
        sys.exit(f"cannot measure: {error}")
    report.write(options.json)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=110)
    for kind in dict.fromkeys(row["part"] for row in facts["rows"]):
        rows = [row for row in facts["rows"] if row["part"] == kind and not row.get("raw")]
        table = Table(title=kind, title_justify="left", box=None, pad_edge=False)
        keys = [key for key in dict.fromkeys(k for row in rows for k in row) if key != "part"]
        for key in keys:
            table.add_column(key)
        for row in rows:
            table.add_row(*[_cell(row.get(key)) for key in keys])
        console.print(table, "")
    table = Table(title="targets", title_justify="left", box=None, pad_edge=False)
    for name in ("name", "value", "target", "holds"):
        table.add_column(name)
    for target in facts["targets"]:
        table.add_row(*[_cell(target[key]) for key in ("name", "value", "target", "holds")])
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
