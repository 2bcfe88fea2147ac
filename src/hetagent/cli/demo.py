"""``hetagent demo``: prints what the demonstration found."""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, Literal

from hetagent.cli.options import model_named
from hetagent.demo import report
from hetagent.models.base import Model
from hetagent.models.catalog import DEFAULT_LLM, DEFAULT_SLM
from hetagent.outcome import Outcome
from hetagent.policy import Threshold

__all__ = ["run_demo"]

_WAYS = {"slm": "SLM alone", "llm": "LLM alone", "both": "SLM, then LLM"}


def run_demo(
    *,
    slm: str | None,
    llm: str | None,
    no_llm: bool,
    file: Path | None,
    limit: int | None,
    threshold: float | None,
    escalate: Literal["whole", "fields"],
    as_json: bool,
) -> None:
    """Run the demonstration and print it.

    Raises:
        HetagentError: A model or file cannot be used.
    """
    messages = (report.read(file) if file else report.bundled())[:limit]
    small = model_named(slm or DEFAULT_SLM)
    large = None if no_llm else model_named(llm or DEFAULT_LLM)
    policy = None if threshold is None else Threshold(threshold)
    began = time.perf_counter()
    found = report.run(messages, slm=small, llm=large, policy=policy, escalate=escalate)
    seconds = time.perf_counter() - began
    if as_json:
        facts = {
            "date": date.today().isoformat(),
            "machine": _machine(),
            "slm": small.name,
            "llm": large.name if large else None,
            "thresholds": threshold if threshold is not None else dict(report.THRESHOLDS),
            "seconds": seconds,
        }
        sys.stdout.write(json.dumps({**facts, **found.to_dict()}, ensure_ascii=False) + "\n")
        return
    _print_messages(found)
    _print_summary(found, small, large)


def _machine() -> dict[str, Any]:
    from hetagent.machine import cpu

    return cpu()


def _print_messages(found: report.DemoRun) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hetagent.cli.style import confidence_text, seconds_text, served_text, value_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False, expand=True)
    table.add_column("message", ratio=5)
    for skill in report.SKILLS:
        table.add_column(skill.name, ratio=4)
    table.add_column("time", justify="right", no_wrap=True)
    for index, message in enumerate(found.messages):
        cells = []
        seconds = 0.0
        for skill in report.SKILLS:
            outcome = found.outcomes[skill.name][index]
            seconds += outcome.seconds
            cells.append(
                Text.assemble(
                    value_text(outcome),
                    " ",
                    confidence_text(_confidence(outcome)),
                    " ",
                    served_text(outcome),
                )
            )
        table.add_row(Text(message.text), *cells, seconds_text(seconds))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "Each cell: the value, its confidence, and who served it "
        "([green]slm[/], [magenta]llm[/], [cyan]both[/] or [red]none[/]: "
        "[dim](the draft?)[/] was not sure enough).\n"
    )


def _confidence(outcome: Outcome[Any]) -> float | None:
    """That of the value, or of the draft where nobody served one."""
    if outcome.served_by == "none" and outcome.draft is not None:
        return outcome.draft.confidence
    return outcome.confidence


def _print_summary(found: report.DemoRun, slm: Model, llm: Model | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for skill in report.SKILLS:
        table.add_column(skill.name, justify="right")
    for name in ("all", "seconds", "cost", "LLM calls"):
        table.add_column(name, justify="right")
    for way in found.tallies["all"]:
        total = found.tallies["all"][way]
        shares = [found.tallies[skill.name][way].agreement for skill in report.SKILLS]
        cost = "?" if total.cost_usd is None else f"${total.cost_usd:.4f}"
        table.add_row(
            _WAYS[way],
            *[_percent(share) for share in (*shares, total.agreement)],
            f"{total.seconds:.1f}",
            cost,
            str(total.llm_calls),
        )
    console = Console(highlight=False)
    console.print("Agreement with the labels, and what it took", style="bold")
    console.print(table)
    console.print(f"SLM: {slm.name}.  LLM: {llm.name if llm else 'none'}.")
    console.print(f"{_percent(found.served_by_slm)} of the answers were served by the SLM.")
    if found.reasons:
        reasons = ", ".join(
            f"{count} for {reason.replace('_', ' ')}" for reason, count in found.reasons.items()
        )
        console.print(f"Not served by the SLM: {reasons}.")
    console.print(
        "\nSmall models that nobody tuned for the task escalate much, and are often wrong where "
        "they do not. The thresholds here were picked by hand and promise nothing.",
        style="dim",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
