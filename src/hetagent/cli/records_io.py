"""``hetagent records import`` and ``hetagent records export``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetagent.cli.options import JsonOption, StoreOption
from hetagent.cli.progress import told_progress
from hetagent.cli.redaction import KeepTextOption, PatternOption, RedactionOption, told
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.redact.config import Redaction

__all__ = ["export_records", "exports_epilog", "formats_epilog", "import_records"]

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_SHOWN_FAULTS = 5
_PARQUET = "parquet"
_SHORT = {"openai": "openai-finetuning"}


def formats_epilog() -> str:
    """The formats that can be imported, for the help of the command."""
    from hetagent.integrations.importing import FORMATS

    return "Formats: " + "; ".join(f"{name} ({one.summary})" for name, one in FORMATS.items())


def exports_epilog() -> str:
    """What the help of exporting ends with."""
    return (
        "parquet is for DuckDB and its kind; flywheel is NVIDIA's data flywheel, and openai its "
        "examples for fine-tuning: for training both leave out calls that failed, in which a "
        "person talks with the model, or whose answers may not train one. hetagent is whole "
        "records, which can be imported again."
    )


def import_records(
    files: Annotated[list[Path], typer.Argument(help="Logs of other tools; .gz works too.")],
    *,
    format: Annotated[  # noqa: A002 - the word for it
        str | None, typer.Option("--format", help="Of the files; default: by their content.")
    ] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", help="What a batch of OpenAI's was made of.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model, where the log does not say.")] = "unknown",
    client: Annotated[str | None, typer.Option(help="Whose calls, where it does not say.")] = None,
    workload: Annotated[str | None, typer.Option(help="Their workload, likewise.")] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="A person talks with the model in these calls.")
    ] = False,
    trainable: Annotated[
        list[str] | None,
        typer.Option(
            "--trainable",
            help="PATTERN=trainable, =no-train or =unknown, by model names; may be repeated.",
        ),
    ] = None,
    skip_faults: Annotated[
        bool, typer.Option("--skip-faults", help="Pass over entries that cannot be read.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything and keep nothing.")
    ] = False,
    redaction: RedactionOption = None,
    keep_text: KeepTextOption = None,
    pattern: PatternOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Redact the calls of other tools' logs and keep them; a second time changes nothing."""
    from hetagent.integrations.imported import Defaults
    from hetagent.integrations.importing import detect, read_records
    from hetagent.learn.provenance import Provenance

    provenance = Provenance(_rules(trainable or []))
    faults: list[InputError] = []
    report = []
    replaced = told(redaction, keep=keep_text, patterns=pattern)
    with _kept(store, replaced, dry_run=dry_run) as (keep, pseudonym):
        for file in files:
            name = format or detect(file)
            defaults = Defaults(
                model=model,
                time=datetime.fromtimestamp(file.stat().st_mtime, UTC),
                client=client,
                workload=workload,
                interactive=interactive,
                provenance=provenance,
                pseudonym=pseudonym,
            )
            before = len(faults)
            records = read_records(
                file,
                format=name,
                requests=requests,
                defaults=defaults,
                fault=faults.append if skip_faults else None,
            )
            with told_progress(f"importing {file.name}", None, quiet=as_json) as tell:
                done = keep(records, tell)
            known = {"file": str(file), "format": name, "records": done.records}
            report.append({**known, "failed": done.failed, "faults": len(faults) - before})
    _tell_import(report, faults, kept=not dry_run, as_json=as_json)


def export_records(
    path: Annotated[Path, typer.Argument(help="A file; a folder for Parquet; - for stdout.")],
    *,
    format: Annotated[  # noqa: A002 - the word for it
        str,
        typer.Option("--format", help="parquet, flywheel, openai or hetagent."),
    ] = _PARQUET,
    text: Annotated[
        bool, typer.Option("--text", help="Parquet: also what was said, readable.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="For training: calls with a person in them too.")
    ] = False,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="For training: answers that may not train too.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--since", formats=_DATES, help="The earliest time, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", formats=_DATES, help="All are before it, in UTC.")
    ] = None,
    workload: Annotated[str | None, typer.Option("--workload", help="Of this workload.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="As callers named it.")] = None,
    failed: Annotated[
        bool | None, typer.Option("--failed/--succeeded", help="Only failed calls, or only others.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write records for other tools: as Parquet, a file for each day, or a JSON object a line."""
    from hetagent.integrations.exporting import export_records as write
    from hetagent.learn.store import Query, Reader

    query = Query(
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        workload=workload,
        model=model,
        failed=failed,
    )
    to_stdout = str(path) == "-"
    with (
        Reader(store) as reader,
        told_progress("exporting", None if as_json else reader.count(query), quiet=as_json) as tell,
    ):
        if format == _PARQUET:
            from hetagent.learn.store.parquet import export_parquet

            parquet = export_parquet(reader, path, query=query, text=text, progress=tell)
            done: dict[str, Any] = {"records": parquet.records, "days": parquet.days}
        else:
            lines = write(
                reader.records(query),
                path,
                format=_SHORT.get(format, format),
                interactive=interactive,
                no_train=no_train,
                tell=tell,
            )
            done = {"records": lines.written, "left_out": dict(lines.left_out)}
    if as_json:
        typer.echo(json.dumps({**done, "path": str(path)}), err=to_stdout)
        return
    days = f" of {done['days']:,} days" if "days" in done else ""
    typer.echo(f"{done['records']:,} records{days} are in {path}.", err=to_stdout)
    for why, count in sorted(done.get("left_out", {}).items()):
        typer.echo(f"{count:,} left out: {why}.", err=True)
    if text and format == _PARQUET:
        typer.echo("They can be read by whoever can read these files.", err=True)


def _rules(given: list[str]) -> dict[str, Any]:
    rules = {}
    for one in given:
        pattern, equals, said = one.rpartition("=")
        if not equals or not pattern:
            raise InputError(
                f"{one!r} is no rule.", hint="Write PATTERN=no-train, such as 'openai/*=no-train'."
            )
        rules[pattern] = said
    return rules


@contextmanager
def _kept(
    store: str | None, redaction: Redaction, *, dry_run: bool
) -> Iterator[tuple[Callable[..., Any], Any]]:
    """What redacts records and puts them into the store, and the store's keyed hash for ids."""
    from hetagent.integrations.importing import import_into

    if dry_run:
        nowhere = _Nowhere()
        yield (
            lambda records, tell: import_into(
                nowhere, records, redact=lambda record: record, tell=tell
            ),
            None,
        )
        return
    from hetagent.learn.store import Custodian, Store

    with (
        Store(store) as opened,
        Custodian(store) as custodian,
        redaction.redactor(opened.surrogate_key) as redact,
    ):
        yield (
            lambda records, tell: import_into(opened, records, redact=redact, tell=tell),
            custodian.pseudonym,
        )


class _Nowhere:
    """Keeps nothing."""

    def append(self, records: Any) -> None:
        """Forget them."""


def _tell_import(
    report: list[dict[str, Any]], faults: list[InputError], *, kept: bool, as_json: bool
) -> None:
    if as_json:
        shown = [error.message for error in faults]
        typer.echo(json.dumps({"files": report, "faults": shown, "kept": kept}))
        return
    for one in report:
        failed = f", {one['failed']:,} of them failed calls" if one["failed"] else ""
        told = "" if kept else " (read only, nothing is kept)"
        typer.echo(f"{one['file']}: {one['records']:,} records of {one['format']}{failed}{told}.")
    for error in faults[:_SHOWN_FAULTS]:
        typer.echo(f"skipped: {error.message}", err=True)
    if len(faults) > _SHOWN_FAULTS:
        typer.echo(f"and {len(faults) - _SHOWN_FAULTS:,} more.", err=True)
