"""``hetagent records``, for those who keep them: erasing, retention, keys and roles."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hetagent.cli.options import JsonOption, StoreOption
from hetagent.cli.progress import told_progress

if TYPE_CHECKING:
    from hetagent.learn.store.rotation import KeyRing

__all__ = [
    "forget_client",
    "init_store",
    "list_keys",
    "print_new_key",
    "print_pseudonym",
    "print_roles",
    "retain_records",
    "rotate_key",
]

_Rewrite = Annotated[
    bool,
    typer.Option(
        "--rewrite", help="Write the whole database anew, so that nothing is left in freed space."
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def init_store(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Make the store and its keys, or bring an older store to this version."""
    from hetagent.learn.store import Store
    from hetagent.learn.store.rotation import KeyRing

    with Store(store) as made, KeyRing(store) as ring:
        name, places = made.name, ring.places
    if as_json:
        typer.echo(json.dumps({"store": name, "keys": places}))
        return
    typer.echo(f"The store is {name}.")
    for purpose, place in places.items():
        typer.echo(f"The key of its {purpose} is in {place}.")
    typer.echo("Without its keys nobody can read it: keep a copy of them, apart from it.")


def forget_client(
    client: Annotated[str, typer.Argument(help="Who it is, as calls named it.")],
    *,
    exported: Annotated[
        list[Path] | None,
        typer.Option("--exported", help="Erase them from this export too; may be repeated."),
    ] = None,
    rewrite: _Rewrite = False,
    yes: _Yes = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase all records of a client for good; needs the key of origins."""
    from hetagent.learn.store import Custodian
    from hetagent.learn.store.parquet import forget_in_parquet

    _ask(f"Erase all records of {client}?", yes=yes or as_json)
    with Custodian(store) as custodian:
        erased = custodian.forget(client, rewrite=rewrite)
        name = custodian.pseudonym(client)
    files = {str(folder): forget_in_parquet(folder, name) for folder in exported or []}
    if as_json:
        typer.echo(json.dumps({"records": erased, "exported": files}))
        return
    typer.echo(f"{erased:,} records are erased.")
    for folder, count in files.items():
        typer.echo(f"{count:,} records are erased from {folder}.")
    if not files:
        typer.echo("Backups and exports still have them; --exported FOLDER erases there.", err=True)


def retain_records(
    *,
    days: Annotated[float, typer.Option("--days", min=0, help="How old a record may be.")],
    rewrite: _Rewrite = False,
    yes: _Yes = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase all records that are older than so many days; needs no key."""
    from hetagent.learn.store import Custodian

    _ask(f"Erase all records older than {days:g} days?", yes=yes or as_json)
    with (
        Custodian(store) as custodian,
        told_progress("erasing", None, quiet=as_json) as progress,
    ):
        erased = custodian.retain(days, rewrite=rewrite, progress=progress)
    typer.echo(json.dumps({"records": erased}) if as_json else f"{erased:,} records are erased.")


def print_pseudonym(
    value: Annotated[str, typer.Argument(help="A client, conversation or trace, as calls had it.")],
    *,
    origin: Annotated[
        Literal["client", "conversation", "trace"], typer.Option(help="What it is.")
    ] = "client",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a client or trace is called in the records; needs the key of origins."""
    from hetagent.learn.store import Custodian

    with Custodian(store) as custodian:
        name = custodian.pseudonym(value, origin=origin)
    typer.echo(json.dumps({"origin": origin, "pseudonym": name}) if as_json else name)


def list_keys(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the keys that the store knows, how much each encrypts, and whether it is here."""
    from hetagent.learn.store.rotation import KeyRing

    with KeyRing(store) as ring:
        uses, places = ring.uses(), ring.places
    if as_json:
        found = [asdict(use) | {"since": use.since.isoformat()} for use in uses]
        typer.echo(json.dumps({"keys": found, "places": places}))
        return
    for use in uses:
        count = "" if use.records is None else f", {use.records:,} records"
        here = "here" if use.here else "not here"
        typer.echo(f"{use.id}  {use.purpose}, since {use.since:%Y-%m-%d}{count}, {here}")
    for purpose, place in places.items():
        typer.echo(f"Keys of {purpose}: {place}")


def rotate_key(
    *,
    keep_old: Annotated[
        bool,
        typer.Option("--keep-old", help="Keep old keys, for copies of the store from before."),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encrypt all records with a new key; goes on where it was interrupted."""
    from hetagent.learn.store.rotation import KeyRing

    with (
        KeyRing(store) as ring,
        told_progress("encrypting", _records(ring), quiet=as_json) as progress,
    ):
        done = ring.rotate(keep_old=keep_old, progress=progress)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    typer.echo(f"{done.records:,} records are encrypted with the key {done.key_id}.")
    for name in done.retired:
        typer.echo(f"No record needs the key {name} any more.")


def print_new_key() -> None:
    """Print a random key, for HETAGENT_RECORDS_KEY or HETAGENT_ORIGINS_KEY."""
    from hetagent.learn.keys import Key

    typer.echo(Key.new().to_text())


def print_roles(
    *,
    prefix: Annotated[str, typer.Option(help="What the roles' names begin with.")] = "hetagent",
) -> None:
    """Print SQL that makes PostgreSQL's roles: a writer, a reader, a custodian."""
    from hetagent.learn.store.roles import role_grants

    typer.echo(role_grants(prefix), nl=False)


def _records(ring: KeyRing) -> int:
    return sum(use.records or 0 for use in ring.uses())


def _ask(question: str, *, yes: bool) -> None:
    """On a terminal; a script means what it says."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"{question} This cannot be undone.", abort=True)
