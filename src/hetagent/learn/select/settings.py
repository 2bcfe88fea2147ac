"""How a model is selected."""

from __future__ import annotations

from dataclasses import dataclass, field

from hetagent.errors import InputError
from hetagent.learn.select.limits import Limits

__all__ = ["SelectSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSettings:
    """Which models are raced, and how.

    Attributes:
        models: Catalogue names, hub references, variants and paths to ``.gguf`` files; ``None`` for
            the whole catalogue.
        fetch: Whether models that are not on this machine may be fetched.
        limits: What none may break.
        examples: How many examples are retrieved for each call; 0 for none.
        tune: How many of the best models are tuned.
        minutes: Most time to train each of them; ``None`` for as long as it takes.
        margin: The loss of quality that speed is worth: 0.01 is one point.
        usd_per_hour: What this machine costs; ``None`` where that is not known.
        concurrency: Calls under way at once.
        seed: Of what is random.

    Raises:
        InputError: A value is out of its range.
    """

    models: tuple[str, ...] | None = None
    fetch: bool = False
    limits: Limits = field(default_factory=Limits)
    examples: int = 5
    tune: int = 1
    minutes: float | None = None
    margin: float = 0.01
    usd_per_hour: float | None = None
    concurrency: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        fine = {
            "examples": self.examples >= 0,
            "tune": self.tune >= 0,
            "minutes": self.minutes is None or self.minutes > 0,
            "margin": 0 <= self.margin < 1,
            "usd_per_hour": self.usd_per_hour is None or self.usd_per_hour >= 0,
            "concurrency": self.concurrency >= 1,
        }
        if wrong := [name for name, holds in fine.items() if not holds]:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise InputError(f"Nothing can be selected with {shown}.", hint="See SelectSettings.")
