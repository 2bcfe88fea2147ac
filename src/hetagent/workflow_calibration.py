"""Calibrating a workflow: replay labelled examples, and certify thresholds for all its skills."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import to_jsonable_python

from hetagent.calibrate.certifying import Split, split
from hetagent.calibrate.correctness import label_of
from hetagent.calibrate.even_split import even_split
from hetagent.calibrate.joint import Joint, Levels, certify_jointly, fit_steps
from hetagent.calibrate.replays import Forest
from hetagent.calibrate.workflow_certificate import Measured, SkillPart, WorkflowCertificate
from hetagent.calibrated import apart
from hetagent.errors import CertificateError, InputError, SkillError
from hetagent.fingerprint import digest, fingerprint
from hetagent.models.base import Request
from hetagent.outcome import Outcome
from hetagent.policy import Threshold
from hetagent.replaying import Example, Reference, Replays, Serve, replay_all
from hetagent.skill import Skill

if TYPE_CHECKING:
    from hetagent.orchestrator import Orchestrator

__all__ = ["calibrate_workflow", "certified", "replays_of"]

_LEAST = 20


def calibrate_workflow(
    agent: Orchestrator,
    function: Callable[..., Any],
    examples: Iterable[Any],
    *,
    name: str,
    max_error: float,
    confidence: float,
    depends_on: Mapping[str, str],
    correct: Callable[[Any, Any], bool] | None = None,
    reference: Reference | None = None,
    minimise: str = "escalations",
    fit_share: float = 0.25,
    max_replays: int = 64,
    concurrency: int = 16,
    seed: int = 0,
) -> WorkflowCertificate:
    """Certify a workflow; see `hetagent.Workflow.calibrate`."""
    if minimise not in ("escalations", "cost"):
        raise SkillError(f"minimise is {minimise!r}.", hint="Give 'escalations' or 'cost'.")
    if max_replays < 1 or concurrency < 1:
        raise SkillError("max_replays or concurrency is below 1.", hint="Give at least 1.")
    if reference is None and not agent.llms:
        raise SkillError(
            f"There is no LLM to calibrate {name} with.",
            hint="Give the orchestrator llm=, or calibrate with reference=, which answers a step "
            "in its place.",
        )
    pairs = [_pair(number, one, name) for number, one in enumerate(examples, 1)]
    if len(pairs) < _LEAST:
        raise InputError(
            f"There are {len(pairs)} labelled examples of {name}.",
            hint=f"At least {_LEAST} are needed to calibrate at all; to certify 5% at 95% takes "
            "at least 79 that are all right.",
        )
    found = replays_of(
        agent,
        function,
        pairs,
        correct=correct,
        reference=reference,
        max_replays=max_replays,
        concurrency=concurrency,
    )
    forest = Forest.of(found.runs)
    if not forest.usable.any():
        raise CertificateError(
            f"No answer of the SLM's in {name} has a confidence.",
            hint="Use a model that reports probabilities, such as LlamaCpp, and call skills "
            "through the orchestrator that made the workflow.",
        )
    rows = split(len(pairs), fit_share=fit_share, seed=seed)
    prices = _prices(found, forest, rows[0]) if minimise == "cost" else None
    levels = Levels(max_error, confidence)
    joint, even = certified(forest, rows=rows, levels=levels, prices=prices, seed=seed)
    testing = forest.take(rows[1])
    bare = WorkflowCertificate(
        name,
        max_error,
        confidence,
        datetime.now(UTC).isoformat(timespec="seconds"),
        labels=len(pairs),
        fitted=len(rows[0]),
        n=joint.n,
        skills=_parts(joint, found, agent),
        joint=joint.measured,
        even_split=even,
        steps=float(testing.on_trunk.sum() / len(testing)),
        p_value=joint.p_value,
        upper_bound=joint.upper_bound,
        labels_needed=joint.labels_needed,
        minimised=minimise,
        raised=found.raised,
        unexplored=found.unexplored,
        by_reference=reference is not None,
        depends_on={**depends_on, "data": _data_digest(pairs)},
    )
    return bare.sealed()


def replays_of(
    agent: Orchestrator,
    function: Callable[..., Any],
    pairs: Sequence[tuple[Any, Any]],
    *,
    correct: Callable[[Any, Any], bool] | None = None,
    reference: Reference | None = None,
    max_replays: int = 64,
    concurrency: int = 16,
) -> Replays:
    """Replay labelled runs; arguments as of `hetagent.Workflow.calibrate`."""
    same = correct if correct is not None else _equal
    return replay_all(
        agent,
        function,
        [_example(function, inputs, label, same) for inputs, label in pairs],
        slm=_by_slm(agent),
        llm=_by_llm(agent) if reference is None else _by_reference(reference),
        max_replays=max_replays,
        concurrency=concurrency,
    )


def certified(
    forest: Forest, *, rows: Split, levels: Levels, prices: Any = None, seed: int = 0
) -> tuple[Joint, Measured]:
    """Thresholds chosen together, and what those of each skill by itself would have done."""
    fitting = forest.take(rows[0])
    ends = fit_steps(fitting, fitting.harmless, seed=seed)
    # Where a step's harm is to differ from the LLM's answer, as mostly, both are the same fits.
    alike = np.array_equal(fitting.harmless[fitting.on_trunk], fitting.agrees[fitting.on_trunk])
    steps = ends if alike else fit_steps(fitting, fitting.agrees, seed=seed)
    joint = certify_jointly(forest, ends, rows=rows, levels=levels, prices=prices, seed=seed)
    return joint, even_split(forest, steps, rows=rows, levels=levels, prices=prices, seed=seed)


def _parts(joint: Joint, found: Replays, agent: Orchestrator) -> dict[str, SkillPart]:
    parts = {}
    for name, calibrator in joint.calibrators.items():
        skill = found.skills[name]
        model = skill.model or agent.slm
        threshold = (joint.thresholds or {}).get(name, math.inf)
        parts[name] = SkillPart(
            calibrator,
            threshold if math.isfinite(threshold) else None,
            fingerprint(skill, model) if model is not None else {},
        )
    return parts


def _prices(found: Replays, forest: Forest, rows: Any) -> list[float]:
    """What an escalated step of each skill costs on average, on the runs that do not certify.

    Raises:
        InputError: That is not known, or nothing.
    """
    costs: dict[str, list[float | None]] = {}
    for row in rows:
        for name, cost in found.prices[row]:
            costs.setdefault(name, []).append(cost)
    prices = []
    for name in forest.skills:
        known = [cost for cost in costs.get(name, ()) if cost is not None]
        # A skill that is not met there has no calibrator, and always escalates.
        price = sum(known) / len(known) if known else 0.0 if name in costs else 1.0
        if price <= 0 or len(known) < len(costs.get(name, ())):
            raise InputError(
                f"What the LLM's answers to {name} cost is not known, or nothing.",
                hint="Calibrate with minimise='escalations'.",
            )
        prices.append(price)
    return prices


def _by_slm(agent: Orchestrator) -> Serve:
    alone = apart(agent.with_options(policy=Threshold(0.0), budget=None), llms=())

    async def serve(skill: Skill[Any, Any], request: Request) -> Outcome[Any]:
        return await alone._serve(skill, request)

    return serve


def _by_llm(agent: Orchestrator) -> Serve:
    to_the_llm = agent.with_options(policy=Threshold(math.inf), escalate="whole")
    alone = apart(to_the_llm, llms=agent.llms)

    async def serve(skill: Skill[Any, Any], request: Request) -> Outcome[Any]:
        return await alone._serve(skill, request)

    return serve


def _by_reference(reference: Reference) -> Serve:
    async def serve(skill: Skill[Any, Any], request: Request) -> Outcome[Any]:
        given = reference(skill, request.messages[-1].content)
        output = request.output
        value = output.parse_json(label_of(output, given))
        return Outcome(skill.name, value, None, served_by="llm", trace_id="", seconds=0.0)

    return serve


def _pair(number: int, example: Any, name: str) -> tuple[Any, Any]:
    try:
        inputs, label = example
    except (TypeError, ValueError):
        raise InputError(
            f"Example {number} of {name} is no pair of inputs and final value.",
            hint="Give pairs such as ('table for two', 'book').",
        ) from None
    return inputs, label


def _example(
    function: Callable[..., Any], inputs: Any, label: Any, correct: Callable[[Any, Any], bool]
) -> Example:
    signature = inspect.signature(function)
    one = len(signature.parameters) == 1
    by_name = isinstance(inputs, Mapping) and set(inputs) <= set(signature.parameters)
    try:
        if by_name and (not one or inputs):
            bound = signature.bind(**inputs)
        elif isinstance(inputs, tuple) and not one:
            bound = signature.bind(*inputs)
        else:
            bound = signature.bind(inputs)
    except TypeError as error:
        raise InputError(
            f"The example {inputs!r} does not fit {signature}: {error}.",
            hint="Give the input itself, or a dict by name or a tuple where there are several.",
        ) from None
    return Example(bound.args, bound.kwargs, lambda value: bool(correct(value, label)))


def _equal(value: Any, label: Any) -> bool:
    return bool(value == label)


def _data_digest(pairs: list[tuple[Any, Any]]) -> str:
    return digest(to_jsonable_python(pairs, fallback=repr))
