"""A binding that is loaded: its model, and the policy that its certificate stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetagent.calibrate.certificate import Certificate
from hetagent.certified import Certified
from hetagent.errors import ChecksumError, RegistryError
from hetagent.fingerprint import fingerprint
from hetagent.models.base import Model
from hetagent.models.fetch_store import content_hash
from hetagent.models.llamacpp import LlamaCpp
from hetagent.registry import Binding, ModelRef, Registry
from hetagent.skill import Skill

__all__ = ["Bound", "open_binding"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding that is loaded.

    Attributes:
        binding: What it is.
        model: Its model.
        policy: What accepts its answers; ``None`` where it has no certificate.
    """

    binding: Binding
    model: Model
    policy: Certified | None


def open_binding(binding: Binding, registry: Registry, skill: Skill[Any, Any]) -> Bound:
    """Load a binding, and make sure that it is what its certificate was made for.

    The base is the registry's own copy where it has one, and else what its name means here.

    Args:
        binding: What to load.
        registry: Where its files are.
        skill: What it is to run.

    Raises:
        RegistryError: A file is missing, or it is of a kind that cannot be run.
        ChecksumError: A file is not what it was, or the base not the one it was made on.
        ModelError: The model cannot be loaded.
        CertificateError: Its certificate cannot be read.
        StaleCertificate: Its certificate was made for something else.
    """
    if binding.model.kind != "llamacpp":
        raise RegistryError(
            f"The binding {binding.id} of {binding.skill} is a {binding.model.kind}, which a "
            "registry cannot run yet.",
            hint=f"Load it in code, and bind it there: {binding.skill}.using(model).",
        )
    policy = None
    if binding.certificate is not None:
        policy = Certified(Certificate.load(_artifact(registry, binding.certificate)))
    model = _model(binding.model, registry)
    if policy is not None:
        found = policy.certificate(skill.name)
        if found is None:
            raise RegistryError(
                f"The certificate of the binding {binding.id} is not of {skill.name}.",
                hint="Make the binding again, with the certificate of this skill.",
            )
        found.check(fingerprint(skill, model))
    return Bound(binding, model, policy)


def _model(ref: ModelRef, registry: Registry) -> Model:
    artifact = None if ref.artifact is None else _artifact(registry, ref.artifact)
    if ref.artifact_kind == "weights" and artifact is not None:
        return LlamaCpp(artifact, name=_short(ref.base), **ref.options).load()
    own = registry.has(ref.base_hash)
    model = LlamaCpp(
        registry.path(ref.base_hash) if own else ref.base,
        name=_short(ref.base),
        adapters=() if artifact is None else [artifact],
        **ref.options,
    )
    found = content_hash(model.path)
    if found != ref.base_hash:
        raise ChecksumError(
            f"{ref.base} is {found[:12]} here, and the binding was made on {ref.base_hash[:12]}.",
            hint="Bring back the weights it was made on, or convert again.",
        )
    return model.load()


def _artifact(registry: Registry, sha256: str) -> Path:
    """Where an artifact is, once its content was seen to be what it was."""
    path = registry.path(sha256)
    if (found := content_hash(path)) != sha256:
        raise ChecksumError(
            f"The artifact {path} was changed or damaged: its SHA-256 is {found}.",
            hint="Bring it back from a copy of the folder; `hetagent registry verify` lists all "
            "that is damaged.",
        )
    return path


def _short(base: str) -> str:
    """What a base is called in tables and traces."""
    return Path(base).stem if base.endswith(".gguf") else base
