"""How an orchestrator runs skills, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hetagent.breaker import Breaker
from hetagent.budget import Budget
from hetagent.errors import SkillError
from hetagent.models.base import Model, as_model
from hetagent.policy import Policy, Threshold
from hetagent.sink import Captures
from hetagent.skill import Skill

__all__ = ["Options", "as_captures", "as_ladder", "as_policy", "require_models"]


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
    budget: Budget | None = None
    breaker: Breaker | None = field(default_factory=Breaker)

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
            "budget": (
                self.budget is None or isinstance(self.budget, Budget),
                "Budget(usd_per_call=...) or the like, or None",
            ),
            "breaker": (
                self.breaker is None or isinstance(self.breaker, Breaker),
                "Breaker(failures=..., pause=...), or None for none",
            ),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise SkillError(
                    f"{name} is {getattr(self, name)!r}.", hint=f"It must be {allowed}."
                )


def as_captures(record: Captures | None) -> Captures | None:
    """What captures calls, checked.

    Raises:
        SkillError: It cannot.
    """
    if record is not None and not isinstance(record, Captures):
        raise SkillError(
            f"record is {record!r}.", hint="Give a recorder: record=hetagent.Recorder(path)."
        )
    return record


def as_ladder(llm: Model | Sequence[Model] | None) -> tuple[Model, ...]:
    """The LLMs in the order in which they are asked.

    Raises:
        SkillError: One of them is not a model.
    """
    given: Any = llm
    if given is None:
        return ()
    if isinstance(given, list | tuple):
        for index, one in enumerate(given):
            if one is None:
                raise SkillError(f"llm[{index}] is None.", hint="Give models only.")
            as_model(one, f"llm[{index}]")
        return tuple(given)
    return (as_model(given, "llm"),)


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


def require_models(skill: Skill[Any, Any], slm: Model | None, llms: tuple[Model, ...]) -> None:
    """Refuse to run what is no skill, or has nothing to run on.

    Raises:
        SkillError: It is so.
    """
    if not isinstance(skill, Skill):
        raise SkillError(f"{skill!r} is not a skill.", hint="Decorate it with @skill.")
    if slm is None and not llms and skill.model is None:
        raise SkillError(
            "The orchestrator has no model.",
            hint='Give it one: Orchestrator(slm=LlamaCpp("smollm2-135m-instruct")).',
        )
