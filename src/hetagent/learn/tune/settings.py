"""How a model is tuned: what may be set, and what is used where nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from hetagent.errors import InputError

__all__ = ["TuneSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """How low-rank terms are trained beside all linear layers (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: Of the low-rank terms.
        alpha: They are scaled by ``alpha / rank``; twice the rank by default.
        rate: Peak learning rate; by default as the network's width asks for.
        epochs: How often each example is seen.
        batch: Examples of a step.
        tokens: Most tokens that are evaluated at once, padding included; a step of long examples
            has several parts. Memory grows with it.
        warmup: Share of the steps in which the rate rises; it falls to zero in the others.
        evaluations: How often the validation examples are looked at.
        patience: Evaluations without a lower loss after which it ends.
        minutes: Most time it may take; the epochs are cut short so that it ends in time.
        precision: What is computed in; by default what is faster on this processor. What is trained
            is kept in float32.
        compiled: Whether PyTorch compiles what it can, which takes half a minute and makes steps
            faster by half; by default where that pays and there is a C++ compiler.
        seed: Of what is random.

    Raises:
        InputError: A value is out of its range.
    """

    rank: int = 16
    alpha: float | None = None
    rate: float | None = None
    epochs: float = 3.0
    batch: int = 64
    tokens: int = 4096
    warmup: float = 0.05
    evaluations: int = 8
    patience: int = 3
    minutes: float | None = None
    precision: Literal["bf16", "f32"] | None = None
    compiled: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        fine = {
            "rank": 1 <= self.rank <= 1024,
            "alpha": self.alpha is None or self.alpha > 0,
            "rate": self.rate is None or 0 < self.rate < 1,
            "epochs": self.epochs > 0,
            "batch": self.batch >= 1,
            "tokens": self.tokens >= 1,
            "warmup": 0 <= self.warmup < 1,
            "evaluations": self.evaluations >= 1,
            "patience": self.patience >= 1,
            "minutes": self.minutes is None or self.minutes > 0,
            "precision": self.precision in (None, "bf16", "f32"),
        }
        if wrong := [name for name, holds in fine.items() if not holds]:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise InputError(f"Nothing can be tuned with {shown}.", hint="See TuneSettings.")

    @property
    def scale(self) -> float:
        """What the low-rank terms are multiplied by."""
        return (2.0 * self.rank if self.alpha is None else self.alpha) / self.rank

    def rate_for(self, width: int) -> float:
        """The peak learning rate for a network of this width."""
        if self.rate is not None:
            return self.rate
        # Measured for SmolLM2-135M, of width 576; wider networks want less, by about this much.
        return float(2e-3 * (576 / width) ** 0.78)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises:
            InputError: A name or a value is none of it.
        """
        known = {one.name for one in fields(cls)}
        if strange := sorted(set(data) - known):
            raise InputError(
                f"There is no setting {', '.join(strange)}.",
                hint=f"Settings are {', '.join(sorted(known))}.",
            )
        return cls(**data)
