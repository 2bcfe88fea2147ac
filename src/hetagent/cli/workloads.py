"""``hetagent workloads``: the tasks that recorded calls repeat; one of them as a skill's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetagent.cli.options import JsonOption, RecordsOption, model_named
from hetagent.cli.progress import told_stages
from hetagent.cli.workloads_shown import print_list, print_one
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.names import Namer

__all__ = ["app", "workloads_of"]

app = typer.Typer(name="workloads", help="Find the tasks that an agent's calls repeat.")

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
    records: RecordsOption = None,
    saved: _Saved = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep them in this folder, to assign new calls.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing to the store or beside it.")
    ] = False,
    namer: Annotated[
        str | None, typer.Option("--namer", help="A model that names them; default: by terms.")
    ] = None,
    interactive: _Interactive = False,
    as_json: JsonOption = False,
) -> None:
    """Find the workloads of recorded calls, and list them, the largest first.

    In a store each record is told which one it is of, and what was found is kept beside it, so
    that `hetagent workloads assign` knows new calls.
    """
    if context.invoked_subcommand is not None:
        return
    if saved is not None:
        found = _load(saved, records)
    else:
        found = _find(records, interactive=interactive, namer=namer, dry_run=dry_run, quiet=as_json)
    if save is not None:
        found.save(save)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        print_list(found)


@app.command("assign")
def assign_calls(
    *,
    records: Annotated[
        str | None,
        typer.Option(
            "--records", help="The store; default: $HETAGENT_RECORDS, else the user's own."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Assign all records anew, not only those of none.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Assign a store's new records to the workloads that were found in it before."""
    from hetagent.learn.cluster.kept import assign_workloads

    with told_stages(quiet=as_json) as progress:
        done = assign_workloads(records, again=again, progress=progress)
    if as_json:
        data = {
            "records": done.records,
            "workloads": dict(done.workloads),
            "unassigned": done.unassigned,
            "left_out": dict(done.left_out),
        }
        typer.echo(json.dumps(data))
        return
    for name, count in done.workloads.items():
        typer.echo(f"{count:,} of {name}.")
    typer.echo(f"{done.unassigned:,} of {done.records:,} records are of none.")
    for why, count in done.left_out.items():
        typer.echo(f"{count:,} left out: {why}.")


@app.command("show")
def show_workload(
    name: _Name,
    *,
    records: RecordsOption = None,
    saved: _Saved = None,
    interactive: _Interactive = False,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of one workload; of a store's, as it was found before."""
    workload = workloads_of(records, saved, interactive=interactive, quiet=as_json)[name]
    if as_json:
        typer.echo(json.dumps(workload.to_dict(), indent=2, ensure_ascii=False))
    else:
        print_one(workload)


@app.command("export")
def export_workload(
    name: _Name,
    *,
    records: RecordsOption = None,
    saved: _Saved = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; NAME.py unless told, - for stdout.")
    ] = None,
    interactive: _Interactive = False,
) -> None:
    """Write a Python file that declares the workload as a skill."""
    from hetagent.files import write_whole
    from hetagent.learn.cluster.export import export
    from hetagent.learn.cluster.slots import slug

    source = export(workloads_of(records, saved, interactive=interactive)[name])
    target = out or Path(f"{slug(name)}.py")
    if str(target) == "-":
        typer.echo(source, nl=False)
        return
    try:
        write_whole(target, source)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}.", hint="Check --out.") from error
    typer.echo(f"Wrote {target}.")


@app.command("rows")
def write_rows(
    name: _Name,
    *,
    records: RecordsOption = None,
    saved: Annotated[
        Path | None,
        typer.Option("--saved", help="A folder that --save wrote: the workloads of the records."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file; - for stdout.")],
    interactive: _Interactive = False,
    as_json: JsonOption = False,
) -> None:
    """Write a workload's calls as labelled JSON lines, by time.

    They are for the skill that `hetagent workloads export` writes of it: `hetagent tune` and
    `hetagent calibrate` take them.
    """
    from hetagent.cli.workloads_rows import lines_of
    from hetagent.files import write_whole
    from hetagent.integrations.sources import record_source

    found = (
        _load(saved, None)
        if saved is not None
        else workloads_of(records, interactive=interactive, quiet=as_json)
    )
    with record_source(*(records or ())) as source:
        lines, left_out = lines_of(found, name, source, interactive=interactive)
    text = "".join(f"{line}\n" for line in lines)
    if str(out) == "-":
        typer.echo(text, nl=False)
        return
    try:
        write_whole(out, text)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error}.", hint="Check --out.") from error
    if as_json:
        typer.echo(json.dumps({"rows": len(lines), "left_out": left_out}))
        return
    typer.echo(f"Wrote {len(lines):,} rows to {out}.")
    for why, count in left_out.items():
        typer.echo(f"{count:,} left out: {why}.")


def workloads_of(
    records: list[str] | None,
    saved: Path | None = None,
    *,
    interactive: bool = False,
    quiet: bool = False,
) -> Workloads:
    """Workloads that were found before, in a folder or beside a store; else those of some files.

    Raises:
        InputError: Both are given, or a file cannot be read.
        StoreError: There are none.
    """
    from hetagent.learn.cluster.kept import found_before

    if saved is not None:
        return _load(saved, records)
    if _one_store(records):
        return found_before(_place(records)).workloads
    return _find(records, interactive=interactive, dry_run=True, quiet=quiet)


def _load(saved: Path, records: list[str] | None) -> Workloads:
    from hetagent.learn.cluster import Workloads

    if records:
        raise InputError(
            "Both --records and --saved are given.",
            hint="Records are searched for workloads; --saved names a folder with those found "
            "before.",
        )
    return Workloads.load(saved)


def _find(
    records: list[str] | None,
    *,
    interactive: bool,
    dry_run: bool,
    namer: str | None = None,
    quiet: bool,
) -> Workloads:
    from hetagent.integrations.sources import record_source
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.kept import find_workloads

    named = _namer(namer)
    with told_stages(quiet=quiet) as progress:
        if _one_store(records) and not dry_run:
            return find_workloads(
                _place(records), interactive=interactive, namer=named, progress=progress
            )
        with record_source(*(records or ()), assigned=False) as source:
            return Workloads.fit(source, interactive=interactive, namer=named, progress=progress)


def _namer(name: str | None) -> Namer | None:
    from hetagent.learn.cluster.names import by_model

    return None if name is None else by_model(model_named(name))


def _one_store(records: list[str] | None) -> bool:
    """Whether it is one store, which can be told what was found."""
    from hetagent.integrations.sources import kind_of

    return not records or (len(records) == 1 and kind_of(records[0]) == "store")


def _place(records: list[str] | None) -> str | None:
    return records[0] if records else None
