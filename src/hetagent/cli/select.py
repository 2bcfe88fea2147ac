"""``hetagent select``: races models on labelled examples, and says which is to serve a skill."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hetagent.cli.calibrate import labelled
from hetagent.cli.options import JsonOption

__all__ = ["EPILOG", "select"]

EPILOG = (
    'A line of the file is {"input": ..., "label": ...} or [input, label]. The share right has its '
    "95% interval (Wilson); p50 and p95 are of single calls one after the other, calls/s of many "
    "at once. Interrupted, the same command with the same --out goes on where it was. Exit codes: "
    "0 a model was chosen; 1 none could be; 2 they could not be measured; 130 interrupted."
)
"""What the help ends with."""


def select(
    skill: Annotated[str, typer.Argument(help="Where the skill is, as MODULE:NAME.")],
    file: Annotated[Path, typer.Argument(help="Labelled JSON lines; - for stdin.")],
    *,
    validate: Annotated[
        Path | None,
        typer.Option(
            "--validate",
            help="Labelled lines to judge by; default: 30% of the file, at most 2,000.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="Race this: a catalogue name or .gguf path. Default: the catalogue."
        ),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch models that are not on this machine.")
    ] = False,
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Allow this licence; may be repeated.")
    ] = None,
    outputs_train: Annotated[
        bool, typer.Option("--outputs-train", help="Only models whose outputs may train others.")
    ] = False,
    context: Annotated[
        int | None, typer.Option("--context", help="Tokens it must hold.", min=1)
    ] = None,
    memory_mb: Annotated[
        float | None, typer.Option("--memory-mb", help="Memory it may take.", min=1)
    ] = None,
    p95: Annotated[
        float | None, typer.Option("--p95", help="Seconds that 95% of calls may take.", min=0)
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option("--language", help="It must know this one, such as de.")
    ] = None,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="Only models that were trained to reason.")
    ] = False,
    examples: Annotated[
        int, typer.Option("--examples", help="Examples shown at each call; 0: none.", min=0)
    ] = 5,
    tune: Annotated[
        int, typer.Option("--tune", help="How many of the best are tuned; needs --out.", min=0)
    ] = 1,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Most time to train each of them.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", help="The loss that speed is worth: 0.01 is one point.")
    ] = 0.01,
    usd_per_hour: Annotated[
        float | None, typer.Option("--usd-per-hour", help="What this machine costs.", min=0)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for adapters and measurements.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Race small models, as they are, shown examples and tuned, and a plain classifier.

    All answer the same rows; the worse half is dropped after 32, 128 and 512 of them, and only the
    best are tuned. The fastest that is shown to be as good as the best, within the margin, is
    chosen.
    """
    from hetagent.cli.progress import told_stages
    from hetagent.cli.run import find_skill
    from hetagent.learn.select.limits import Limits
    from hetagent.learn.select.run import select as selected
    from hetagent.learn.select.settings import SelectSettings

    settings = SelectSettings(
        models=tuple(model) if model else None,
        fetch=fetch,
        limits=Limits(
            licences=frozenset(licence) if licence else None,
            outputs_train=outputs_train,
            context=context,
            memory_bytes=None if memory_mb is None else round(memory_mb * 1e6),
            p95_seconds=p95,
            languages=frozenset(language or ()),
            reasoning=reasoning,
        ),
        examples=examples,
        tune=tune,
        minutes=minutes,
        margin=margin,
        usd_per_hour=usd_per_hour,
        seed=seed,
    )
    found = find_skill(skill)
    learn = labelled(found, file)
    judged = None if validate is None else labelled(found, validate)
    with told_stages(quiet=as_json) as tell:
        result = selected(
            found,
            learn,
            validate=judged,
            settings=settings,
            to=out,
            tell=tell or (lambda stage, done, total: None),
        )
    if as_json:
        sys.stdout.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
    else:
        from hetagent.cli.select_shown import print_race

        print_race(result, out=out)
    raise typer.Exit(0 if result.choice else 1)
