"""Bindings of converted workloads, whose small models say what a test has them say."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hetagent import Answer, Scripted
from hetagent.bound import Bound, Open
from hetagent.certified import Certified
from hetagent.learn.cluster import Workloads
from hetagent.learn.task import Task
from hetagent.models.base import Request
from hetagent.models.fetch_store import content_hash
from hetagent.models.llamacpp import LlamaCpp
from hetagent.registry import Binding, ModelRef, Registry
from hetagent.skill import Skill
from tests.support.bindings import added
from tests.support.certificates import certificate

__all__ = ["bind", "bind_model", "scripted"]

Script = Answer | Callable[[Request], Answer]


def bind(
    registry: Registry, of: Task, workloads: Workloads | None, *, name: str = "a", **parts: Any
) -> str:
    """Add a binding of a workload; its id.

    Args:
        registry: Where to.
        of: The workload.
        workloads: What tells its calls.
        name: Of its small model; see `scripted`.
        parts: Others of the binding.
    """
    lineage = {} if workloads is None else {"workloads": registry.put(workloads.to_bytes())}
    kept = {"task": registry.put(json.dumps(of.to_dict()).encode()), "lineage": lineage}
    return added(registry, of.name, name=name, **{**kept, **parts})


def bind_model(
    registry: Registry, of: Task, workloads: Workloads, model: LlamaCpp, **options: Any
) -> str:
    """Add a binding of a real model, which accepts answers from a confidence of 0.05 on; its id.

    Args:
        registry: Where to.
        of: The workload.
        workloads: What tells its calls.
        model: What runs.
        options: With which it was made.
    """
    with tempfile.TemporaryDirectory() as folder:
        proof = Path(folder) / "certificate.json"
        certificate(of.skill, model, least=0.05).save(proof)
        kept = registry.put(proof)
    ref = ModelRef("llamacpp", str(model.path), content_hash(model.path), options=options)
    return bind(registry, of, workloads, model=ref, certificate=kept)


def scripted(scripts: Mapping[str, Script], models: dict[str, Scripted] | None = None) -> Open:
    """What loads bindings: small models by their names, accepted from a confidence of 0.8 on.

    Args:
        scripts: What each says.
        models: Told those that were loaded.
    """
    names = {hashlib.sha256(f"adapter {one}".encode()).hexdigest(): one for one in scripts}

    def open_with(binding: Binding, registry: Registry, skill: Skill[Any, Any]) -> Bound:
        assert binding.model.artifact is not None
        name = names[binding.model.artifact]
        model = Scripted(scripts[name], name=f"small-{name}")
        if models is not None:
            models[name] = model
        return Bound(binding, model, Certified(certificate(skill, model, least=0.8)))

    return open_with
