"""``hetagent records``: list, show and sum up the calls that were recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hetagent.cli.options import JsonOption, StoreOption

if TYPE_CHECKING:
    from hetagent.learn.store import Query, Totals

__all__ = ["count_records", "list_records", "show_record", "sum_up"]

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_Since = Annotated[
    datetime | None, typer.Option("--since", formats=_DATES, help="The earliest time, in UTC.")
]
_Until = Annotated[
    datetime | None, typer.Option("--until", formats=_DATES, help="All are before it, in UTC.")
]
_Workload = Annotated[str | None, typer.Option("--workload", help="Of this workload.")]
_Model = Annotated[str | None, typer.Option("--model", help="As callers named it.")]
_Trace = Annotated[
    str | None, typer.Option("--trace", help="Of this trace, as `records list --json` shows it.")
]
_Client = Annotated[
    str | None, typer.Option("--client", help="A pseudonym, from `records pseudonym`.")
]
_Failed = Annotated[
    bool | None, typer.Option("--failed/--succeeded", help="Only failed calls, or only others.")
]


def list_records(
    *,
    since: _Since = None,
    until: _Until = None,
    workload: _Workload = None,
    model: _Model = None,
    trace: _Trace = None,
    client: _Client = None,
    failed: _Failed = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the latest records without what was said, which needs no key; --json: one a line."""
    from hetagent.learn.store import Reader

    query = _query(
        since=since, until=until, workload=workload, model=model, trace=trace, client=client,
        failed=failed, latest=limit,
    )  # fmt: skip
    with Reader(store) as reader:
        rows = reader.rows(query)
        if as_json:
            for row in rows:
                typer.echo(json.dumps({**row, "time": row["time"].isoformat()}))
            return
        _print_rows(list(rows))


def show_record(
    name: Annotated[str, typer.Argument(help="The record's id.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one record with what was said; needs the records' key."""
    from hetagent.learn.store import Reader

    with Reader(store) as reader:
        record = reader.get(name)
    data = record.to_dict()
    if as_json:
        typer.echo(json.dumps(data))
        return
    from rich.console import Console

    Console(highlight=False).print_json(json.dumps(data), indent=2)


def count_records(
    *,
    since: _Since = None,
    until: _Until = None,
    workload: _Workload = None,
    model: _Model = None,
    trace: _Trace = None,
    client: _Client = None,
    failed: _Failed = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count records."""
    from hetagent.learn.store import Reader

    with Reader(store) as reader:
        found = reader.count(
            _query(
                since=since, until=until, workload=workload, model=model, trace=trace,
                client=client, failed=failed,
            )
        )  # fmt: skip
    typer.echo(json.dumps({"records": found}) if as_json else str(found))


def sum_up(
    *,
    by: Annotated[
        Literal["workload", "model", "form", "day"],
        typer.Option(help="What to sum over; day needs --exported."),
    ] = "workload",
    exported: Annotated[
        Path | None,
        typer.Option("--exported", help="Sum up this export instead: fast, with quantiles."),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    workload: _Workload = None,
    model: _Model = None,
    failed: _Failed = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calls, tokens, cost and time of each workload or model; needs no key."""
    from dataclasses import asdict

    query = _query(since=since, until=until, workload=workload, model=model, failed=failed)
    totals = _totals(by, exported, query, store)
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {**asdict(one), "first": one.first.isoformat(), "last": one.last.isoformat()}
                    for one in totals
                ]
            )
        )
        return
    _print_totals(totals, by)


def _query(
    *,
    since: datetime | None,
    until: datetime | None,
    workload: str | None,
    model: str | None,
    failed: bool | None,
    trace: str | None = None,
    client: str | None = None,
    latest: int | None = None,
) -> Query:
    from hetagent.learn.store import Query

    return Query(
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        workload=workload,
        model=model,
        trace=trace,
        client=client,
        failed=failed,
        newest_first=latest is not None,
        limit=latest,
    )


def _totals(
    by: Literal["workload", "model", "form", "day"],
    exported: Path | None,
    query: Query,
    store: str | None,
) -> list[Totals]:
    from hetagent.learn.store import Query, Reader

    if exported is not None:
        from hetagent.learn.store.parquet import parquet_totals

        if query != Query():
            raise typer.BadParameter("an export is summed up whole; narrow the export itself.")
        return parquet_totals(exported, by=by)
    if by == "day":
        raise typer.BadParameter("days are summed up from an export; give --exported FOLDER.")
    with Reader(store) as reader:
        return reader.totals(query, by=by)


def _print_rows(rows: list[Mapping[str, Any]]) -> None:
    if not rows:
        typer.echo("There are no such records.")
        return
    table = _table("time", "id", "model", "workload", right=("tokens", "USD", "seconds"))
    table.add_column("result", no_wrap=True)
    for row in rows:
        tokens = [row["prompt_tokens"], row["completion_tokens"]]
        table.add_row(
            f"{row['time']:%Y-%m-%d %H:%M:%S}",
            row["id"],
            row["model"],
            row["workload"] or "-",
            "+".join("?" if one is None else str(one) for one in tokens),
            _number(row["cost_usd"], "{:.4f}"),
            _number(row["seconds"], "{:.2f}"),
            row["error_kind"] or ("ok" if row["complete"] else "broken off"),
        )
    _print(table)


def _print_totals(totals: list[Totals], by: str) -> None:
    if not totals:
        typer.echo("There are no such records.")
        return
    right = ("calls", "share", "failed", "prompt", "completion", "USD", "mean s", "median s")
    table = _table(by, right=(*right, "95% s"))
    for one in totals:
        table.add_row(
            one.name or "(none)",
            f"{one.calls:,}",
            f"{one.share:.1%}",
            f"{one.failed:,}",
            f"{one.prompt_tokens:,}",
            f"{one.completion_tokens:,}",
            f"{one.cost_usd:.2f}",
            _number(one.seconds, "{:.2f}"),
            _number(one.median_seconds, "{:.2f}"),
            _number(one.p95_seconds, "{:.2f}"),
        )
    _print(table)


def _table(*left: str, right: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, no_wrap=name in ("time", "id"), overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    # A pipe has no width of its own, and cut names would be of no use to grep.
    (console if console.is_terminal else Console(width=160, highlight=False)).print(table)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
