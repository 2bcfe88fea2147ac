"""How certificates look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from hetagent.calibrate.certificate import Certificate, Part

__all__ = ["counts", "parts_table", "refusals"]


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
    """A row for the whole value and each field: what is accepted, and how good confidences are.

    "At most" is the upper bound of the error rate, at the certificate's confidence. Where a figure
    has two values, they are those of the raw confidences and of the calibrated ones.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in ("accepted\nfrom", "coverage", "wrong", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("calibration\nerror", "log loss", "AUROC"):
        table.add_column(name, justify="right", style="dim", no_wrap=True)
    for path, part in certificate.parts.items():
        table.add_row(Text(path or "whole"), *_promised(part), *_measured(part))
    return table


def refusals(certificate: Certificate) -> list[str]:
    """Why nothing is promised, of each part of which that is so."""
    return [
        certificate.in_words(path)
        for path, part in certificate.parts.items()
        if part.threshold is None
    ]


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
        _change(raw.calibration_error, calibrated.calibration_error),
        _change(raw.log_loss, calibrated.log_loss),
        _change(raw.auroc, calibrated.auroc),
    )


def _change(before: float | None, after: float | None) -> str:
    """A figure of the raw confidences, and of the calibrated ones where it is another."""
    old, new = ("-" if one is None else f"{one:.3f}" for one in (before, after))
    return old if old == new else f"{old}→{new}"
