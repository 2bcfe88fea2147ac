"""``hetagent bundle``: skills in one folder that runs on another machine with no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetagent.cli.options import JsonOption
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.bundle import Bundle

__all__ = ["bundle_skills"]


def bundle_skills(
    skills: Annotated[
        list[str] | None, typer.Argument(help="Names of the skills.", show_default=False)
    ] = None,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder; default: SKILL-bundle.")
    ] = None,
    binding: Annotated[
        str | None, typer.Option("--binding", help="Another binding than the live one, by its id.")
    ] = None,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Let that one have no certificate.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a bundle that is there.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Hash all that is in a bundle, and stop.")
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            "--registry",
            help="The registry's folder; default: $HETAGENT_REGISTRY, else the user's own.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one folder with weights, adapters, certificates and skills, which needs no network."""
    from hetagent.cli.progress import told_progress
    from hetagent.learn.bundle import bundle
    from hetagent.registry import Registry

    if check is not None:
        _check(check, as_json=as_json)
        return
    if not skills:
        raise InputError("No skill is named.", hint="`hetagent registry` lists them.")
    if binding is not None and len(skills) > 1:
        raise InputError(
            "--binding names one, and there are several skills.",
            hint="Make a bundle of each, or make their bindings live.",
        )
    with told_progress("copying, in MB", None, quiet=as_json) as tell:
        found = bundle(
            Registry(registry),
            skills,
            to=to or Path(f"{skills[0]}-bundle"),
            bindings={} if binding is None else {skills[0]: binding},
            uncertified=uncertified,
            replace=replace,
            tell=lambda done, _: tell(done // 1_000_000) if tell is not None else None,
        )
    if as_json:
        typer.echo(json.dumps({"folder": str(found.folder), **found.to_dict()}, indent=2))
        return
    _print(found)


def _check(folder: Path, *, as_json: bool) -> None:
    from hetagent.learn.bundle import check_bundle

    problems = check_bundle(folder)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "problems": problems}, indent=2))
    else:
        typer.echo("\n".join(problems) or f"All is well in {folder}.")
    raise typer.Exit(1 if problems else 0)


def _print(found: Bundle) -> None:
    typer.echo(f"Written to {found.folder}, {found.size_bytes / 1e6:,.0f} MB:")
    for name, id_ in found.skills.items():
        notes = [
            said
            for said, names in (
                ("no certificate", found.uncertified),
                ("declared in code, which is not in it", found.declared),
            )
            if name in names
        ]
        typer.echo(f"  {name}  {id_}" + (f"  ({'; '.join(notes)})" if notes else ""))
    typer.echo(f"How it is used is in {found.folder / 'README.txt'}.")
