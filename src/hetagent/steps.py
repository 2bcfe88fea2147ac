"""Who serves the steps of a workflow while one runs: a port that the orchestrator looks at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from hetagent import portal
from hetagent.models.base import Request
from hetagent.outcome import FieldOutcome, Outcome
from hetagent.skill import Skill

if TYPE_CHECKING:
    from hetagent.orchestrator import Orchestrator

__all__ = ["Steps", "call_function", "current_steps"]


class Steps(Protocol):
    """Serves every skill that a workflow's function calls, however it calls it."""

    def takes(self, agent: Orchestrator) -> bool:
        """Whether what this orchestrator is asked for is a step of the workflow."""

    async def step(
        self,
        skill: Skill[Any, Any],
        request: Request,
        tell: Callable[[str, FieldOutcome], None] | None,
    ) -> Outcome[Any]:
        """Serve one step."""


# Of the workflow that runs in this thread or task.
current_steps: ContextVar[Steps | None] = ContextVar("hetagent_steps", default=None)


def call_function(
    agent: Orchestrator,
    steps: Steps,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call a function with its skills served as steps, and wait for its value."""
    token = current_steps.set(steps)
    try:
        with agent:
            value = function(*args, **kwargs)
            return portal.call(value) if inspect.iscoroutine(value) else value
    finally:
        current_steps.reset(token)
