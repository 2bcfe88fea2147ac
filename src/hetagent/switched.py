"""What an orchestrator follows a registry with: the binding of each call, and its shadow."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Any

from hetagent.binding import Bindings
from hetagent.bound import BoundSkills
from hetagent.errors import SkillError, StaleCertificate
from hetagent.models.base import Model, Request
from hetagent.opened import Bound
from hetagent.options import Options
from hetagent.outcome import Outcome
from hetagent.policy import Policy
from hetagent.registry import Registry
from hetagent.shadow import Shadows
from hetagent.skill import Skill

__all__ = ["Run", "Switched"]

_log = logging.getLogger("hetagent")


@dataclass(frozen=True, slots=True)
class Run:
    """What one call runs on.

    Attributes:
        slm: The small model, asked first; ``None`` for none.
        options: How.
        switched: Whether a registry says so.
        serving: The binding that this is of; ``None`` where it is none.
        shadow: The binding that answers beside it.
    """

    slm: Model | None
    options: Options
    switched: bool = False
    serving: Bound | None = None
    shadow: Bound | None = None


class Switched:
    """Follows a registry.

    Args:
        registry: It, or its folder.

    Attributes:
        bound: Its bindings, loaded.
        shadows: Those in shadow mode.

    Raises:
        SkillError: It is no registry.
    """

    def __init__(self, registry: Registry | str | os.PathLike[str]) -> None:
        if not isinstance(registry, Registry | str | os.PathLike):
            raise SkillError(
                f"registry is {registry!r}.", hint="Give a registry's folder, or Registry(folder)."
            )
        known = registry if isinstance(registry, Registry) else Registry(registry)
        self.bound = BoundSkills(known)
        self.shadows = Shadows(known)
        self._bindings = Bindings()
        self._refused: set[str] = set()

    async def run(
        self, skill: Skill[Any, Any], *, key: str, slm: Model | None, options: Options
    ) -> Run:
        """What a call runs on.

        Args:
            skill: What is called.
            key: Of the conversation or trace.
            slm: The orchestrator's own small model, for skills that the registry does not know.
            options: The orchestrator's own; its policy decides where a binding has none.
        """
        choice = await self.bound.choice(skill, key=key)
        if choice is None:
            return Run(slm, options)
        bound = choice.serving
        if bound is None:
            return Run(None, options, switched=True, shadow=choice.shadow)
        if bound.policy is None and not self._may_decide(options.policy, skill, bound):
            return Run(None, options, switched=True, shadow=choice.shadow)
        kept = options if bound.policy is None else replace(options, policy=bound.policy)
        return Run(bound.model, kept, switched=True, serving=bound, shadow=choice.shadow)

    def compare(
        self,
        run: Run,
        skill: Skill[Any, Any],
        request: Request,
        outcome: Outcome[Any],
        options: Options,
    ) -> None:
        """Have the shadow answer a call that was served, and compare; returns at once.

        Args:
            run: What the call ran on.
            skill: What was called.
            request: What its models were asked.
            outcome: What became of it.
            options: The orchestrator's own.
        """
        if run.shadow is not None and outcome.served_by != "none":
            self.shadows.compare(run.shadow, skill, request, served=outcome, options=options)

    def _may_decide(self, policy: Policy, skill: Skill[Any, Any], bound: Bound) -> bool:
        """Whether a policy promises only what holds for a binding; else it tells once."""
        try:
            self._bindings.check(policy, skill, bound.model)
        except StaleCertificate as error:
            if bound.binding.id not in self._refused:
                self._refused.add(bound.binding.id)
                _log.warning(
                    "The binding %s of %s has no certificate, and the policy's is of another "
                    "model, so that only the LLM serves: %s",
                    bound.binding.id, skill.name, error,
                )  # fmt: skip
            return False
        return True
