"""What a conversion leaves in the registry: a binding with all it needs, and what it may do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hetagent.calibrate.certificate import Certificate
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.convert.stages import Done
from hetagent.learn.convert.steps import CERTIFICATE, DECISION, EVALUATION
from hetagent.learn.evaluate import Evaluation
from hetagent.learn.inputs import Inputs
from hetagent.learn.promote import Decision
from hetagent.learn.task import Split, Task
from hetagent.registry import Binding, ModelRef, Registry, State

__all__ = ["ADAPTER", "TASK", "TUNED", "bound", "facts_of", "switched"]

TASK, TUNED, ADAPTER = "task.json", "tuned.json", "adapter.gguf"
"""Files of stages."""


def bound(
    registry: Registry,
    task: Task,
    model: ModelRef,
    *,
    done: Mapping[str, Done],
    data: Split,
    settings: ConvertSettings,
    facts: Mapping[str, Any],
) -> Binding:
    """Keep all that the skill needs, where it came from, and what it is to be watched by.

    Args:
        registry: Where.
        task: The workload as a skill.
        model: What runs it.
        done: The stages, by name.
        data: What it was made with.
        settings: How.
        facts: Figures for people.
    """
    put = registry.put
    binding = Binding(
        task.name,
        model,
        certificate=put(done["certify"].folder / CERTIFICATE),
        task=put(done["task"].folder / TASK),
        lineage={
            "records": done["records"].hash,
            "workloads": put(Workloads.load(done["workloads"].folder).to_bytes()),
            "dataset": done["rows"].hash,
            "inputs": put(Inputs.of(task, data, seed=settings.seed).to_bytes()),
            "settings": put(json.dumps(settings.to_dict(), indent=1).encode()),
            "tuned": put(done["tune"].folder / TUNED),
            "evaluation": put(done["evaluate"].folder / EVALUATION),
            "decision": put(done["decide"].folder / DECISION),
        },
        facts=facts,
    )
    registry.add(binding)
    return binding


def switched(
    registry: Registry, binding: Binding, decision: Decision, *, settings: ConvertSettings
) -> State:
    """Switch to what was decided, unless that was done before."""
    mode = settings.mode if decision.promoted else "shadow"
    if not any(one.binding == binding.id for one in registry.history(binding.skill)):
        objections = "; ".join(one.why for one in decision.objections)
        registry.switch(
            binding.skill,
            binding=binding.id,
            mode=mode,
            share=settings.share if mode == "canary" else 1.0,
            why="promoted" if decision.promoted else objections,
        )
    state = registry.state(binding.skill)
    assert state is not None  # it was switched
    return state


def facts_of(
    settings: ConvertSettings,
    certificate: Certificate,
    evaluation: Evaluation,
    decision: Decision,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Figures of a binding, for people and to be watched by.

    Args:
        settings: How it was made.
        certificate: What is promised of it.
        evaluation: How it does.
        decision: Whether it may serve.
        seconds: That training took.
    """
    return {
        "max_error": certificate.max_error,
        "confidence": certificate.confidence,
        "coverage": round(evaluation.coverage, 6),
        "right": round(evaluation.right, 6),
        "calls": len(evaluation.trials),
        "upper_loss": round(decision.upper_loss, 6),
        "margin": settings.allowed_loss,
        "calls_per_second": round(evaluation.calls_per_second, 2),
        "p50_seconds": round(evaluation.seconds[0], 4),
        "p95_seconds": round(evaluation.seconds[1], 4),
        "base": settings.base,
        "training_seconds": seconds,
    }
