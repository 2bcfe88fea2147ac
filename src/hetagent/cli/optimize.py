"""``hetagent models optimize``: weights, threads and batch sizes that suit this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from hetagent.cli.options import JsonOption
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.models.labelled import Labelled
    from hetagent.models.optimize_report import Measured, Report

__all__ = ["EPILOG", "optimize_model"]

EPILOG = (
    "The loss is the original's accuracy less the candidate's, on the same rows. The upper end of "
    "its one-sided score interval (Tango 1998), at --confidence, shared among the candidates, must "
    "be within --max-loss. With n rows that end is never under about 3/n for one candidate, and "
    "4.5/n for three: 300 rows can prove a loss of at most 0.01 of a single --type that changes "
    "next to no answer. --confidence 0 goes by the measured loss alone. Exit codes: 0 a variant "
    "was kept; 1 nothing was kept; 2 it could not be measured; 130 interrupted."
)
"""What the help ends with."""


def optimize_model(
    name: Annotated[str, typer.Argument(help="A catalogue name, hub reference or .gguf path.")],
    *,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--type", help="Try this type; may be repeated. Default: what suits the CPU."),
    ] = None,
    skill: Annotated[
        str | None, typer.Option("--skill", help="The skill of the labelled rows: MODULE:NAME.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help='Labelled JSON lines: {"input": …, "output": …}.'),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option("--max-loss", help="The accuracy that may be lost: 0.01 is one point."),
    ] = None,
    confidence: Annotated[
        float,
        typer.Option("--confidence", help="How surely the loss is within it; 0: as measured."),
    ] = 0.95,
    min_speedup: Annotated[
        float, typer.Option("--min-speedup", help="Keep only what is this many times as fast.")
    ] = 1.0,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Keep the fastest, its accuracy not measured.")
    ] = False,
    adapters: Annotated[
        list[Path] | None, typer.Option("--adapter", help="A LoRA adapter of the skill, in GGUF.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Calls under way at once.", min=1)
    ] = 8,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", help="A typical call's own input, in tokens.", min=0)
    ] = 32,
    answer_steps: Annotated[
        int, typer.Option("--answer-steps", help="Its decoding steps.", min=0)
    ] = 8,
    threads: Annotated[
        int | None, typer.Option("--threads", help="CPU threads; default: all.", min=1)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Keep the result as this .gguf file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Requantise a model for this CPU, and keep what is faster and accurate enough.

    Each type is compared with the original on this machine, in turns. With labelled rows, speed is
    the calls a second on them, and the fastest type whose loss of accuracy is within --max-loss is
    kept, as NAME@TYPE. Without, speed is the time of a typical call at the measured rates, and
    nothing is kept unless --unchecked.
    """
    from hetagent.engine.speed import TypicalCall
    from hetagent.models.optimize import Limits, optimize

    if prompt_tokens + answer_steps == 0:
        raise InputError("A call of no tokens takes no time.", hint="Give --prompt-tokens.")
    limits = Limits(max_loss, confidence, min_speedup, unchecked)
    labelled = _labelled(skill, file, concurrency)
    with _Stages(shown=not as_json) as stages:
        report = optimize(
            name,
            kinds=kinds or (),
            labelled=labelled,
            limits=limits,
            threads=threads,
            adapters=adapters or (),
            call=TypicalCall(prompt_tokens, answer_steps),
            output=output,
            on_progress=stages.at,
        )
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n")
    else:
        _print(report)
    raise typer.Exit(0 if report.kept else 1)


def _labelled(skill: str | None, file: Path | None, concurrency: int) -> Labelled | None:
    from hetagent.cli.run import find_skill
    from hetagent.models.labelled import read_labelled

    if (skill is None) != (file is None):
        raise InputError(
            "Labelled rows need both a skill and a file.",
            hint="Give --skill MODULE:NAME and --file ROWS.jsonl.",
        )
    if skill is None or file is None:
        return None
    return read_labelled(file, find_skill(skill), concurrency=concurrency)


class _Stages:
    """What is being done, on standard error: a bar on a terminal, a line a stage elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._stage = ""
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, stage: str, done: int, total: int) -> None:
        """Show a stage and how far it is."""
        if self._bar is not None:
            self._bar.update(self._task, description=stage, completed=done, total=total or None)
        elif self._shown and stage != self._stage:
            sys.stderr.write(f"{stage}\n")
        self._stage = stage


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("weights", no_wrap=True)
    for header in ("size", "prefill", "decode", "calls/s", "speed", "accuracy", "loss", "at most"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    for measured in (report.original, *report.candidates):
        table.add_row(*_row(measured))
    console = Console(highlight=False, markup=False)
    (console if console.is_terminal else Console(width=120, highlight=False)).print(table)
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def _row(measured: Measured) -> list[str]:
    loss = None if measured.pairs is None else measured.pairs.loss
    return [
        measured.kind,
        f"{measured.size_bytes / 1e6:.0f} MB",
        f"{measured.rates.prefill:.0f}/s",
        f"{measured.rates.decode:.0f}/s",
        _number(measured.calls_per_second, ".1f"),
        f"{measured.speedup:.2f}x",
        _number(measured.accuracy, ".3f"),
        _number(loss, "+.3f"),
        _number(measured.upper_loss, ".3f"),
        measured.verdict,
    ]


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _lines(report: Report) -> list[str]:
    tuned, call = report.suggestion, report.call
    lines = [f"{report.cpu}, {report.threads} threads, llama-cpp-python {report.llama_cpp}."]
    if report.skill is not None:
        lines.append(
            f"Speed: calls/s of {report.skill}. Accuracy: {report.rows} rows; a loss of at most "
            f"{report.max_loss} "
            + (f"with confidence {report.confidence}." if report.confidence else "as measured.")
        )
    else:
        lines.append(
            f"Speed: a call of {call.prefill} prompt tokens and {call.decode} decoding steps."
        )
    lines += report.notes
    lines.append(
        f"Suggested: LlamaCpp({report.kept or report.name!r}, threads={tuned.threads}, "
        f"batch={tuned.batch})"
    )
    lines.append(_result(report))
    return lines


def _result(report: Report) -> str:
    if report.kept is not None:
        return f"Kept as {report.kept} ({report.path})."
    verdicts = {candidate.verdict for candidate in report.candidates}
    if "not checked" in verdicts:
        return (
            "Nothing kept: accuracy was not checked. Give labelled rows (--skill, --file, "
            "--max-loss), or --unchecked to keep the fastest all the same."
        )
    if (needed := report.rows_needed()) is not None:
        return (
            f"Nothing kept: {report.rows} rows are too few to show so small a loss; about {needed} "
            "would be needed. Give more rows, a wider --max-loss, or a lower --confidence."
        )
    return "Nothing kept: no candidate is both faster and within the bound."
