"""``hetagent curate``: from call records to a dataset, with what each step removed and why."""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hetagent.cli.options import JsonOption
from hetagent.cli.progress import told_stages
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.curate.dataset import Dataset
    from hetagent.learn.curate.recipe import Recipe

__all__ = ["EPILOG", "curate_records"]

EPILOG = (
    "Options change what the recipe says; a recipe is a JSON file, or the dataset it made. "
    "Exit codes: 0 a dataset was made, or made again alike; 1 nothing was left, or --replay made "
    "another one; 2 it could not be made; 130 interrupted."
)
"""What the help ends with."""


def curate_records(
    records: Annotated[
        list[str] | None,
        typer.Argument(
            help="A store, a log that can be imported, or a Parquet export with text. Default: "
            "$HETAGENT_RECORDS, else the user's own store.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", help="The dataset's folder.")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="A recipe's file, or a dataset's folder.")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", help="Make this dataset again, and compare content hashes."),
    ] = None,
    workload: Annotated[
        str | None, typer.Option("--workload", help="Only records of this workload.")
    ] = None,
    trainable: Annotated[
        list[str] | None,
        typer.Option("--trainable", help="trainable, unknown or no-train; may be repeated."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Take calls that a person talks in, too.")
    ] = False,
    unredacted: Annotated[
        bool, typer.Option("--unredacted", help="Take records that were never redacted, too.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Texts of evaluations that no example may repeat."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Similarity of near-duplicates; 0 leaves them in."),
    ] = None,
    by: Annotated[
        Literal["time", "conversation"] | None, typer.Option("--by", help="How splits are parted.")
    ] = None,
    validation: Annotated[
        float | None, typer.Option("--validation", help="Share of the validation split.")
    ] = None,
    test: Annotated[float | None, typer.Option("--test", help="Share of the test split.")] = None,
    across: Annotated[
        Literal["earlier", "drop"] | None,
        typer.Option("--across", help="What becomes of near-duplicates in two splits."),
    ] = None,
    balance: Annotated[
        Literal["none", "weight", "cap"] | None,
        typer.Option("--balance", help="What is done about common answers."),
    ] = None,
    cap: Annotated[
        int | None, typer.Option("--cap", help="Examples of a class of answers.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="A dataset that is there gives way.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset of call records: checked, without copies, balanced, in three splits.

    Prints what each step removed and why. Nothing is written but the dataset's folder, and that
    whole or not at all.
    """
    if (out is None) == (replay is None):
        raise InputError(
            "A dataset is made or made again.", hint="Give --out FOLDER, or --replay FOLDER."
        )
    changes = {
        "workload": workload,
        "trainable": trainable,
        "interactive": interactive or None,
        "unredacted": unredacted or None,
        "against": [str(one) for one in against] if against else None,
        "near": None if not threshold else {"threshold": threshold},
        "split": {"by": by, "validation": validation, "test": test, "across": across},
        "balance": {"how": "cap" if cap is not None else balance, "cap": cap},
    }
    if out is None:
        assert replay is not None  # one of them is given
        if recipe is not None or threshold is not None or any(map(_says, changes.values())):
            raise InputError(
                "A dataset is made again by its own recipe.",
                hint="Leave the options of recipes out, or make another one with --out.",
            )
        _replay(records or [], replay, as_json=as_json)
        return
    known = _recipe(recipe, changes, without_near=threshold == 0)
    dataset = _made(records or [], known, out, replace=replace, quiet=as_json)
    if as_json:
        sys.stdout.write(json.dumps(_data(dataset), indent=1) + "\n")
    else:
        _print(dataset)
    raise typer.Exit(0 if len(dataset) else 1)


def _says(change: Any) -> bool:
    return any(map(_says, change.values())) if isinstance(change, dict) else change is not None


def _recipe(file: Path | None, changes: dict[str, Any], *, without_near: bool) -> Recipe:
    """What the file says, with the options that were given in the place of its values."""
    from hetagent.learn.curate.recipe import Recipe

    data = (Recipe.load(file) if file is not None else Recipe()).to_dict()
    for name, value in changes.items():
        if isinstance(value, dict):
            given = {key: one for key, one in value.items() if one is not None}
            if "how" in given:
                data[name]["cap"] = None
            data[name] = {**(data[name] or {}), **given} if given else data[name]
        elif value is not None:
            data[name] = value
    if without_near:
        data["near"] = None
    return Recipe.from_dict(data)


def _made(
    places: list[str],
    recipe: Recipe,
    out: Path,
    *,
    replace: bool,
    quiet: bool,
    until: datetime | None = None,
) -> Dataset:
    from hetagent.integrations.sources import record_source
    from hetagent.learn.curate import curate

    with record_source(*places, until=until) as records, told_stages(quiet=quiet) as progress:
        return curate(
            records,
            recipe,
            to=out,
            sources=records.facts(),
            replace=replace,
            on_progress=progress,
        )


def _replay(places: list[str], folder: Path, *, as_json: bool) -> None:
    """Make a dataset again; of a store only what was there when it was made."""
    from hetagent.learn.curate.dataset import Dataset
    from hetagent.learn.source import until_of

    old = Dataset.load(folder)
    until = until_of(old.sources)
    with tempfile.TemporaryDirectory(prefix=".replay.", dir=folder.resolve().parent) as work:
        out = Path(work) / "dataset"
        new = _made(places, old.recipe, out, replace=False, quiet=as_json, until=until)
    same = new.hash == old.hash
    if as_json:
        said = {"same": same, "hash": old.hash, "replayed": new.hash, "counts": dict(new.counts)}
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
    elif same:
        sys.stdout.write(f"The same: {old.hash}\n")
    else:
        sys.stdout.write(
            f"Not the same: {folder} is {old.hash} of {len(old):,} examples, made again it is "
            f"{new.hash} of {len(new):,}. Other records, or another version of hetagent "
            f"({old.version}, now {new.version}) or of rensa?\n"
        )
    raise typer.Exit(0 if same else 1)


def _data(dataset: Dataset) -> dict[str, Any]:
    return {
        "folder": str(dataset.folder),
        "hash": dataset.hash,
        "counts": dict(dataset.counts),
        "recipe": dataset.recipe.to_dict(),
        "sources": list(dataset.sources),
        "report": dataset.report.to_dict(),
    }


def _print(dataset: Dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step", no_wrap=True)
    for header in ("before", "removed", "after"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("why")
    for step in dataset.report.steps:
        why = ", ".join(f"{one.count:,} {reason}" for reason, one in step.reasons.items())
        numbers = [f"{count:,}" for count in (step.before, step.removed, step.after)]
        table.add_row(step.name, *numbers, why, style="" if step.removed else "dim")
    console = Console(highlight=False, markup=False)
    (console if console.is_terminal else Console(width=120, highlight=False)).print(table)
    counts = ", ".join(f"{name} {count:,}" for name, count in dataset.counts.items())
    lines = [f"{dataset.folder}: {counts}.", f"Content hash {dataset.hash}"]
    for line in (*dataset.report.warnings, *lines):
        console.print(line, soft_wrap=True)
