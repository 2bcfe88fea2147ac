"""``hetagent workloads``: the tasks that recorded calls repeat; one of them as a skill's file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetagent.cli.options import JsonOption, model_named
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.workload import Workload

__all__ = ["app"]

app = typer.Typer(name="workloads", help="Find the tasks that an agent's calls repeat.")

_Records = Annotated[
    list[Path] | None,
    typer.Option("--records", help="Call records, one in JSON on each line; several times if "
                 "need be."),
]  # fmt: skip
_Saved = Annotated[
    Path | None, typer.Option("--saved", help="A folder that --save wrote, instead of records.")
]
_Interactive = Annotated[
    bool, typer.Option("--interactive", help="Take calls of people who talk with a model, too.")
]
_Name = Annotated[str, typer.Argument(help="The workload's name, as the list has it.")]


@app.callback(invoke_without_command=True)
def list_workloads(
    context: typer.Context,
    *,
    records: _Records = None,
    saved: _Saved = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep them in this folder, to assign new calls.")
    ] = None,
    namer: Annotated[
        str | None, typer.Option("--namer", help="A model that names them; default: by terms.")
    ] = None,
    interactive: _Interactive = False,
    as_json: JsonOption = False,
) -> None:
    """List the workloads of some call records, the largest first."""
    if context.invoked_subcommand is not None:
        return
    found = _found(records, saved, interactive=interactive, namer=namer)
    if save is not None:
        found.save(save)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_list(found)


@app.command("show")
def show_workload(
    name: _Name,
    *,
    records: _Records = None,
    saved: _Saved = None,
    interactive: _Interactive = False,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of one workload."""
    workload = _found(records, saved, interactive=interactive)[name]
    if as_json:
        typer.echo(json.dumps(workload.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_one(workload)


@app.command("export")
def export_workload(
    name: _Name,
    *,
    records: _Records = None,
    saved: _Saved = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; NAME.py unless told, - for stdout.")
    ] = None,
    interactive: _Interactive = False,
) -> None:
    """Write a Python file that declares the workload as a skill."""
    from hetagent.learn.cluster_slots import slug
    from hetagent.learn.workload_export import export

    source = export(_found(records, saved, interactive=interactive)[name])
    target = out or Path(f"{slug(name)}.py")
    if str(target) == "-":
        typer.echo(source, nl=False)
        return
    try:
        target.write_text(source, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}.", hint="Check --out.") from error
    typer.echo(f"Wrote {target}.")


def _found(
    records: list[Path] | None, saved: Path | None, *, interactive: bool, namer: str | None = None
) -> Workloads:
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster_files import read_records
    from hetagent.learn.cluster_names import by_model

    if bool(records) == bool(saved):
        raise InputError(
            "Give --records or --saved."
            if not records
            else "Both --records and --saved are given.",
            hint="Records are searched for workloads; --saved names a folder with those found "
            "before.",
        )
    if saved is not None:
        return Workloads.load(saved)
    with _working("Reading records"):
        calls = list(read_records(records or []))
    with _working(f"Finding workloads in {len(calls):,} calls"):
        named = by_model(model_named(namer)) if namer else None
        return Workloads.fit(calls, interactive=interactive, namer=named)


def _working(label: str) -> Any:
    """Something that moves while one waits, on a terminal."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty()).status(f"{label} …")


def _print_list(found: Workloads) -> None:
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
            f"{one.token_share:.1%}",
            f"{one.cost_share:.1%}" if one.cost_usd else "-",
            Text(_answers(one)),
            Text(one.verdict.in_words, style="green" if one.verdict.narrow else "yellow"),
        )
    console = Console(highlight=False)
    console.print(table)
    share = found.unassigned / max(1, found.total)
    console.print(f"\n{found.unassigned:,} of {found.total:,} calls ({share:.1%}) are of none.")


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


def _print_one(one: Workload) -> None:
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
