"""What may be set of a conversion, and what is taken where nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from hetagent.errors import InputError
from hetagent.learn.record import Trainable
from hetagent.learn.task import SHARES
from hetagent.learn.tune.settings import TuneSettings
from hetagent.models.catalog import DEFAULT_SLM

__all__ = ["ConvertSettings"]

# Labels of a choice whose probabilities are all worth asking for: more cost much more time.
_MOST_LABELS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSettings:
    """How a workload is converted.

    Attributes:
        base: The small model that is tuned: a catalogue name or a ``.gguf`` path.
        tune: How.
        brief: Whether the skill's prompt has only the first sentence of the workload's
            instructions; a tuned model has learned the rest, and reads less at each call.
        max_error: Error rate to keep among the answers that the skill serves, α.
        confidence: How surely that, and the margin, are to be kept.
        margin: Share of all calls that may be lost against the LLM on later calls; by default
            ``max_error``, of which it cannot be more if the certificate holds.
        least_coverage: Share of the calls that the skill must serve to be promoted.
        mode: What a skill that may be promoted is switched to.
        share: Of the calls, for a canary.
        permitted: What records must say of their answers to be learned from.
        unredacted: Whether records that were never redacted are taken.
        interactive: Whether calls in which a person talks with the model are taken.
        shares: Of the calls, by time: to learn from, to stop by, to certify with, to decide on.
        seed: Of what is random.

    Raises:
        InputError: A value is out of its range.
    """

    base: str = DEFAULT_SLM
    tune: TuneSettings = field(default_factory=TuneSettings)
    brief: bool = True
    max_error: float = 0.05
    confidence: float = 0.95
    margin: float | None = None
    least_coverage: float = 0.05
    mode: Literal["live", "canary", "shadow"] = "live"
    share: float = 0.1
    permitted: frozenset[Trainable] = frozenset({"trainable"})
    unredacted: bool = False
    interactive: bool = False
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    seed: int = 0

    def __post_init__(self) -> None:
        fine = {
            "max_error": 0 < self.max_error < 1,
            "confidence": 0.5 <= self.confidence < 1,
            "margin": self.margin is None or 0 < self.margin < 1,
            "least_coverage": 0 <= self.least_coverage <= 1,
            "mode": self.mode in ("live", "canary", "shadow"),
            "share": 0 < self.share <= 1,
            "permitted": bool(self.permitted) and "no-train" not in self.permitted,
        }
        if wrong := [name for name, holds in fine.items() if not holds]:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise InputError(f"Nothing can be converted with {shown}.", hint="See ConvertSettings.")

    @property
    def allowed_loss(self) -> float:
        """The margin that is kept."""
        return self.max_error if self.margin is None else self.margin

    def model_options(self, labels: int) -> dict[str, Any]:
        """Options of the model that serves the skill.

        Args:
            labels: That it chooses among; 0 where it does not choose.
        """
        return {"all_labels": labels <= _MOST_LABELS}

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            **known,
            "tune": self.tune.to_dict(),
            "permitted": sorted(self.permitted),
            "shares": dict(self.shares),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises:
            InputError: A name or a value is none of it.
        """
        known = {one.name for one in fields(cls)}
        if strange := sorted(set(data) - known):
            raise InputError(
                f"There is no setting {', '.join(strange)} of a conversion.",
                hint="They were written by another version: convert the workload again.",
            )
        tune = TuneSettings.from_dict(data.get("tune", {}))
        permitted = frozenset(data.get("permitted", ("trainable",)))
        return cls(**{**data, "tune": tune, "permitted": permitted})
