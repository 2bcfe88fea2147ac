"""Whoever says of a drawn answer whether it is right: an LLM asked the same, or a function."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hetagent.admission import Admission
from hetagent.assembly import Assembly
from hetagent.attempt import Attempt
from hetagent.audit import Audit
from hetagent.audit_queue import in_thread
from hetagent.calibrate.correctness import is_partial, judge
from hetagent.calls import ask
from hetagent.errors import InputError, ModelError, ModelTimeoutError
from hetagent.models.base import Model, Request
from hetagent.options import Options
from hetagent.outcome import Outcome
from hetagent.recall import Answer
from hetagent.verdicts import check_fields

__all__ = ["Examiner"]


class Examiner:
    """Asks whom the audit names.

    Args:
        audit: Who, and what counts as right.
        llms: Those of the orchestrator.
        admission: That of the orchestrator, so that its budget and breakers hold.
    """

    def __init__(self, audit: Audit, *, llms: tuple[Model, ...], admission: Admission) -> None:
        self._audit = audit
        self._llms = llms
        self._admission = admission

    async def verdict(
        self, outcome: Outcome[Any], answer: Answer, request: Request, options: Options
    ) -> bool | Mapping[str, bool] | None:
        """Whether an answer is right, or which fields of it; ``None`` where that is not known.

        Raises:
            HetagentError: The auditor failed, or is not let be called.
            Exception: A function of the user's failed.
        """
        by = self._audit.by
        if by is None:
            return None
        if by == "llm":
            return await self._by_model(0, answer, request, options)
        if isinstance(by, Model):
            return await self._by_model(self._rung(by), answer, request, options)
        said = await in_thread(by, outcome, request)
        if isinstance(said, Mapping):
            check_fields(said, answer.skill.output)
        elif not isinstance(said, bool | None):
            raise InputError(
                f"The auditor returned {said!r}.",
                hint="It must return a bool, a dict of bools by field path, or None.",
            )
        return said

    def compare(self, answer: Answer, label: Any) -> Mapping[str, bool]:
        """An answer compared with what it should have been, as JSON data, like in calibration."""
        rule = self._audit.rule(answer.skill.name)
        found = judge(answer.json, label, correct=rule, wholes=answer.skill.output.wholes)
        if rule is None and is_partial(answer.skill.output, label):
            found.pop("", None)
        return found

    async def _by_model(
        self, rung: int, answer: Answer, request: Request, options: Options
    ) -> Mapping[str, bool]:
        model = self._model(rung)
        try:
            async with asyncio.timeout(self._audit.timeout):
                attempt = await self._ask(rung, answer, request, options)
        except TimeoutError as error:
            raise ModelTimeoutError(
                f"{model.name} gave no verdict within {self._audit.timeout} seconds.",
                hint="Raise Audit(timeout=...).",
            ) from error
        if not attempt.valid:
            raise attempt.error or ModelError(f"{model.name} gave no valid answer.")
        return self.compare(answer, answer.skill.output.to_json(attempt.value))

    async def _ask(self, rung: int, answer: Answer, request: Request, options: Options) -> Attempt:
        allowance = self._admission.allowance(options, answer.skill.name)
        permit = await allowance.admit(self._model(rung), request, rung=rung)
        attempt = None
        try:
            run = Assembly(answer.skill, request, answer.trace_id)
            attempt = await ask(self._model(rung), run, request, permit=permit)
        finally:
            permit.settle(attempt)
        return attempt

    def _rung(self, model: Model) -> int:
        """Its place in the ladder; one that is not there has a breaker of its own behind it."""
        return self._llms.index(model) if model in self._llms else len(self._llms)

    def _model(self, rung: int) -> Model:
        by = self._audit.by
        if rung < len(self._llms):
            return self._llms[rung]
        assert isinstance(by, Model)
        return by
