"""How an orchestrator runs skills, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hetagent.errors import SkillError
from hetagent.policy import Policy, Threshold

__all__ = ["Options", "as_policy"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an orchestrator, as `hetagent.Orchestrator` explains them.

    Raises:
        SkillError: An option is out of range.
    """

    policy: Policy
    escalate: Literal["whole", "fields"]
    timeout: float | None
    concurrency: int
    progress: bool | None

    def __post_init__(self) -> None:
        limit = self.timeout
        checks = {
            "escalate": (self.escalate in ("whole", "fields"), "'whole' or 'fields'"),
            "timeout": (
                limit is None or (isinstance(limit, int | float) and limit > 0),
                "seconds above 0, or None",
            ),
            "concurrency": (
                isinstance(self.concurrency, int) and self.concurrency >= 1,
                "a whole number of at least 1",
            ),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise SkillError(
                    f"{name} is {getattr(self, name)!r}.", hint=f"It must be {allowed}."
                )


def as_policy(policy: Policy | float) -> Policy:
    """A policy, or a number that stands for ``Threshold(number)``.

    Raises:
        SkillError: It is neither.
    """
    if isinstance(policy, int | float) and not isinstance(policy, bool):
        return Threshold(float(policy))
    if not isinstance(policy, Policy):
        raise SkillError(
            f"policy is {policy!r}.",
            hint="Give a number, Threshold(0.9, skills={...}), or a Policy of your own.",
        )
    return policy
