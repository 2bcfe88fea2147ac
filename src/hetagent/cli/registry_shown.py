"""How bindings and switches look on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hetagent.errors import HetagentError

if TYPE_CHECKING:
    from hetagent.calibrate.certificate import Certificate
    from hetagent.registry import Binding, Event, Registry, State

__all__ = ["in_words", "print_history", "print_skill", "print_states", "state_data"]

_COLOURS = {"live": "green", "canary": "yellow", "shadow": "cyan", "off": "red"}
_SHOWN_DIGITS = 12
_PIPE_WIDTH = 140


def state_data(state: State) -> dict[str, Any]:
    """What a skill is switched to, as JSON data."""
    return {
        "skill": state.skill,
        "mode": state.mode,
        "share": state.share,
        "since": state.since,
        "why": state.why,
        "live": _binding_data(state.live),
        "trial": _binding_data(state.trial),
    }


def in_words(state: State) -> str:
    """What a skill is switched to, in a sentence."""
    live = f"{state.live.id} serves" if state.live is not None else "only the LLM serves"
    if state.trial is None:
        return f"{state.skill}: {live} all calls."
    some = "all" if state.share == 1 else _percent(state.share)
    if state.mode == "canary":
        return f"{state.skill}: {state.trial.id} serves {some} of the calls, {live} the others."
    return f"{state.skill}: {live} all calls; {state.trial.id} answers {some} of them unheard."


def print_states(registry: Registry, states: Collection[State]) -> None:
    """A row for each binding that is live or on trial."""
    if not states:
        waiting = sorted({one.skill for one in registry.bindings()})
        some = f"; it has bindings of {', '.join(waiting)}" if waiting else ""
        Console(highlight=False, markup=False, soft_wrap=True).print(
            f"Nothing was switched yet in {registry.folder}{some}."
        )
        return
    table = _table("skill", "mode", "binding", "model")
    for head in ("α", "coverage"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    for state in states:
        for mode, binding in _rows(state):
            certificate = _certificate(registry, binding)
            table.add_row(
                Text(state.skill),
                _mode(mode, state.share),
                Text(binding.id if binding is not None else "-"),
                Text(_model(binding) if binding is not None else "the LLM"),
                "-" if certificate is None else f"{certificate.max_error:.3g}",
                "-" if certificate is None else f"{certificate.coverage:.0%}",
                _when(state.since) if mode == state.mode else "",
            )
    _print(table)


def print_skill(
    registry: Registry, skill: str, state: State | None, bindings: Sequence[Binding]
) -> None:
    """All bindings of a skill, and the lineage of those in use, or else of the newest."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{skill}: never switched." if state is None else in_words(state))
    if state is not None:
        because = f": {state.why}" if state.why else ""
        console.print(f"Since {_when(state.since)}{because}")
    used = dict(_rows(state)) if state is not None else {}
    shown = [one for one in used.values() if one is not None] or list(bindings[-1:])
    roles = {one.id: mode for mode, one in used.items() if one is not None}
    for binding in shown:
        console.print()
        _print_binding(console, registry, binding, roles.get(binding.id))
    others = [one for one in bindings if one.id not in {two.id for two in shown}]
    if others:
        console.print("\nOther bindings")
        for one in others:
            console.print(f"  {one.id}  made {_when(one.made)}  {_model(one)}")


def print_history(events: Iterable[Event]) -> None:
    """A row for each event."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("n", justify="right")
    for head in ("time", "mode", "binding"):
        table.add_column(head, no_wrap=True)
    table.add_column("why")
    for event in events:
        mode = _mode(event.mode, event.share)
        if event.undo:
            mode.append(" (rollback)", style="dim")
        table.add_row(
            str(event.n), _when(event.time), mode, Text(event.binding or "-"), Text(event.why)
        )
    _print(table)


def _print_binding(
    console: Console, registry: Registry, binding: Binding, mode: str | None
) -> None:
    head = Text("binding ").append(binding.id, style="bold")
    if mode is not None:
        head.append(f"  {mode}", style=_COLOURS[mode])
    console.print(head)
    known = registry.lineage(binding.id)
    rows = {"model": _model(binding), "made": _when(binding.made)}
    rows |= {name: _plain(value) for name, value in binding.model.options.items()}
    if (certificate := _certificate(registry, binding)) is not None:
        rows["promise"] = (
            f"at most {certificate.max_error:.3g} of what is accepted is wrong, with probability "
            f"{certificate.confidence:.3g}; {certificate.coverage:.0%} is accepted"
        )
    rows |= {name: _plain(value) for name, value in binding.facts.items()}
    named = {**known["lineage"], **known["artifacts"]}
    base = {"base": {"hash": binding.model.base_hash, "kept": False}}
    named = (base if binding.model.base_hash else {}) | named
    events = [(_role(event), event) for event in known["events"]]
    width = max(map(len, [*rows, *named, *(role for role, _ in events)])) + 2
    for label, value in rows.items():
        console.print(f"  {label:<{width}}{value}")
    for label, fact in named.items():
        console.print(Text(f"  {label:<{width}}").append_text(_fact(fact)))
    for role, event in events:
        why = f"  {event['why']}" if event["why"] else ""
        console.print(f"  {role:<{width}}{_when(event['time'])}{why}")


def _role(event: dict[str, Any]) -> str:
    return f"{event['mode']} again" if event["undo"] else str(event["mode"])


def _rows(state: State) -> list[tuple[str, Binding | None]]:
    """What is live and what is on trial, with its mode."""
    live: list[tuple[str, Binding | None]] = [
        ("live" if state.live is not None else "off", state.live)
    ]
    return live if state.trial is None else [*live, (state.mode, state.trial)]


def _certificate(registry: Registry, binding: Binding | None) -> Certificate | None:
    """The certificate; ``None`` where there is none that this version reads."""
    from hetagent.calibrate.certificate import Certificate

    if binding is None or binding.certificate is None:
        return None
    try:
        return Certificate.load(registry.path(binding.certificate))
    except HetagentError:  # `verify` says of what is missing or damaged
        return None


def _model(binding: Binding) -> str:
    model = binding.model
    # Of a path the last part tells one from another.
    path = Path(model.base)
    base = path.name if path.is_absolute() else model.base
    match model.artifact_kind:
        case "adapter":
            return f"{base} + adapter"
        case "weights":
            return f"{base}, merged"
        case "classifier":
            return f"classifier over {base}"
        case None:
            return base


def _mode(mode: str, share: float) -> Text:
    text = Text(mode, style=_COLOURS[mode])
    if mode in ("canary", "shadow") and share < 1:
        text.append(f" {_percent(share)}", style="dim")
    return text


def _fact(fact: dict[str, Any]) -> Text:
    text = Text(fact["hash"][:_SHOWN_DIGITS])
    if fact["kept"]:
        return text.append(f"  {_size(fact['size_bytes'])}", style="dim")
    return text.append("  kept elsewhere", style="dim")


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def _binding_data(binding: Binding | None) -> dict[str, Any] | None:
    return None if binding is None else {"id": binding.id, **binding.to_dict()}


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _when(time: str) -> str:
    """To the minute, in UTC."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=head != "model")
    return table


def _print(table: Table) -> None:
    console = Console(highlight=False)
    # A pipe has no width of its own, and wrapped lines would be of no use to grep.
    (console if console.is_terminal else Console(width=_PIPE_WIDTH, highlight=False)).print(table)
