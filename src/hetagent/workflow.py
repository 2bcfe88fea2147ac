"""Workflows: a plain function that calls several skills, run under one promise for its final value.

    @agent.workflow(max_error=0.05)
    def triage(message: str) -> str:
        return "desk" if urgent(message) else topic(message)

    triage.calibrate(examples)       # pairs of an input and the final value
    triage("The kitchen is on fire")

Its certificate holds one threshold for each skill, chosen together; see `hetagent.calibrate.joint`.
A step is accepted or escalated as a whole.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast

from pydantic_core import to_jsonable_python

from hetagent import telemetry
from hetagent.calibrate.workflow_certificate import WorkflowCertificate
from hetagent.errors import BudgetError, CertificateError, SkillError
from hetagent.fingerprint import function_digest, models_digest
from hetagent.joint_policy import JointPolicy
from hetagent.models.base import Request
from hetagent.outcome import FieldOutcome, Outcome, ServedBy, Usage
from hetagent.skill import Skill
from hetagent.steps import call_function, current_steps

if TYPE_CHECKING:
    from hetagent.orchestrator import Orchestrator
    from hetagent.replaying import Reference

__all__ = ["Workflow", "WorkflowOutcome"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class WorkflowOutcome(Generic[R]):
    """What a caller gets from a workflow.

    Attributes:
        workflow: Name of the function.
        value: What it returned.
        outcomes: Of every step, in the order in which they began.
        seconds: Wall-clock time of the whole run, in seconds.
        trace_id: 32 hexadecimal digits, the OpenTelemetry trace id where a span is active.
        certificate: Id of the certificate it ran by; ``None`` where it had none.
    """

    workflow: str
    value: R
    outcomes: tuple[Outcome[Any], ...]
    seconds: float
    trace_id: str
    certificate: str | None = None

    @property
    def served_by(self) -> ServedBy:
        """Who gave the steps' answers: ``"both"`` where some are of each."""
        by = {one.served_by for one in self.outcomes} - {"none"}
        if len(by) > 1 or "both" in by:
            return "both"
        return cast(ServedBy, next(iter(by), "none"))

    @property
    def escalations(self) -> int:
        """How many steps called the LLM."""
        return sum(one.escalated for one in self.outcomes)

    @property
    def usage(self) -> Usage:
        """Tokens and cost of all steps together."""
        return sum((one.usage for one in self.outcomes), start=Usage())

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all steps together; ``None`` where a price is not known."""
        return self.usage.cost_usd

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """Of each step."""
        return tuple(one.trace_id for one in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON data, for logs and scripts."""
        return {
            "workflow": self.workflow,
            "value": to_jsonable_python(self.value, fallback=str),
            "served_by": self.served_by,
            "escalations": self.escalations,
            "certificate": self.certificate,
            "usage": asdict(self.usage),
            "seconds": self.seconds,
            "trace_id": self.trace_id,
            "outcomes": [one.to_dict() for one in self.outcomes],
        }


@dataclass(slots=True)
class _Running:
    """Serves the steps of one run, and keeps their outcomes."""

    agent: Orchestrator
    begun: list[Outcome[Any] | None] = field(default_factory=list)

    def takes(self, agent: Orchestrator) -> bool:
        return agent._admission is self.agent._admission

    async def step(
        self,
        skill: Skill[Any, Any],
        request: Request,
        tell: Callable[[str, FieldOutcome], None] | None,
    ) -> Outcome[Any]:
        place = len(self.begun)
        self.begun.append(None)
        token = current_steps.set(None)
        try:
            self.begun[place] = outcome = await self.agent._serve(skill, request, tell)
        except BudgetError as error:
            self.begun[place] = error.outcome
            raise
        finally:
            current_steps.reset(token)
        return outcome

    @property
    def outcomes(self) -> tuple[Outcome[Any], ...]:
        return tuple(one for one in self.begun if one is not None)


class Workflow(Generic[P, R]):
    """A function that calls skills, run by one certificate; made by `Orchestrator.workflow`.

    Every skill that the function calls through the orchestrator, plainly or by ``agent.run``, is a
    step. Without a certificate all steps escalate.

    Attributes:
        name: The function's name.
        max_error: The error rate to keep among runs in which an answer of the SLM's is accepted.
        confidence: With which to keep it.
    """

    def __init__(
        self,
        agent: Orchestrator,
        function: Callable[P, R],
        *,
        max_error: float,
        confidence: float,
        certificate: WorkflowCertificate | str | os.PathLike[str] | None = None,
    ) -> None:
        for option, value in (("max_error", max_error), ("confidence", confidence)):
            if not isinstance(value, int | float) or not 0 < value < 1:
                raise SkillError(
                    f"{option} is {value!r}.", hint="Give a number between 0 and 1, such as 0.05."
                )
        if not callable(function) or isinstance(function, Skill):
            raise SkillError(
                f"{function!r} is no function that calls skills.",
                hint="Decorate a plain function: @agent.workflow(max_error=0.05).",
            )
        functools.update_wrapper(self, function)
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.max_error = max_error
        self.confidence = confidence
        self._agent = agent
        self._function = function
        self._signature = inspect.signature(function)
        self._certificate: WorkflowCertificate | None = None
        self._runner: Orchestrator | None = None
        if certificate is not None:
            self.certificate = (
                certificate
                if isinstance(certificate, WorkflowCertificate)
                else WorkflowCertificate.load(certificate)
            )

    def __repr__(self) -> str:
        by = self._certificate.id if self._certificate is not None else "not calibrated"
        return f"<Workflow {self.name}{self._signature}, {by}>"

    @property
    def certificate(self) -> WorkflowCertificate | None:
        """What it runs by; ``None`` where it is not calibrated, so that every step escalates.

        Raises:
            StaleCertificate: Where it is set: it is of another function or LLM.
            CertificateError: Where it is set: it promises less than the workflow is to keep.
        """
        return self._certificate

    @certificate.setter
    def certificate(self, given: WorkflowCertificate | None) -> None:
        if given is not None:
            self._check(given)
        self._certificate = given
        self._runner = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, and return the plain value; a coroutine of it for an asynchronous function.

        Raises:
            NoAnswerError: No model gave an acceptable answer to a step.
            StaleCertificate: A step's model, prompt or schema is not what was certified.
        """
        if inspect.iscoroutinefunction(self._function):
            return self._value(*args, **kwargs)  # type: ignore[return-value]
        return cast(R, self.run(*args, **kwargs).value)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> WorkflowOutcome[Any]:
        """Run it, and return the outcome with that of every step; see `__call__`."""
        steps, began = _Running(self._running()), time.perf_counter()
        with telemetry.skill_span(self.name) as span:
            value = call_function(self._agent, steps, self._function, args, kwargs)
        return self._outcome(value, steps, began, span.trace_id)

    async def arun(self, *args: P.args, **kwargs: P.kwargs) -> WorkflowOutcome[Any]:
        """Run it from asynchronous code; a plain function runs in a thread of its own."""
        if not inspect.iscoroutinefunction(self._function):
            return await asyncio.to_thread(self.run, *args, **kwargs)
        steps, began = _Running(self._running()), time.perf_counter()
        with telemetry.skill_span(self.name) as span:
            token = current_steps.set(steps)
            try:
                value = await self._function(*args, **kwargs)
            finally:
                current_steps.reset(token)
        return self._outcome(value, steps, began, span.trace_id)

    def calibrate(
        self,
        examples: Iterable[tuple[Any, Any]],
        /,
        *,
        correct: Callable[[Any, Any], bool] | None = None,
        reference: Reference | None = None,
        minimise: Literal["escalations", "cost"] = "escalations",
        fit_share: float = 0.25,
        max_replays: int = 64,
        concurrency: int = 16,
        seed: int = 0,
    ) -> WorkflowCertificate:
        """Choose the thresholds of all skills together, certify them, and run by them from now on.

        The function is replayed on every example with each choice between the SLM's and the LLM's
        answers that can matter, each model being asked each thing once. It must do the same
        whenever it gets the same inputs and answers, and what else it does (writing files, say) it
        does as often as it is replayed, in several threads.

        Args:
            examples: Pairs of the inputs (a dict by name or a tuple where there are several) and
                the right final value. They must be drawn like the inputs to come.
            correct: Whether a final value is right, given it and the label; by default they must
                be equal.
            reference: Answers escalated steps in the LLM's place, given the skill and its inputs
                as models are shown them (`Skill.request_text`). What is certified is then a
                workflow that has such answers at its escalated steps.
            minimise: The number of escalated steps, or what the LLM's answers cost.
            fit_share: Share of the examples that choose the sequence of thresholds; the others
                certify.
            max_replays: Of one example; choices beyond them count as wrong, which is always safe.
            concurrency: Examples under way at once.
            seed: Of the split.

        Returns:
            The certificate; where nothing can be promised its `WorkflowCertificate.explain` says
            how many labelled runs would do, and everything escalates.

        Raises:
            InputError: There are too few examples, one cannot be used, or the function does not do
                the same when it gets the same answers.
            SkillError: There is no SLM, or neither an LLM nor a reference.
            CertificateError: No answer of the SLM's has a confidence.
            BudgetError: The orchestrator's budget does not pay for the LLM's answers.
            MissingExtraError: scikit-learn is not installed.
        """
        from hetagent.workflow_calibration import calibrate_workflow

        self.certificate = calibrate_workflow(
            self._agent,
            self._function,
            examples,
            name=self.name,
            max_error=self.max_error,
            confidence=self.confidence,
            depends_on=self._current(with_llm=reference is None),
            correct=correct,
            reference=reference,
            minimise=minimise,
            fit_share=fit_share,
            max_replays=max_replays,
            concurrency=concurrency,
            seed=seed,
        )
        return self.certificate

    async def _value(self, *args: Any, **kwargs: Any) -> Any:
        return (await self.arun(*args, **kwargs)).value

    def _running(self) -> Orchestrator:
        if self._runner is None:
            # Audits count errors of steps, and what is promised here is about final values.
            self._runner = self._agent.with_options(
                policy=JointPolicy(self._certificate), escalate="whole", audit=None
            )
            # Bindings have thresholds of their own, which were not chosen together.
            self._runner._switched = None
        return self._runner

    def _outcome(
        self, value: Any, steps: _Running, began: float, trace_id: str
    ) -> WorkflowOutcome[Any]:
        return WorkflowOutcome(
            self.name,
            value,
            steps.outcomes,
            time.perf_counter() - began,
            trace_id,
            self._certificate.id if self._certificate is not None else None,
        )

    def _check(self, given: WorkflowCertificate) -> None:
        if given.max_error > self.max_error or given.confidence < self.confidence:
            raise CertificateError(
                f"The certificate {given.id} keeps an error of {given.max_error:.4g} with "
                f"{given.confidence:.4g}, and {self.name} is to keep {self.max_error:.4g} with "
                f"{self.confidence:.4g}.",
                hint="Calibrate the workflow again, or declare it with what the certificate keeps.",
            )
        given.check(self._current(with_llm="llm" in given.depends_on))

    def _current(self, *, with_llm: bool) -> dict[str, str]:
        """Hashes of all that the whole depends on; skills are checked where they run."""
        current = {"function": function_digest(self._function)}
        return current | ({"llm": models_digest(self._agent.llms)} if with_llm else {})
