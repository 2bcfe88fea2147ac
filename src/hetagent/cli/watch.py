"""``hetagent watch``: how converted skills fare, and conversion anew where it is due."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetagent.cli.options import JsonOption, RecordsOption
from hetagent.errors import HetagentError, InputError

if TYPE_CHECKING:
    from hetagent.calibrate.audits import Audits
    from hetagent.learn.convert import Conversion
    from hetagent.learn.watch import Watched
    from hetagent.registry import Registry

__all__ = ["EPILOG", "duration", "watch_skills"]

EPILOG = (
    "Exit codes: 0 all is well, or what was converted anew may serve; 1 something needs attention, "
    "or what was converted anew may not serve; 2 it could not be watched; 130 interrupted. A round "
    "that was interrupted is gone on with by the next one."
)
"""What the help ends with."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look is to do."""

    records: list[str] | None
    registry: Path | None
    skill: str | None
    since: timedelta | None
    audits: Sequence[Path]
    retrain: bool
    act: bool
    work: Path | None
    scheduled: bool
    as_json: bool


def watch_skills(
    *,
    records: RecordsOption = None,
    registry: Annotated[
        Path | None,
        typer.Option("--registry", help="Its folder; default: $HETAGENT_REGISTRY, else your own."),
    ] = None,
    skill: Annotated[str | None, typer.Option("--skill", help="The only one to look at.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="How far to look back, such as 7d; default: all new calls."),
    ] = None,
    audits: Annotated[
        list[Path] | None, typer.Option("--audits", help="The state of audits, as JSON.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Look again and again, such as 1h; Ctrl-C ends.")
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Convert anew where that is recommended.")
    ] = False,
    act: Annotated[
        bool, typer.Option("--act", help="Stop what is wrong more often than is allowed.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Folder of the rounds of --retrain; default: convert-NAME."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch converted skills: the share they serve, their errors, and what is asked of them.

    Skills go on serving as they do, unless --act or --retrain is given. With --every and --retrain
    they are converted anew at each look at which there is enough to learn from.
    """
    look = _Look(
        records, registry, skill, None if since is None else duration(since), audits or (),
        retrain, act, work, retrain and every is not None, as_json,
    )  # fmt: skip
    if every is None:
        raise typer.Exit(_looked(look))
    pause = duration(every).total_seconds()
    while True:
        began = time.monotonic()
        try:
            _looked(look)
        except HetagentError as error:  # a store may be away for a while
            sys.stderr.write(f"error: {error.message}\n")
        time.sleep(max(0.0, pause - (time.monotonic() - began)))


def duration(text: str) -> timedelta:
    """A span of time: a number and one of s, m, h, d and w.

    Raises:
        InputError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None or float(found[1]) == 0:
        raise InputError(f"{text!r} is no span of time.", hint="Write 30m, 12h or 7d.")
    try:
        return timedelta(**{_UNITS[found[2]]: float(found[1])})
    except OverflowError as error:
        raise InputError(f"{text!r} is too long.", hint="Write 30m, 12h or 7d.") from error


def _looked(look: _Look) -> int:
    """Look once, and do what was asked for; the exit code."""
    from hetagent.integrations.sources import record_source
    from hetagent.learn import watch as watching
    from hetagent.registry import Registry

    target = Registry(look.registry)
    code = 0
    data: list[dict[str, Any]] = []
    with record_source(*(look.records or ())) as source:
        found = watching.watch(
            source,
            target,
            skill=look.skill,
            since=None if look.since is None else datetime.now(UTC) - look.since,
            audits=[_audits(path) for path in look.audits],
            scheduled=look.scheduled,
        )
        if not look.as_json:
            _print(found, target)
        for one in found:
            switched = watching.act(target, one) if look.act else None
            anew = None
            if look.retrain and one.learnable.recommended and _is_first(one, found):
                anew = _converted(source, target, one, look)
            well = anew.decision.promoted if anew is not None else not one.attention
            code = max(code, 0 if well and switched is None else 1)
            data.append(
                {
                    **one.to_dict(),
                    "switched": None if switched is None else switched.mode,
                    "retrained": None if anew is None else anew.decision.to_dict(),
                }
            )
            if switched is not None and not look.as_json:
                typer.echo(f"{one.skill}: {one.binding} serves no longer; it goes on in shadow.")
    if look.as_json:
        typer.echo(json.dumps({"registry": str(target.folder), "skills": data}))
    return code


def _is_first(one: Watched, found: Sequence[Watched]) -> bool:
    """Whether it is what serves; a skill is converted anew once, not for its trial again."""
    return next(two for two in found if two.skill == one.skill) is one


def _audits(path: Path) -> Audits:
    from hetagent.calibrate.audits import Audits

    try:
        return Audits.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The audits in {path} cannot be read: {error}.",
            hint="Name the file that Orchestrator(audit=Audit(state=...)) writes.",
        ) from error


def _converted(source: Any, registry: Registry, one: Watched, look: _Look) -> Conversion:
    from hetagent.cli.progress import told_stages
    from hetagent.learn.watch import retrain

    slug = re.sub(r"[^\w-]+", "-", one.workload)
    folder = look.work or Path(f"convert-{slug}")
    with told_stages(quiet=look.as_json) as tell:
        done = retrain(
            source, registry, one, work=folder, tell=tell or (lambda stage, done, total: None)
        )
    if not look.as_json:
        typer.echo(f"{one.skill}: converted anew as {done.binding.id}.")
        typer.echo(done.decision.explain())
    return done


def _print(found: Sequence[Watched], registry: Registry) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not found:
        console.print(f"No converted skill serves or is tried in {registry.folder}.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("skill", "mode", "binding"):
        table.add_column(head, no_wrap=True)
    for head in ("calls", "served", "was", "wrong", "allowed", "to learn", "needed"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in found:
        table.add_row(one.skill, one.mode, one.binding, *_figures(one))
    Console(highlight=False, width=None if console.is_terminal else 140).print(table)
    for one in found:
        console.print(f"\n{one.skill} ({one.mode})", style="bold")
        for day in one.share.days[-7:]:
            console.print(
                f"  {day.day}  {day.calls:>7,} calls  {_percent(day.served / day.calls):>6} served "
                f"({_percent(day.low)} to {_percent(day.high)})",
                style="dim",
            )
        console.print(one.explain())


def _figures(one: Watched) -> list[str]:
    share = one.share
    judged = one.verdicts[0] if one.verdicts else None
    return [
        f"{share.calls:,}",
        _percent(share.served / share.calls) if share.calls else "-",
        "-" if share.expected is None else _percent(share.expected),
        "-" if judged is None else f"{judged.errors:,} of {judged.answers:,}",
        "-" if judged is None else _percent(judged.max_error),
        f"{one.learnable.calls:,}",
        f"{one.learnable.needed:,}",
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}"
