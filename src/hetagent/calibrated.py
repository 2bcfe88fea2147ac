"""What an orchestrator has to certify when its small model may be trusted, and to run by that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from hetagent.errors import SkillError
from hetagent.models.base import Model
from hetagent.policy import Threshold
from hetagent.skill import Skill

if TYPE_CHECKING:
    from hetagent.calibrate.certificate import Certificate
    from hetagent.calibrate.correctness import Correct
    from hetagent.calibrate.workflow_certificate import WorkflowCertificate
    from hetagent.orchestrator import Orchestrator
    from hetagent.workflow import Workflow

__all__ = ["Calibrated", "apart"]

P = ParamSpec("P")
R = TypeVar("R")


class Calibrated:
    """Something whose skills, and functions that call several, may be certified."""

    slm: Model | None
    llms: tuple[Model, ...]

    def calibrate(
        self,
        skill: Skill[P, R],
        examples: Iterable[tuple[Any, Any]],
        /,
        *,
        max_error: float = 0.05,
        confidence: float = 0.95,
        correct: Correct | None = None,
        fit_share: float | None = None,
        seed: int = 0,
        ask_llm: bool = False,
        value_of_correct_usd: float | None = None,
        usd_per_second: float = 0.0,
    ) -> Certificate:
        """Find out, on labelled examples, when the SLM may be trusted, and certify it.

        The SLM answers every example; LLMs do with ``ask_llm``. On some of the examples calibrators
        are fitted, which turn the model's own probabilities into those of being right; on the
        others thresholds are certified: with a probability of at least ``confidence`` over the draw
        of the examples, at most ``max_error`` of what is accepted is wrong.

        Example:
            ``agent.with_options(policy=Certified(agent.calibrate(intent, examples)))``

        Args:
            skill: The skill, on the model it will run on.
            examples: Pairs of an input, as a row of `map`, and a label: a value of the output type,
                or a dict of some fields of a record. They must be drawn like the inputs to come,
                and none of them may be among the skill's own examples.
            max_error: The error rate to keep among answers accepted without the LLM.
            confidence: With which to keep it.
            correct: Whether an answer is right, given it and its label as JSON data: one bool, or
                a dict of them by field path. By default they must be equal.
            fit_share: Share of the examples that calibrators are fitted with; the others certify.
                By default a quarter, or less where labels are short for this ``max_error``.
            seed: Of the split.
            ask_llm: Whether every LLM answers every example too, within the budget. The
                certificate then knows how likely each is right, and at what price: for policies
                that escalate on benefit, and for the thresholds of a ladder of several.
            value_of_correct_usd: What a right answer is worth, in US dollars, to certify what
                `Certified` accepts when it is given the same.
            usd_per_second: What a second of waiting costs, likewise.

        Returns:
            The certificate. Where nothing can be promised, its thresholds are ``None`` and its
            `Certificate.explain` says how many labels would do.

        Raises:
            InputError: There are too few examples, or one cannot be used.
            CertificateError: The model reports no probabilities.
            MissingExtraError: scikit-learn is not installed.
        """
        from hetagent.calibrate.calibration import calibrate
        from hetagent.calibrate.pairs import AskAll

        model = skill.model or self.slm
        if model is None:
            raise SkillError(
                f"There is no small model to calibrate {skill.name} on.",
                hint="Give the orchestrator slm=, or bind the skill: skill.using(model).",
            )
        if ask_llm and not self.llms:
            raise SkillError("There is no LLM to ask.", hint="Give the orchestrator llm=.")
        agent = cast("Orchestrator", self)
        alone = (
            apart(agent.with_options(policy=AskAll(), escalate="whole"), llms=self.llms)
            if ask_llm
            else apart(agent.with_options(policy=Threshold(0.0), budget=None), llms=())
        )
        return calibrate(
            skill,
            model,
            examples,
            run=alone.map,
            max_error=max_error,
            confidence=confidence,
            correct=correct,
            fit_share=fit_share,
            seed=seed,
            llms=alone.llms,
            value_of_correct_usd=value_of_correct_usd,
            usd_per_second=usd_per_second,
        )

    def workflow(
        self,
        *,
        max_error: float = 0.05,
        confidence: float = 0.95,
        certificate: WorkflowCertificate | str | os.PathLike[str] | None = None,
    ) -> Callable[[Callable[P, R]], Workflow[P, R]]:
        """Run a function that calls several skills under one promise for its final value.

        Args:
            max_error: The error rate to keep among the runs in which an answer of the SLM's is
                accepted.
            confidence: With which to keep it.
            certificate: Made earlier by `Workflow.calibrate`, or its file.

        Returns:
            A decorator that makes a `Workflow` of a function.

        Raises:
            SkillError: An option is out of range.
            StaleCertificate: The certificate is of another function or LLM.
            CertificateError: It cannot be read, or promises less.
        """
        from hetagent.workflow import Workflow

        agent = cast("Orchestrator", self)
        return lambda function: Workflow(
            agent, function, max_error=max_error, confidence=confidence, certificate=certificate
        )


def apart(agent: Orchestrator, *, llms: tuple[Model, ...]) -> Orchestrator:
    """An orchestrator, made by `with_options`, for calls that are none of its user's.

    What they cost counts in ``spent``; neither the log, nor records, nor audits take note of them.

    Args:
        agent: It; it is changed.
        llms: Those that are to be asked.
    """
    agent.llms = llms
    agent._outcome_log = agent._captures = agent._auditing = agent._switched = None
    return agent
