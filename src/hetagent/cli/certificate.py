"""How certificates look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from hetagent.calibrate.certificate import Certificate, Part

__all__ = ["counts", "parts_table", "percent", "refusals"]


def counts(certificate: Certificate) -> str:
    """How many labels there were, and what each was for."""
    testing = certificate.labels - certificate.fitted - certificate.unusable
    words = (
        f"{certificate.labels} labelled examples, {certificate.fitted} to fit confidences with and "
        f"{testing} to certify with"
    )
    if certificate.unusable:
        words += f"; {certificate.unusable} got no valid answer and would always escalate"
    return f"{words}."


def parts_table(certificate: Certificate) -> Table:
    """A row for the whole value and each field: what is accepted, and how good confidences are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    level = percent(certificate.confidence)
    for name in ("accepted from", "coverage", "wrong", f"at most, {level} sure"):
        table.add_column(name, justify="right")
    for name in ("calibration error", "log loss", "AUROC"):
        table.add_column(name, justify="right", style="dim")
    for path, part in certificate.parts.items():
        table.add_row(Text(path or "whole value"), *_promised(part), *_measured(part))
    return table


def refusals(certificate: Certificate) -> list[str]:
    """Why nothing is promised, of each part of which that is so."""
    return [
        certificate.in_words(path)
        for path, part in certificate.parts.items()
        if part.threshold is None
    ]


def percent(share: float) -> str:
    """A share with as many decimals as say something."""
    return f"{100 * share:.3g}%"


def _promised(part: Part) -> tuple[Text, ...]:
    if part.threshold is None:
        return (Text("nothing", style="red"), Text("0%"), Text("-"), Text("-"))
    return (
        Text(f"{part.least_confidence:.3f}", style="green"),
        Text(f"{part.coverage:.0%}"),
        Text(f"{part.errors} of {part.accepted}"),
        Text(f"{part.upper_bound:.1%}"),
    )


def _measured(part: Part) -> tuple[str, ...]:
    raw, calibrated = part.raw, part.calibrated
    return (
        f"{raw.calibration_error:.3f} → {calibrated.calibration_error:.3f}",
        f"{raw.log_loss:.3f} → {calibrated.log_loss:.3f}",
        f"{_rank(raw.auroc)} → {_rank(calibrated.auroc)}",
    )


def _rank(auroc: float | None) -> str:
    return "-" if auroc is None else f"{auroc:.3f}"
