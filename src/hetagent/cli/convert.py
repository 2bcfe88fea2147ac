"""``hetagent convert``: from recorded calls of a workload to a skill that answers them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hetagent.cli.options import JsonOption, RecordsOption
from hetagent.errors import InputError
from hetagent.models.catalog import DEFAULT_SLM

if TYPE_CHECKING:
    from hetagent.learn.cluster.workloads import Workloads
    from hetagent.learn.convert import Conversion, ConvertSettings
    from hetagent.registry import Registry

__all__ = ["EPILOG", "convert_workload"]

EPILOG = (
    "Interrupted at any point, the same command goes on where it was. What is promoted is served "
    "by hetagent serve --convert and by Orchestrator(registry=...), also by such as are running. "
    "Exit codes: 0 promoted; 1 not promoted: it stays in shadow, and the reasons are told; 2 it "
    "could not be converted; 130 interrupted."
)
"""What the help ends with."""


def convert_workload(
    *,
    records: RecordsOption = None,
    workload: Annotated[
        str | None,
        typer.Option("--workload", help="Which one; default: the only narrow one there is."),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option("--registry", help="Its folder; default: $HETAGENT_REGISTRY, else your own."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Folder for what is made on the way; default: convert-NAME."),
    ] = None,
    slm: Annotated[
        str, typer.Option("--slm", help="The small model: catalogue name or .gguf path.")
    ] = DEFAULT_SLM,
    max_error: Annotated[
        float, typer.Option("--max-error", help="Error rate to keep among the skill's answers.")
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option("--confidence", help="How surely that and the margin are kept.")
    ] = 0.95,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            help="Share of all calls that may be lost against the LLM; default: --max-error.",
        ),
    ] = None,
    mode: Annotated[
        Literal["live", "canary", "shadow"],
        typer.Option("--mode", help="What a skill that may serve is switched to."),
    ] = "live",
    share: Annotated[float, typer.Option("--share", help="Of the calls, for a canary.")] = 0.1,
    epochs: Annotated[float, typer.Option(help="How often each example is learned.")] = 3.0,
    minutes: Annotated[float | None, typer.Option(help="Most time to train.")] = None,
    trainable: Annotated[
        list[str] | None,
        typer.Option("--trainable", help="Also take answers of which this is said: unknown."),
    ] = None,
    unredacted: Annotated[
        bool, typer.Option("--unredacted", help="Take records that were never redacted, too.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Take calls that a person talks in, too.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of what is random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Convert a workload: curate, tune, certify, test on later calls, and promote if it may serve.

    The answers that are accepted without the LLM are wrong at most --max-error of the time; where
    the skill is not sure, the LLM is asked as before.
    """
    from hetagent.integrations.sources import record_source
    from hetagent.learn.convert import ConvertSettings, convert
    from hetagent.learn.tune.settings import TuneSettings
    from hetagent.registry import Registry

    settings = ConvertSettings(
        base=slm,
        tune=TuneSettings(epochs=epochs, minutes=minutes, seed=seed),
        max_error=max_error,
        confidence=confidence,
        margin=margin,
        mode=mode,
        share=share,
        permitted=_permitted(trainable),
        unredacted=unredacted,
        interactive=interactive,
        seed=seed,
    )
    target = Registry(registry)
    with record_source(*(records or ())) as source, _told(quiet=as_json) as tell:
        done = convert(
            source,
            registry=target,
            work=work or Path(f"convert-{_slug(workload)}"),
            workload=workload,
            workloads=_found_before(records),
            settings=settings,
            tell=tell,
        )
    if as_json:
        sys.stdout.write(json.dumps(_facts(done), ensure_ascii=False) + "\n")
    else:
        _print(done, target, settings)
    raise typer.Exit(0 if done.decision.promoted else 1)


def _permitted(given: list[str] | None) -> Any:
    if wrong := sorted(set(given or ()) - {"trainable", "unknown"}):
        raise InputError(
            f"--trainable {wrong[0]} cannot be.",
            hint="Say unknown where you know that those answers may train a model.",
        )
    return frozenset({"trainable", *(given or ())})


def _slug(workload: str | None) -> str:
    return re.sub(r"[^\w-]+", "-", workload) if workload else "workload"


def _found_before(records: list[str] | None) -> Workloads | None:
    """Workloads that were found in a store; ``None`` where they have to be looked for."""
    from hetagent.errors import StoreError
    from hetagent.integrations.sources import kind_of
    from hetagent.learn.cluster.kept import found_before

    if records and (len(records) > 1 or kind_of(records[0]) != "store"):
        return None
    try:
        return found_before(records[0] if records else None).workloads
    except StoreError:
        return None


@contextmanager
def _told(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar of the stage under way on a terminal, and a line for each stage elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda stage, done, total: None
        return
    if not console.is_terminal:
        told: list[str] = []

        def line(stage: str, done: int, total: int | None) -> None:
            if stage not in told[-1:]:
                told.append(stage)
                console.print(f"{stage} …", markup=False)

        yield line
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                for one in tasks.values():
                    bar.update(one, visible=False)
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done, total=total, visible=True)

        yield tell


def _facts(done: Conversion) -> dict[str, Any]:
    from hetagent.cli.registry_shown import state_data

    return {
        "workload": done.task.workload,
        "skill": done.task.name,
        "promoted": done.decision.promoted,
        "decision": done.decision.to_dict(),
        "binding": {"id": done.binding.id, **done.binding.to_dict()},
        "state": state_data(done.state),
        "economics": done.economics.to_dict(),
        "stages": [
            {"name": one.name, "seconds": one.seconds, "again": one.again, "result": one.result}
            for one in done.stages
        ],
    }


def _print(done: Conversion, registry: Registry, settings: ConvertSettings) -> None:
    from rich.console import Console
    from rich.table import Table

    from hetagent.cli.registry_shown import in_words

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, said in _lines(done):
        table.add_row(name, said)
    console.print(table)
    console.print()
    console.print(done.decision.explain(), markup=False)
    console.print(in_words(done.state), markup=False)
    if done.decision.promoted and settings.mode != "shadow":
        console.print("Serve it: hetagent serve --convert --upstream URL", style="dim")


def _lines(done: Conversion) -> Iterator[tuple[str, str]]:
    """What came of each stage, in words."""
    facts, by_name = done.binding.facts, {one.name: one for one in done.stages}
    rows = by_name["rows"].result["examples"]
    yield "workload", f"{done.task.workload}, as the skill {done.task.name}"
    yield (
        "calls",
        f"{sum(rows.values()):,}: {rows['train']:,} to learn from, {rows['validate']:,} to stop "
        f"by, {rows['calibrate']:,} to certify with, {rows['test']:,} later ones to decide on",
    )
    yield "tuned", f"{facts['base']}, in {_minutes(facts['training_seconds'])}"
    yield (
        "right",
        f"{facts['right']:.1%} of the later calls as the LLM has them, if it answered all",
    )
    yield (
        "served",
        f"{facts['coverage']:.1%} of them by the skill, {done.evaluation.wrong:,} of "
        f"{done.evaluation.accepted:,} wrong (certified: at most {facts['max_error']:.1%})",
    )
    yield (
        "speed",
        f"{facts['calls_per_second']:.1f} calls/s; alone {facts['p50_seconds'] * 1000:.0f} ms, "
        f"p95 {facts['p95_seconds'] * 1000:.0f} ms",
    )
    first, *others = done.economics.explain()
    yield "pays", first
    yield from (("", one) for one in others)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
