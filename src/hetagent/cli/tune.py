"""``hetagent tune``: trains an adapter for a skill of the user's own on labelled examples."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetagent.cli.calibrate import labelled
from hetagent.cli.options import JsonOption, SlmOption
from hetagent.errors import SkillError
from hetagent.models.catalog import DEFAULT_SLM

if TYPE_CHECKING:
    from hetagent.learn.tune.loop import Progress
    from hetagent.learn.tune.run import Tuned

__all__ = ["EPILOG", "merge_adapter", "tune"]

EPILOG = (
    'A line of the file is {"input": ..., "label": ...} or [input, label]. Interrupted, the same '
    "command goes on where it was. Run the result with: hetagent run MODULE:NAME --slm MODEL "
    "--adapter OUT/adapter.gguf. Exit codes: 0 tuned; 1 tuned, and llama.cpp does not compute with "
    "it what was trained; 2 it could not be; 130 interrupted."
)
"""What the help ends with."""


def tune(
    skill: Annotated[str, typer.Argument(help="Where the skill is, as MODULE:NAME.")],
    file: Annotated[Path, typer.Argument(help="Labelled JSON lines; - for stdin.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the adapter.")],
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Labelled lines to stop by; default: a tenth of the file."),
    ] = None,
    slm: SlmOption = None,
    epochs: Annotated[float, typer.Option(help="How often each example is seen.")] = 3.0,
    rank: Annotated[int, typer.Option(help="Of the low-rank terms.")] = 16,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate; default: by the model's width.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Most time to train; fewer epochs where it is short.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a small model's adapter for one skill, on what this machine has."""
    from hetagent.cli.run import find_skill
    from hetagent.learn.tune.run import tune as tuned_skill
    from hetagent.learn.tune.settings import TuneSettings
    from hetagent.models.llamacpp import LlamaCpp

    settings = TuneSettings(epochs=epochs, rank=rank, rate=rate, minutes=minutes, seed=seed)
    found = find_skill(skill)
    examples = labelled(found, file)
    held = labelled(found, check) if check is not None else None
    model = found.model or LlamaCpp(slm or DEFAULT_SLM)
    if not isinstance(model, LlamaCpp):
        raise SkillError(
            f"{found.name} is bound to {model.name}, whose weights are not at hand.",
            hint="Name a local model: --slm.",
        )
    with model, _told(quiet=as_json) as tell:
        result = tuned_skill(
            found, examples, to=out, model=model, check=held, settings=settings, tell=tell
        )
    if as_json:
        facts = json.loads((result.folder / "tuned.json").read_text(encoding="utf-8"))
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        _print(result)
    raise typer.Exit(0 if result.agreement.holds else 1)


def merge_adapter(
    name: Annotated[str, typer.Argument(help="The base: a catalogue name or .gguf path.")],
    adapter: Annotated[Path, typer.Argument(help="LoRA weights for it, in GGUF.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="The .gguf file to write.")],
    kind: Annotated[str, typer.Option("--type", help="Type of its weights.")] = "q8_0",
    as_json: JsonOption = False,
) -> None:
    """Make an adapter part of its base: one file, read faster than two."""
    from hetagent.cli.progress import told_progress
    from hetagent.learn.tune.merge import merge
    from hetagent.models.fetch import resolve

    base = resolve(name, progress=False if as_json else None)
    with told_progress("requantising", None, quiet=as_json) as tell:
        path = merge(
            base, adapter, to=out, kind=kind, on_progress=lambda done, _: tell and tell(done)
        )
    size = path.stat().st_size
    if as_json:
        sys.stdout.write(json.dumps({"path": str(path), "bytes": size}) + "\n")
    else:
        typer.echo(f"Written to {path}, {size / 1e6:.0f} MB. Use it: --slm {path}")


@contextmanager
def _told(*, quiet: bool) -> Iterator[Callable[[str, Progress | None], None]]:
    """The stage, the step, the losses and the time left, on a terminal; else nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda stage, progress: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None, facts="")

        def tell(stage: str, progress: Progress | None) -> None:
            if progress is None:
                bar.update(task, description=stage, total=None, facts="")
                return
            facts = f"loss {progress.loss:.3f}"
            if progress.evaluation is not None:
                facts += f", {progress.evaluation.exact:.1%} exact of those held out"
            facts += f", {_minutes(progress.seconds_left)} left"
            bar.update(
                task, description=stage, completed=progress.done, total=progress.steps, facts=facts
            )

        yield tell


def _print(result: Tuned) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    history, facts, compared = result.history, result.facts, result.agreement
    best = next(one for one in history.evaluations if one.step == history.best)
    console.print(
        f"Learned {facts['learned']:,} examples in {_minutes(history.seconds)} "
        f"({history.examples / max(1e-9, history.seconds):.0f} examples/s), stopped by "
        f"{history.stopped}.",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("step", "confidence loss", "exact"):
        table.add_column(column, justify="right")
    for one in history.evaluations:
        kept = "bold" if one.step == best.step else "dim"
        table.add_row(f"{one.step:,}", f"{one.loss:.4f}", f"{one.exact:.1%}", style=kept)
    console.print(table)
    console.print(
        f"llama.cpp and PyTorch differ by {compared.adapted:.1%} of the logits with the adapter, "
        f"{compared.base:.1%} without"
        + ("." if compared.holds else ": too much. Do not use it, and report this."),
        markup=False,
    )
    console.print(f"Written to {result.adapter}.", markup=False)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
