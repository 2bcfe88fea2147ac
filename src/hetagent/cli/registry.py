"""``hetagent registry`` and ``hetagent rollback``: see and switch which binding serves a skill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hetagent.cli.options import JsonOption
from hetagent.errors import RegistryError

if TYPE_CHECKING:
    from hetagent.registry import Binding, Registry

__all__ = ["app", "rollback"]

app = typer.Typer(name="registry", help="See and switch which binding serves each skill.")

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        help="The registry's folder; default: $HETAGENT_REGISTRY, else the user's own.",
        show_default=False,
    ),
]
_Skill = Annotated[str, typer.Argument(help="The skill's name.")]
_Why = Annotated[str, typer.Option("--why", help="The reason, for the log.")]


@app.callback(invoke_without_command=True)
def list_skills(
    context: typer.Context, *, registry: _Folder = None, as_json: JsonOption = False
) -> None:
    """List the skills, and what each is switched to."""
    if context.invoked_subcommand is not None:
        return
    from hetagent.cli.registry_shown import print_states, state_data

    kept = _opened(registry)
    states = kept.states()
    if as_json:
        data = {"registry": str(kept.folder), "skills": [*map(state_data, states.values())]}
        typer.echo(json.dumps(data, indent=2))
        return
    print_states(kept, states.values())


@app.command("show")
def show_skill(skill: _Skill, *, registry: _Folder = None, as_json: JsonOption = False) -> None:
    """Show a skill's bindings, and where those that are live or on trial came from."""
    from hetagent.cli.registry_shown import print_skill, state_data

    kept = _opened(registry)
    state, bindings = kept.state(skill), kept.bindings(skill)
    if state is None and not bindings:
        raise RegistryError(
            f"There is no skill {skill!r} in {kept.folder}.",
            hint="`hetagent registry` lists the skills it knows.",
        )
    if not as_json:
        print_skill(kept, skill, state, bindings)
        return
    data = {
        "skill": skill,
        "state": None if state is None else state_data(state),
        "bindings": [kept.lineage(one.id) for one in bindings],
    }
    typer.echo(json.dumps(data, indent=2))


@app.command("history")
def show_history(skill: _Skill, *, registry: _Folder = None, as_json: JsonOption = False) -> None:
    """List all that was switched of a skill, in order."""
    from hetagent.cli.registry_shown import print_history

    kept = _opened(registry)
    events = kept.history(skill)
    if as_json:
        typer.echo(json.dumps([event.to_dict() for event in events], indent=2))
        return
    if not events:
        raise RegistryError(
            f"Nothing was ever switched of {skill} in {kept.folder}.",
            hint="`hetagent registry` lists the skills it knows.",
        )
    print_history(events)


@app.command("verify")
def verify_registry(*, registry: _Folder = None, as_json: JsonOption = False) -> None:
    """Hash all artifacts again, and read the log; ends with 1 where something is wrong."""
    kept = _opened(registry)
    found = kept.verify()
    if as_json:
        typer.echo(json.dumps({"registry": str(kept.folder), "problems": found}, indent=2))
    elif found:
        for problem in found:
            typer.echo(problem)
    else:
        typer.echo(f"All is well in {kept.folder}.")
    raise typer.Exit(1 if found else 0)


@app.command("switch")
def switch_skill(
    skill: _Skill,
    *,
    binding: Annotated[
        str | None, typer.Option("--binding", help="The binding's id, or how it begins.")
    ] = None,
    mode: Annotated[
        Literal["live", "canary", "shadow", "off"], typer.Option(help="What it is to do.")
    ] = "live",
    share: Annotated[
        float, typer.Option(help="Of the calls that a canary or shadow takes part in.")
    ] = 1.0,
    why: _Why = "",
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Let it serve without a certificate.")
    ] = False,
    registry: _Folder = None,
    as_json: JsonOption = False,
) -> None:
    """Make a binding live, try it on a share of the calls, or switch a skill off."""
    kept = _opened(registry)
    named = None if binding is None else _named(kept, skill, binding).id
    event = kept.switch(
        skill, binding=named, mode=mode, share=share, why=why, uncertified=uncertified
    )
    _say(kept, skill, event.to_dict(), as_json=as_json)


def rollback(
    skill: _Skill, *, why: _Why = "", registry: _Folder = None, as_json: JsonOption = False
) -> None:
    """End a skill's trial, or go back to the binding that was live before; again, one further."""
    kept = _opened(registry)
    _say(kept, skill, kept.rollback(skill, why=why).to_dict(), as_json=as_json)


def _opened(folder: Path | None) -> Registry:
    from hetagent.registry import Registry

    return Registry(folder)


def _named(registry: Registry, skill: str, text: str) -> Binding:
    """The one binding of a skill whose id begins so; the id itself where there is none."""
    found = [one for one in registry.bindings(skill) if one.id.startswith(text)]
    if len(found) > 1:
        raise RegistryError(
            f"{len(found)} bindings of {skill} begin with {text!r}.",
            hint=f"Give more of the id: {', '.join(one.id for one in found)}.",
        )
    return found[0] if found else registry.binding(text)


def _say(registry: Registry, skill: str, event: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(event))
        return
    from hetagent.cli.registry_shown import in_words

    if (state := registry.state(skill)) is not None:
        typer.echo(in_words(state))
