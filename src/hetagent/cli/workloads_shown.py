"""How workloads look on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.workload import Workload

__all__ = ["print_list", "print_one"]


def print_list(found: Workloads) -> None:
    """A table of all, the largest first, and what is not in it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("workload", no_wrap=True)
    for head in ("calls", "share", "tokens", "cost"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("answers")
    table.add_column("verdict")
    for one in found:
        table.add_row(
            Text(one.name),
            f"{one.size:,}",
            f"{one.share:.1%}",
            f"{one.token_share:.1%}" if one.tokens else "-",
            f"{one.cost_share:.1%}" if one.cost_usd else "-",
            Text(_answers(one)),
            Text(one.verdict.in_words, style="green" if one.verdict.narrow else "yellow"),
        )
    console = Console(highlight=False)
    # A pipe has no width of its own, and wrapped lines would be of no use to grep.
    (console if console.is_terminal else Console(width=140, highlight=False)).print(table)
    share = found.unassigned / max(1, found.total)
    console.print(f"\n{found.unassigned:,} of {found.total:,} calls ({share:.1%}) are of none.")
    console.print(f"{found.narrow_share:.1%} of them all are of workloads that look narrow.")
    for line in _left_out(found):
        console.print(line, soft_wrap=True)


def _left_out(found: Workloads) -> Iterator[str]:
    """What conversion does not take, in words."""
    people, vectors = found.left_out.get("interactive", 0), found.left_out.get("embeddings", 0)
    if people:
        yield f"Left out: {people:,} calls in which a person talks with the model (--interactive)."
    if vectors:
        yield f"Left out: {vectors:,} embeddings."
    barred, unknown = found.trainable.get("no-train", 0), found.trainable.get("unknown", 0)
    said = [f"{barred:,} answers may not train a model"] if barred else []
    said += (
        [f"of {unknown:,} answers it is not known whether they may train one"] if unknown else []
    )
    if said:
        yield f"{'; '.join(said).capitalize()}. `hetagent curate` leaves them out by default."


def _answers(one: Workload) -> str:
    output = one.output
    match output.kind:
        case "labels":
            return f"{len(output.labels)} labels"
        case "tools":
            return f"{len(output.tools)} tools" if output.tools else "any tool offered"
        case "json":
            return "JSON"
        case "text":
            return f"text, {output.words:.0f} words"


def print_one(one: Workload) -> None:
    """All that is known of one."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    wordings = "1 wording" if one.wordings == 1 else f"{one.wordings} wordings"
    console.print(f"[bold]{escape(one.name)}[/]: {one.size:,} calls ({one.share:.1%}), {wordings}")
    console.print(f"{one.verdict.in_words}:")
    for reason in one.verdict.reasons:
        console.print(f"  {escape(reason)}")
    if one.instructions:
        console.print("\n[dim]instructions[/]")
        console.print(escape(one.instructions))
    console.print("\n[dim]inputs[/]")
    for slot in one.inputs:
        shown = "; ".join(slot.options or slot.examples)
        console.print(f"  {slot.name}: {slot.type}  [dim]{escape(shown[:200])}[/]")
    console.print(f"\n[dim]answers[/] {escape(_answers(one))}")
    if one.output.labels:
        console.print(f"  {escape(', '.join(list(one.output.labels)[:40]))}")
    if one.output.schema:
        console.print(f"  {escape(json.dumps(one.output.schema, ensure_ascii=False))}")
    if one.example is not None:
        console.print("\n[dim]an example[/]")
        for name, value in one.example.inputs.items():
            console.print(f"  {name}: {escape(value[:500])}")
        console.print(f"  → {escape(one.example.answer[:500])}")
    console.print("\n[dim]over time[/]")
    for period in one.drift:
        moved = "-" if period.distance is None else f"{period.distance:.3f}"
        console.print(
            f"  {period.start}  {period.calls:,} calls  {period.share:.1%}  moved {moved}"
        )
