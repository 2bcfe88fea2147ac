"""Watching: how each converted skill fares on the calls that came since it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from hetagent.calibrate.audits import Audits
from hetagent.calibrate.certificate import Certificate
from hetagent.errors import InputError
from hetagent.learn.cluster.embed import Embed, wordllama
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.inputs import Inputs
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Task
from hetagent.learn.watch.calls import Seen, Target, read
from hetagent.learn.watch.figures import new_answers, reading_of, share_of, verdicts_of
from hetagent.learn.watch.kinds import clusters_of, moves_of
from hetagent.learn.watch.needs import learnable_of
from hetagent.learn.watch.result import Cluster, Moves, Share, Watched
from hetagent.learn.watch.settings import WatchSettings
from hetagent.registry import Binding, Event, Registry, State
from hetagent.registry.log import Mode
from hetagent.shadow import comparisons

__all__ = ["act", "watch"]


def watch(
    records: Iterable[CallRecord],
    registry: Registry,
    *,
    skill: str | None = None,
    since: datetime | None = None,
    audits: Sequence[Audits] = (),
    scheduled: bool = False,
    settings: WatchSettings | None = None,
    embed: Embed = wordllama,
) -> list[Watched]:
    """See how the converted skills of a registry fare.

    Skills that are declared in code have no workload that says which calls are theirs; they are
    left out. Nothing is changed.

    Args:
        records: All calls, those that the skills were made with among them; read once.
        registry: Which bindings serve, or are tried, and what they were made with.
        skill: The only one to look at.
        since: From when on calls are looked at; by default, and at the earliest, from the end of
            the data that a binding was made with.
        audits: What audits of accepted answers found.
        scheduled: Whether it is time to convert anew in any case, if there is enough to learn from.
        settings: How.
        embed: Texts to vectors: what the skills were made with.

    Returns:
        One for each binding that serves or is tried.

    Raises:
        InputError: There is no such skill, or it was not converted.
        RegistryError: The registry, or something of a binding, cannot be read.
        MissingExtraError: scikit-learn, SciPy or WordLlama is not installed.
    """
    options = settings or WatchSettings()
    targets = _targets(registry, skill, since)
    seen = read(records, targets, sample=options.sample, seed=options.seed)
    return [
        _watched(
            registry, target, found, audits, scheduled=scheduled, settings=options, embed=embed
        )
        for target, found in zip(targets, seen, strict=True)
    ]


def act(registry: Registry, watched: Watched) -> Event | None:
    """Stop a binding from serving where more of its answers are wrong than is allowed.

    It goes on unheard, in shadow, so that one sees when it can be trusted again.

    Returns:
        What was switched; ``None`` where nothing had to be, or somebody was faster.

    Raises:
        RegistryError: The log cannot be written.
    """
    state = registry.state(watched.skill)
    if not watched.exceeded or state is None:
        return None
    live = state.live is not None and state.live.id == watched.binding
    trial = state.mode == "canary" and state.trial is not None and state.trial.id == watched.binding
    if not live and not trial:
        return None
    why = "watch: " + watched.attention[0]
    if live:
        registry.switch(watched.skill, mode="off", why=why)
    return registry.switch(watched.skill, binding=watched.binding, mode="shadow", why=why)


def _watched(
    registry: Registry,
    target: Target,
    seen: Seen,
    audits: Sequence[Audits],
    *,
    scheduled: bool,
    settings: WatchSettings,
    embed: Embed,
) -> Watched:
    binding = target.binding
    kept = binding.certificate
    certificate = None if kept is None else Certificate.load(registry.path(kept))
    verdicts = verdicts_of(comparisons(registry, binding.id), audits, certificate)
    share = _share(registry, target, seen, settings)
    reading = reading_of(seen, settings=settings)
    answers = new_answers(seen, settings=settings)
    moves: Moves | None = None
    clusters: tuple[Cluster, ...] = ()
    if target.inputs is not None:
        moves = moves_of(seen.recent.kept, target.inputs, embed=embed, settings=settings)
        clusters = clusters_of(
            seen.escalated.kept, seen.recent.kept, target.inputs, embed=embed, settings=settings
        )
    changes = [
        name
        for name, holds in (
            ("more of its answers are wrong than is allowed", any(v.exceeded for v in verdicts)),
            ("it serves fewer calls", share.fallen),
            ("calls look otherwise", reading.changed or reading.moved),
            ("inputs have moved", moves is not None and moves.moved),
            ("there are new kinds of calls", bool(clusters)),
            ("the LLM gives new answers", bool(answers)),
        )
        if holds
    ]
    return Watched(
        binding.skill,
        target.task.workload,
        binding.id,
        target.mode,
        target.since,
        share,
        verdicts,
        moves,
        reading,
        clusters,
        answers,
        learnable_of(target, seen, changes, scheduled=scheduled),
    )


def _share(registry: Registry, target: Target, seen: Seen, settings: WatchSettings) -> Share:
    answered = seen.answered
    if target.mode == "shadow":
        compared = comparisons(registry, target.binding.id)
        times = ((datetime.fromisoformat(one.time), one.accepted) for one in compared)
        answered = [(time, accepted) for time, accepted in times if time > target.since]
    facts = target.binding.facts
    return share_of(
        answered, expected=facts.get("coverage"), calls=facts.get("calls", 0), settings=settings
    )


def _targets(registry: Registry, skill: str | None, since: datetime | None) -> list[Target]:
    states = registry.states()
    if skill is not None and skill not in states:
        raise InputError(
            f"Nothing was ever switched of {skill} in {registry.folder}.",
            hint=f"There is: {', '.join(states) or 'nothing'}.",
        )
    known: dict[str, Workloads] = {}
    found = [
        target
        for name, state in states.items()
        if skill in (None, name)
        for mode, binding in _in_use(state)
        if (target := _target(registry, binding, mode, since, known)) is not None
    ]
    if skill is not None and not found:
        raise InputError(
            f"No binding of {skill} that was converted from calls serves or is tried.",
            hint="A skill that is declared in code is watched by its audits: see docs/audits.md.",
        )
    return found


def _in_use(state: State) -> list[tuple[Mode, Binding]]:
    found: list[tuple[Mode, Binding]] = []
    if state.live is not None:
        found.append(("live", state.live))
    if state.trial is not None:
        found.append((state.mode, state.trial))
    return found


def _target(
    registry: Registry,
    binding: Binding,
    mode: Mode,
    since: datetime | None,
    known: dict[str, Workloads],
) -> Target | None:
    """A binding with what it was made of; ``None`` for one of a skill that is declared in code."""
    data = None if binding.task is None else json.loads(registry.path(binding.task).read_bytes())
    if data is None or "declared" in data:
        return None
    lineage = binding.lineage
    inputs, settings = _inputs(registry, binding), ConvertSettings()
    if "settings" in lineage:
        written = json.loads(registry.path(lineage["settings"]).read_bytes())
        settings = ConvertSettings.from_dict(written)
    name = lineage.get("workloads")
    if name is not None and name not in known:
        known[name] = Workloads.from_bytes(registry.path(name).read_bytes())
    until = datetime.fromisoformat(binding.made) if inputs is None else inputs.until
    ends = [
        one.until for two in registry.bindings(binding.skill) if (one := _inputs(registry, two))
    ]
    return Target(
        binding,
        mode,
        Task.from_dict(data),
        None if name is None else known[name],
        inputs,
        settings,
        until,
        max([until, *ends]),
        until if since is None else max(until, since),
    )


def _inputs(registry: Registry, binding: Binding) -> Inputs | None:
    kept = binding.lineage.get("inputs")
    return None if kept is None else Inputs.from_bytes(registry.path(kept).read_bytes())
