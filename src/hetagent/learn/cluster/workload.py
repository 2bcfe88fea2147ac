"""A workload: calls that do the same task; what goes in, what comes out, whether it is narrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from hetagent.learn.cluster.actions import Output
from hetagent.learn.cluster.slots import Slot

__all__ = ["Example", "Period", "Verdict", "Workload"]


@dataclass(frozen=True, slots=True)
class Example:
    """One call of a workload.

    Attributes:
        inputs: What is in the template's slots, by their names.
        answer: What the model said.
    """

    inputs: Mapping[str, str]
    answer: str


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time in the life of a workload.

    Attributes:
        start: Its first day, as ``YYYY-MM-DD``, in UTC.
        calls: Calls in it.
        share: Of all calls in that time.
        distance: How far the meaning of the inputs has moved since the first stretch: 0 where it is
            the same, 1 where nothing is; ``None`` where there are too few calls to say.
    """

    start: str
    calls: int
    share: float
    distance: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a small model can be expected to do it; a first look, from the calls alone.

    Attributes:
        narrow: Narrow and repetitive, rather than open-ended.
        reasons: Why, in whole sentences; what speaks against it, too.
    """

    narrow: bool
    reasons: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """The verdict in two or three words."""
        return "narrow and repetitive" if self.narrow else "open-ended"


@dataclass(frozen=True, slots=True)
class Workload:
    """Calls that do the same task.

    Attributes:
        name: Its own.
        size: How many calls.
        share: Of all calls.
        tokens: Of prompts and completions, where known.
        token_share: Of all calls' tokens.
        cost_usd: US dollars, where known.
        cost_share: Of all calls' cost.
        instructions: The fixed text of its most common template, its slots' names in braces.
        wordings: Templates that it has.
        inputs: The slots of the most common one.
        output: What it answers.
        tools: Tools that it is offered: name, description and parameters of each.
        example: One call.
        drift: By week, or by day where it is younger than two weeks.
        verdict: Whether it is narrow.
    """

    name: str
    size: int
    share: float
    tokens: int
    token_share: float
    cost_usd: float
    cost_share: float
    instructions: str
    wordings: int
    inputs: tuple[Slot, ...]
    output: Output
    tools: tuple[Mapping[str, Any], ...]
    example: Example | None
    drift: tuple[Period, ...]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return {
            **data,
            "inputs": [one.to_dict() for one in self.inputs],
            "output": asdict(self.output),
            "tools": [dict(one) for one in self.tools],
            "example": None if self.example is None else asdict(self.example),
            "drift": [asdict(one) for one in self.drift],
            "verdict": {**asdict(self.verdict), "in_words": self.verdict.in_words},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        output = data["output"]
        example, verdict = data["example"], data["verdict"]
        return cls(
            **{
                **data,
                "inputs": tuple(Slot.from_dict(one) for one in data["inputs"]),
                "output": Output(**{**output, "tools": tuple(output["tools"])}),
                "tools": tuple(data["tools"]),
                "example": None if example is None else Example(**example),
                "drift": tuple(Period(**one) for one in data["drift"]),
                "verdict": Verdict(verdict["narrow"], tuple(verdict["reasons"])),
            }
        )
