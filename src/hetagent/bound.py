"""Bindings at run time: which model and certificate serve a skill now.

A registry is looked at before each call, at the price of asking the system for a file's size and
time. Where it says something new, what that needs is loaded beside the calls that go on, and takes
over once it is ready; so no call waits for a switch, and none is lost by one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from hetagent.errors import HetagentError, RegistryError
from hetagent.fingerprint import fingerprint
from hetagent.opened import Bound, open_binding
from hetagent.raised import raised
from hetagent.registry import Binding, Registry, State, arm, in_trial
from hetagent.registry.log import Mode, Version
from hetagent.skill import Skill

__all__ = ["Bound", "BoundSkills", "Choice", "open_binding"]

_log = logging.getLogger("hetagent")

_SECONDS_UNTIL_AGAIN = 1.0
"""How long a log that cannot be read is left alone where it stays as it is."""

Open = Callable[[Binding, Registry, Skill[Any, Any]], Bound]


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves one call of a skill.

    Attributes:
        mode: How the skill is switched.
        serving: What answers; ``None`` where only the LLM does.
        shadow: What answers, too, without being served.
    """

    mode: Mode
    serving: Bound | None = None
    shadow: Bound | None = None


@dataclass(frozen=True, slots=True)
class _Unread:
    """A registry that could not be read.

    Attributes:
        version: It had then; ``None`` where not even that could be told.
        until: When it is tried again, though it is the same, in seconds of a monotonic clock.
        why: In words.
    """

    version: Version | None
    until: float
    why: str

    def still(self, version: Version | None) -> bool:
        """Whether nothing else is to be expected yet."""
        return version == self.version and time.monotonic() < self.until


@dataclass(slots=True)
class _Entry:
    """What is known of one skill.

    Attributes:
        version: Of the registry, as of when it was read; ``None`` where it was not.
        unread: Why it could not be, the last time.
        wanted: What it said then; ``None`` where it does not know the skill.
        settled: Whether it is decided what serves; before, calls wait.
        state: What calls are served by: what is wanted, as far as it is loaded.
        bound: What is loaded, by the bindings' ids.
        fits: By these, the skills that were seen to be what it may run, or not.
        failed: Why bindings cannot be loaded, by their ids.
        loading: Done once what is wanted is loaded, or cannot be; ``None`` while nothing is.
    """

    version: Version | None = None
    unread: _Unread | None = None
    wanted: State | None = None
    settled: bool = False
    state: State | None = None
    bound: dict[str, Bound] = field(default_factory=dict)
    fits: dict[str, WeakKeyDictionary[Skill[Any, Any], bool]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    loading: Future[None] | None = None

    def missing(self) -> Binding | None:
        """What has to be loaded next."""
        for one in _named(self.wanted):
            if one.id not in self.bound and one.id not in self.failed:
                return one
        return None

    def settle(self) -> None:
        """Serve as the registry says, as far as that is loaded; what cannot be, another does."""
        state = self.wanted
        if state is not None:
            live = state.live
            if live is not None and live.id not in self.bound:
                if self.state is None and live.id not in self.failed:
                    return  # the skill was not known so far, and goes on as it was
                live = self.state.live if self.state is not None else None  # it goes on
            trial = state.trial
            if trial is not None and trial.id not in self.bound:
                trial = None
            mode: Mode = state.mode if trial is not None else "live" if live is not None else "off"
            share = state.share if trial is not None else 1.0
            state = replace(state, live=live, trial=trial, mode=mode, share=share)
        self.state, self.settled = state, True
        # What is left out is freed with the last call that is under way on it.
        kept = {one.id for one in (*_named(state), *_named(self.wanted))}
        self.bound = {id_: one for id_, one in self.bound.items() if id_ in kept}
        self.fits = {id_: one for id_, one in self.fits.items() if id_ in kept}
        self.failed = {id_: why for id_, why in self.failed.items() if id_ in kept}


class BoundSkills:
    """Which binding serves which skill, as a registry says; for any number of threads.

    A forked child loads its own.

    Args:
        registry: What says it.
        open_with: Loads a binding.
    """

    def __init__(self, registry: Registry, *, open_with: Open = open_binding) -> None:
        self.registry = registry
        self._open = open_with
        self._renew()
        _alive.add(self)

    async def choice(self, skill: Skill[Any, Any], *, key: str) -> Choice | None:
        """What serves a call; it waits only where nothing was loaded for the skill yet.

        Args:
            skill: What is called.
            key: Of the conversation, or else of the trace; calls with the same one stay on the
                same side of a canary.

        Returns:
            The choice; ``None`` where the registry does not know the skill.
        """
        entry = self._looked_at(skill)
        while not entry.settled and (loading := entry.loading) is not None:
            # A caller who gives up must not cancel what others wait for.
            await asyncio.shield(asyncio.wrap_future(loading))
        with self._lock:
            return self._chosen(entry, skill, key)

    def load(self, skill: Skill[Any, Any]) -> None:
        """Load what the registry says of a skill now, instead of at its first call.

        What cannot be loaded is in `failures`.
        """
        entry = self._looked_at(skill)
        while (loading := entry.loading) is not None:
            loading.result()

    def failures(self) -> dict[str, str]:
        """Why bindings cannot be loaded, by their ids."""
        with self._lock:
            return {id_: why for one in self._entries.values() for id_, why in one.failed.items()}

    def _renew(self) -> None:
        """Begin anew: a forked child has no thread of its parent's, and cannot run its models."""
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._told: set[str] = set()

    def _looked_at(self, skill: Skill[Any, Any]) -> _Entry:
        """What is known of a skill, after a look at whether the registry changed."""
        fault: RegistryError | None = None
        version: Version | None = None
        try:
            version = self.registry.version()
        except RegistryError as error:
            fault = error
        with self._lock:
            entry = self._entries.setdefault(skill.name, _Entry())
            if fault is None and entry.version == version:
                return entry
            if entry.unread is not None and entry.unread.still(version):
                return entry
            try:
                if fault is not None:
                    raise fault
                state = self.registry.state(skill.name)
            except RegistryError as error:
                self._leave(entry, version, str(error))
                return entry
            if entry.unread is not None:
                self._told.discard(entry.unread.why)
                entry.unread = None
            entry.version = version
            self._turn(entry, skill, state)
            return entry

    def _leave(self, entry: _Entry, version: Version | None, why: str) -> None:
        """Go on as before, and tell of each fault once."""
        entry.version = None
        entry.unread = _Unread(version, time.monotonic() + _SECONDS_UNTIL_AGAIN, why)
        entry.settled = entry.settled or entry.loading is None
        if why not in self._told:
            self._told.add(why)
            _log.error("Calls go on as before: %s", why)

    def _turn(self, entry: _Entry, skill: Skill[Any, Any], state: State | None) -> None:
        """Begin to follow what the registry says of a skill."""
        if entry.settled and state == entry.wanted:
            return
        if state != entry.wanted:
            entry.wanted, entry.failed = state, {}
        loads = entry.missing() is not None
        if entry.settled or not loads:
            entry.settle()  # what ended stops at once, whatever else has to be loaded
        if loads and entry.loading is None:
            entry.loading = Future()
            # The process does not wait for it at its end.
            threading.Thread(
                target=self._load, args=(entry, skill, entry.loading),
                name="hetagent-binding", daemon=True,
            ).start()  # fmt: skip

    def _load(self, entry: _Entry, skill: Skill[Any, Any], done: Future[None]) -> None:
        """Load what is missing, one after the other, until nothing is."""
        while True:
            with self._lock:
                binding = entry.missing()
                if binding is None or entry.settled:
                    entry.settle()
                if binding is None:
                    entry.loading = None
                    break
            self._load_one(entry, skill, binding)
        done.set_result(None)

    def _load_one(self, entry: _Entry, skill: Skill[Any, Any], binding: Binding) -> None:
        try:
            found = self._open(binding, self.registry, skill)
        except BaseException as error:  # else those who wait would wait for ever
            why = str(error) if isinstance(error, HetagentError) else raised(error)
            with self._lock:
                entry.failed[binding.id] = why
            _log.warning(
                "The binding %s of %s cannot be used, and calls go on without it: %s",
                binding.id, skill.name, why,
            )  # fmt: skip
            return
        with self._lock:
            entry.bound[binding.id] = found
            entry.fits[binding.id] = WeakKeyDictionary({skill: True})

    def _chosen(self, entry: _Entry, skill: Skill[Any, Any], key: str) -> Choice | None:
        state = entry.state
        if state is None:
            return None
        shadowed = state.mode == "shadow" and in_trial(state, key)
        return Choice(
            state.mode,
            self._fitting(entry, skill, arm(state, key)),
            self._fitting(entry, skill, state.trial) if shadowed else None,
        )

    def _fitting(
        self, entry: _Entry, skill: Skill[Any, Any], binding: Binding | None
    ) -> Bound | None:
        """What is loaded of a binding, if it is for this very skill and not one of its name."""
        if binding is None:
            return None
        bound, fits = entry.bound[binding.id], entry.fits[binding.id]
        if skill not in fits:
            fits[skill] = _is_for(bound, skill)
        return bound if fits[skill] else None


def _named(state: State | None) -> tuple[Binding, ...]:
    """The bindings that take part in a state."""
    if state is None:
        return ()
    return tuple(one for one in (state.live, state.trial) if one is not None)


def _is_for(bound: Bound, skill: Skill[Any, Any]) -> bool:
    """Whether a skill is the one that a certificate was made for; of those that are not, it tells.

    Two skills may have one name, such as one with other examples than before.
    """
    promise = bound.policy.certificate(skill.name) if bound.policy is not None else None
    if promise is None:
        return True
    try:
        promise.check(fingerprint(skill, bound.model))
    except HetagentError as error:
        _log.warning(
            "The binding %s is not used for another skill that is named %s: %s",
            bound.binding.id, skill.name, error,
        )  # fmt: skip
        return False
    return True


_alive: WeakSet[BoundSkills] = WeakSet()


def _renew_all() -> None:
    for one in _alive:
        one._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
