"""What may be set of watching, and what is taken where nothing is."""

from __future__ import annotations

from dataclasses import dataclass

from hetagent.errors import InputError

__all__ = ["WatchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """How skills are watched.

    Attributes:
        level: Chance that one look takes chance for moved inputs, for new groups among them, or for
            new answers; each of these for itself.
        confidence: One minus the chance that the share served, or what can be read, is ever said to
            have fallen where it has not, over all looks together.
        sample: Recent inputs that are compared, and escalated ones that are grouped.
        least: Calls of a new group.
        seed: Of what is random.

    Raises:
        InputError: A value is out of its range.
    """

    level: float = 0.01
    confidence: float = 0.99
    sample: int = 1000
    least: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        fine = {
            "level": 0.002 <= self.level < 1,
            "confidence": 0.5 <= self.confidence < 1,
            "sample": self.sample >= 20,
            "least": self.least >= 2,
        }
        if wrong := [name for name, holds in fine.items() if not holds]:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise InputError(f"Nothing can be watched with {shown}.", hint="See WatchSettings.")
