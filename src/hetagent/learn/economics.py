"""What a converted workload costs beside the LLM alone, and when it pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["UTILISATIONS", "Economics"]

UTILISATIONS = (0.2, 0.5, 1.0)
"""Shares of a machine's time in which it has calls to answer, as reports tell them."""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Economics:
    """A workload's calls, and what answers them.

    Attributes:
        llm_usd: What the LLM costs a call, on average of the recorded ones, in US dollars; ``None``
            where no record says.
        llm_tokens: Tokens of prompt and completion a call, likewise.
        coverage: Share of the calls that the skill serves.
        calls_per_second: That the skill answers on the machine it was measured on.
    """

    llm_usd: float | None
    llm_tokens: float | None
    coverage: float
    calls_per_second: float

    def saved_usd(self) -> float | None:
        """What a call saves of the LLM's price, before what the machine costs."""
        return None if self.llm_usd is None else self.coverage * self.llm_usd

    def machine_usd_per_hour(self, utilisation: float) -> float | None:
        """What the machine may cost an hour for the conversion to break even.

        Every call is asked of the skill first, and those that it serves save the LLM's price.

        Args:
            utilisation: Share of the time in which the machine has calls to answer, in (0, 1].
        """
        saved = self.saved_usd()
        return None if saved is None else saved * self.calls_per_second * utilisation * _HOUR

    def usd_per_1000(self, utilisation: float, *, machine_usd_per_hour: float) -> float | None:
        """What 1,000 calls cost converted: the machine's time, and the LLM where it is asked.

        Args:
            utilisation: As above.
            machine_usd_per_hour: What the machine costs.
        """
        if self.llm_usd is None:
            return None
        calls = self.calls_per_second * utilisation * _HOUR
        return 1000 * (machine_usd_per_hour / calls + (1 - self.coverage) * self.llm_usd)

    def explain(self) -> Iterator[str]:
        """When it pays, in sentences."""
        if self.llm_usd is None:
            yield (
                "not known: no record says what the LLM cost. "
                f"{self.coverage:.1%} of its calls are saved."
            )
            return
        yield (
            f"1,000 calls cost ${1000 * self.llm_usd:.4g} by the LLM alone, and "
            f"${1000 * (1 - self.coverage) * self.llm_usd:.4g} where the skill answers first, "
            "before the machine"
        )
        prices = ", ".join(
            f"${self.machine_usd_per_hour(share) or 0:.4g} an hour at {share:.0%}"
            for share in UTILISATIONS
        )
        yield f"as long as the machine costs less than {prices} of its time used"

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        prices = {f"{share:.0%}": self.machine_usd_per_hour(share) for share in UTILISATIONS}
        return {**asdict(self), "break_even_machine_usd_per_hour": prices}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(data["llm_usd"], data["llm_tokens"], data["coverage"], data["calls_per_second"])
