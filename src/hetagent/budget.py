"""What model calls may cost and take: the caps, and what is done where one is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hetagent.errors import SkillError

__all__ = ["AtCap", "Budget", "Spent", "Window", "WindowSpent", "check_caps"]

AtCap: TypeAlias = Literal["abstain", "degrade", "raise"]
"""What is done where a cap is reached.

``abstain`` gives no value; ``degrade`` serves the best valid answer there is, although it was not
accepted, and gives none where there is none; ``raise`` raises `BudgetError`, but for a row of
`Orchestrator.map`, which then has no value. The reason is ``budget`` in any case.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Caps on any stretch of time so long.

    Attributes:
        seconds: Its length.
        usd: US dollars that all model calls within it may cost.
        llm_calls: How often LLMs may be called within it.

    Raises:
        SkillError: A cap is out of range.
    """

    seconds: float
    usd: float | None = None
    llm_calls: int | None = None

    def __post_init__(self) -> None:
        check_caps({"seconds": self.seconds or 0.0, "usd": self.usd, "llm_calls": self.llm_calls})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps on what an orchestrator's model calls cost and take.

    Attributes:
        usd_per_call: US dollars that all model calls of one call of a skill may cost.
        seconds_per_call: Seconds that one call of a skill may take.
        windows: Caps on stretches of time, over all calls.
        at_cap: What is done where a cap is reached.
        first_reserve: US dollars set aside for the first calls of an LLM that does not know its
            price; then it is the largest cost seen of that LLM and skill.

    Raises:
        SkillError: A cap is out of range.
    """

    usd_per_call: float | None = None
    seconds_per_call: float | None = None
    windows: tuple[Window, ...] = ()
    at_cap: AtCap = "abstain"
    first_reserve: float = 0.01

    def __post_init__(self) -> None:
        if self.first_reserve is None:
            raise SkillError(
                "first_reserve is None.", hint="Give US dollars to set aside, such as 0.01."
            )
        check_caps(
            {
                "usd_per_call": self.usd_per_call,
                "seconds_per_call": self.seconds_per_call,
                "first_reserve": self.first_reserve,
            },
            self.at_cap,
        )
        given = self.windows if isinstance(self.windows, tuple) else (None,)
        if not all(isinstance(one, Window) for one in given):
            raise SkillError(
                f"windows is {self.windows!r}.", hint="Give (Window(seconds=3600, usd=1.0),)."
            )


@dataclass(frozen=True, slots=True)
class WindowSpent:
    """What was spent within a window that ends now.

    Attributes:
        window: Which.
        usd: US dollars.
        llm_calls: Calls of LLMs that ended, and those in flight.
    """

    window: Window
    usd: float
    llm_calls: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What an orchestrator has spent.

    Attributes:
        usd: US dollars of all model calls so far; those of unknown cost with their estimate.
        unknown: How many of these calls had no known cost.
        in_flight: Model calls that are under way.
        reserved_usd: US dollars set aside for them.
        refused: Model calls that a budget did not let begin.
        windows: Of each window of the budget.
    """

    usd: float
    unknown: int
    in_flight: int
    reserved_usd: float
    refused: int
    windows: tuple[WindowSpent, ...] = ()


def check_caps(caps: dict[str, float | None], at_cap: AtCap | None = None) -> None:
    """Refuse caps that are out of range.

    Raises:
        SkillError: One is.
    """
    for name, cap in caps.items():
        fine = cap is None or (
            isinstance(cap, int | float)
            and not isinstance(cap, bool)
            and (cap > 0 if "seconds" in name else cap >= 0)
            and math.isfinite(cap)
            and (isinstance(cap, int) or name != "llm_calls")
        )
        if not fine:
            raise SkillError(
                f"{name} is {cap!r}.",
                hint="Caps are US dollars or calls from 0, or seconds above 0; None is no cap.",
            )
    if at_cap not in (None, "abstain", "degrade", "raise"):
        raise SkillError(
            f"at_cap is {at_cap!r}.", hint="It must be 'abstain', 'degrade' or 'raise'."
        )
