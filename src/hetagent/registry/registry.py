"""The registry: which binding serves each skill, who did before, and where each came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hetagent.errors import RegistryError
from hetagent.registry.artifacts import Artifacts
from hetagent.registry.binding import Binding
from hetagent.registry.bindings import BindingFiles
from hetagent.registry.checks import LOG, lineage, problems
from hetagent.registry.log import Change, Event, Log, Mode, Read, Version
from hetagent.registry.standing import Standing, standings
from hetagent.registry.state import State

__all__ = ["Registry", "default_folder"]

_MODES: tuple[Mode, ...] = ("live", "canary", "shadow", "off")


def default_folder() -> Path:
    """That of ``HETAGENT_REGISTRY``, else ``registry`` in the user's data folder."""
    named = os.environ.get("HETAGENT_REGISTRY", "").strip()
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("hetagent", appauthor=False)) / "registry"


@dataclass(frozen=True, slots=True)
class _Known:
    """What one reading of the log adds up to."""

    read: Read
    standings: Mapping[str, Standing]
    states: dict[str, State]


class Registry:
    """A folder with all bindings of all skills, and the log of which one serves.

    Several threads and processes may use one folder at once. A switch is one line of the log: it is
    there or not, and everybody who asks after it sees it. Asking again costs one look at the log's
    metadata.

    Args:
        folder: By default that of `default_folder`; it is made with the first that is put into it.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder).expanduser() if folder is not None else default_folder()
        self._artifacts = Artifacts(self.folder)
        self._bindings = BindingFiles(self.folder, self._artifacts)
        self._log = Log(self.folder / LOG)
        self._known = _Known(Read(), {}, {})

    def __repr__(self) -> str:
        return f"Registry({str(self.folder)!r})"

    def put(
        self, source: bytes | os.PathLike[str], *, tell: Callable[[int], None] | None = None
    ) -> str:
        """Keep an artifact, and tell its hash; see `hetagent.registry.artifacts.Artifacts.put`."""
        return self._artifacts.put(source, tell=tell)

    def path(self, sha256: str) -> Path:
        """Where an artifact is.

        Raises:
            RegistryError: There is none.
        """
        return self._artifacts.path(sha256)

    def has(self, sha256: str) -> bool:
        """Whether there is such an artifact."""
        return self._artifacts.has(sha256)

    def read(self, sha256: str) -> bytes:
        """The content of an artifact.

        Raises:
            RegistryError: There is none, or its content is not what it was.
        """
        return self._artifacts.read(sha256)

    def add(self, binding: Binding) -> str:
        """Keep a binding; it serves nothing until it is switched to.

        Returns:
            Its id. Of one that is here already, whenever it was made, the first stays.

        Raises:
            RegistryError: An artifact that it names is not here, or it cannot be kept.
        """
        return self._bindings.add(binding)

    def binding(self, id: str) -> Binding:  # noqa: A002 - bindings are named by it
        """A binding.

        Raises:
            RegistryError: There is none, or it cannot be read.
        """
        return self._bindings.load(self._bindings.file_of(id), id=id)

    def bindings(self, skill: str | None = None) -> tuple[Binding, ...]:
        """All bindings, or those of a skill; the oldest first.

        Raises:
            RegistryError: One cannot be read.
        """
        every = (self.binding(one) for one in self._bindings)
        found = [one for one in every if skill is None or one.skill == skill]
        return tuple(sorted(found, key=lambda one: (one.made, one.id)))

    def switch(
        self,
        skill: str,
        *,
        binding: str | None = None,
        mode: Mode = "live",
        share: float = 1.0,
        why: str = "",
        uncertified: bool = False,
    ) -> Event:
        """Switch a skill to a binding, try one beside the live one, or switch it off.

        Making one live ends a trial, and so does another trial; ``"off"`` ends all.

        Args:
            skill: Name of the skill.
            binding: Its id; none for ``"off"``.
            mode: What it is to do; see `hetagent.registry.log.Change`.
            share: Of the calls that a canary serves or a shadow answers, in (0, 1].
            why: The reason, in words.
            uncertified: Whether it may serve without a certificate.

        Raises:
            RegistryError: There is no such binding, or not of this skill; it may not serve; or the
                log cannot be written.
        """
        _check(skill, binding, mode, share)
        if binding is None:
            return self._log.append(lambda events: Change(skill=skill, mode="off", why=why))
        file = self._bindings.file_of(binding)
        _check_fit(self._bindings.load(file, id=binding), skill, mode, uncertified=uncertified)
        change = Change(
            skill=skill, mode=mode, binding=binding, artifact=file, share=float(share), why=why
        )

        def decide(events: tuple[Event, ...]) -> Change:
            standing = standings(events).get(skill)
            live = standing.live if standing is not None else None
            if mode != "live" and live is not None and live.binding == binding:
                raise RegistryError(
                    f"The binding {binding} is live for {skill}, and cannot be tried beside "
                    "itself.",
                    hint="Name another, or make another live first.",
                )
            return change

        return self._log.append(decide)

    def rollback(self, skill: str, *, why: str = "") -> Event:
        """End a skill's trial; or where there is none, go back to what was live before.

        Rolling back again goes one further back. Before the first binding the skill was off.

        Raises:
            RegistryError: There is nothing to roll back, what was before is no longer here, or the
                log cannot be written.
        """

        def decide(events: tuple[Event, ...]) -> Change:
            standing = standings(events).get(skill)
            if standing is None:
                raise RegistryError(
                    f"Nothing was ever switched of {skill} in {self.folder}.",
                    hint="`hetagent registry` lists the skills it knows.",
                )
            back = standing.before()
            if back is None:
                return Change(skill=skill, mode="off", why=why, undo=True)
            self._bindings.of(back)
            return Change(
                skill=skill,
                mode="live",
                binding=back.binding,
                artifact=back.artifact,
                why=why,
                undo=True,
            )

        return self._log.append(decide)

    def state(self, skill: str) -> State | None:
        """What a skill is switched to; ``None`` for one that never was.

        Raises:
            RegistryError: The log or a binding cannot be read.
        """
        known = self._now()
        if (found := known.states.get(skill)) is not None:
            return found
        standing = known.standings.get(skill)
        if standing is None:
            return None
        known.states[skill] = state = self._state(skill, standing)
        return state

    def states(self) -> Mapping[str, State]:
        """What each skill is switched to, by name.

        Raises:
            RegistryError: The log or a binding cannot be read.
        """
        known = self._now()
        for skill, standing in known.standings.items():
            if skill not in known.states:
                known.states[skill] = self._state(skill, standing)
        return MappingProxyType({skill: known.states[skill] for skill in sorted(known.standings)})

    def history(self, skill: str) -> tuple[Event, ...]:
        """All that was switched of a skill, in order.

        Raises:
            RegistryError: The log cannot be read.
        """
        return tuple(event for event in self._log.read().events if event.skill == skill)

    def version(self) -> Version:
        """What changes whenever something is switched; costs one look at the log's metadata."""
        return self._log.version()

    def lineage(self, id: str) -> dict[str, Any]:  # noqa: A002 - bindings are named by it
        """All that is known of where a binding came from and what became of it, as JSON data.

        Returns:
            The ``binding``; its ``artifacts`` and ``lineage`` by name, each with its hash, whether
            it is kept here, its size in bytes, and its content where that is a JSON object; and the
            ``events`` of the log that name it.

        Raises:
            RegistryError: There is no such binding, or something of it cannot be read.
        """
        return lineage(self.binding(id), self._artifacts, self._log.read().events)

    def verify(self) -> list[str]:
        """Read everything again, and hash it.

        Returns:
            What is wrong, in words; nothing where all is well.
        """
        return problems(self.folder)

    def _now(self) -> _Known:
        """Threads may find it at once, each for itself; either result is right."""
        read = self._log.read()
        known = self._known
        if known.read is not read:
            self._known = known = _Known(read, standings(read.events), {})
        return known

    def _state(self, skill: str, standing: Standing) -> State:
        live, trial = standing.live, standing.trial
        return State(
            skill,
            None if live is None else self._bindings.of(live),
            None if trial is None else self._bindings.of(trial),
            standing.mode,
            1.0 if trial is None else trial.share,
            standing.last.time,
            standing.last.why,
        )


def _check(skill: str, binding: str | None, mode: Mode, share: float) -> None:
    """Refuse what no log should say."""
    if not skill.strip():
        raise RegistryError("A skill has a name.", hint="Name the skill to switch.")
    if mode not in _MODES:
        raise RegistryError(f"There is no mode {mode!r}.", hint=f"Use {', '.join(_MODES)}.")
    if (binding is None) != (mode == "off"):
        raise RegistryError(
            f"The mode {mode!r} {'needs a' if binding is None else 'takes no'} binding.",
            hint="Name one with live, canary and shadow, and none with off.",
        )
    if not 0 < share <= 1:
        raise RegistryError(f"share is {share}.", hint="Give a share above 0 and up to 1.")
    if share != 1 and mode not in ("canary", "shadow"):
        raise RegistryError(
            f"share is {share}, and {mode!r} is of all calls.",
            hint="Give a share with canary and shadow alone.",
        )


def _check_fit(binding: Binding, skill: str, mode: Mode, *, uncertified: bool) -> None:
    """Refuse a binding that may not do that for a skill."""
    if binding.skill != skill:
        raise RegistryError(
            f"The binding {binding.id} is of {binding.skill}, not of {skill}.",
            hint=f"`hetagent registry show {skill}` lists those of {skill}.",
        )
    if mode != "shadow" and binding.certificate is None and not uncertified:
        raise RegistryError(
            f"The binding {binding.id} of {skill} has no certificate, so nothing says how often "
            "it is wrong.",
            hint="Calibrate it, or try it in the mode shadow; `uncertified` has it serve all the "
            "same.",
        )
