"""How events add up: what each skill is switched to, and what a rollback leads back to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hetagent.errors import RegistryError
from hetagent.registry.log import Event, Mode

__all__ = ["Standing", "standings"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the events of one skill add up to.

    Attributes:
        lives: The event that made the present binding live, or switched off, last; before it those
            that a rollback leads back to, one after another.
        trial: The event of the canary or shadow beside it.
        last: The skill's last event.
    """

    lives: tuple[Event, ...]
    trial: Event | None
    last: Event

    @property
    def live(self) -> Event | None:
        """What made the present binding live; ``None`` where none is."""
        return self.lives[-1] if self.lives and self.lives[-1].binding is not None else None

    @property
    def mode(self) -> Mode:
        """Of the trial, where there is one."""
        if self.trial is not None:
            return self.trial.mode
        return "live" if self.live is not None else "off"

    def after(self, event: Event) -> Standing:
        """What it is once one more happened."""
        if event.undo:
            lives = self.lives if self.trial is not None else self.lives[:-1]
            return Standing(lives, None, event)
        if event.mode in ("canary", "shadow"):
            return replace(self, trial=event, last=event)
        now = self.live.binding if self.live is not None else None
        # The same once more is nothing that a rollback could lead back from.
        lives = self.lives if event.binding == now else (*self.lives, event)
        return Standing(lives, None, event)

    def before(self) -> Event | None:
        """What a rollback makes live: an event with its binding; ``None`` for off.

        Raises:
            RegistryError: There is nothing to take back.
        """
        if self.trial is not None:
            return self.live
        if not self.lives:
            raise RegistryError(
                f"There is nothing to roll back of {self.last.skill}: no binding is on trial or "
                "live, and none was before.",
                hint="`hetagent registry history` shows what was switched.",
            )
        back = self.lives[-2] if len(self.lives) > 1 else None
        return back if back is not None and back.binding is not None else None


def standings(events: Iterable[Event]) -> dict[str, Standing]:
    """What the events add up to, by skill."""
    found: dict[str, Standing] = {}
    for event in events:
        before = found.get(event.skill) or Standing((), None, event)
        found[event.skill] = before.after(event)
    return found
