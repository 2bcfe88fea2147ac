"""A skill with a certificate, and bindings of it over real weights, for tests of what serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hetagent import Answer, Certificate, LlamaCpp, Scripted, Skill, skill
from hetagent.models.fetch_store import content_hash
from hetagent.registry import Binding, ModelRef, Registry
from tests.support.certificates import certificate

__all__ = ["certified", "real_binding", "sign_skill"]


def sign_skill(about: str = "Say which sign the number has.") -> Skill[Any, Any]:
    """A skill named ``sign``, made anew each time."""

    def sign(text: str) -> Literal["plus", "minus"]: ...

    sign.__doc__ = about
    return skill(sign)


def certified(answer: str = "plus") -> tuple[Scripted, Certificate]:
    """A model that is sure of one answer, and a certificate of the skill on it."""
    model = Scripted(Answer(answer, confidence=0.95), name=f"always {answer}")
    return model, certificate(sign_skill(), model)


def real_binding(
    registry: Registry,
    model: LlamaCpp,
    folder: Path,
    *,
    made: Certificate | None = None,
    context: int | None = None,
    **parts: Any,
) -> Binding:
    """A binding of the skill over a real model's weights, which accepts nearly all; it is added.

    Its certificate is a file in the right form, bound to what runs.
    """
    made = made or certificate(sign_skill(), model, least=0.01)
    held = registry.put(made.save(folder / "certificate.json"))
    base = str(model.path) if model.name == model.path.stem else model.name
    options = {} if context is None else {"context": context}
    one = Binding(
        "sign",
        ModelRef("llamacpp", base, content_hash(model.path), options=options),
        certificate=held,
        **parts,
    )
    registry.add(one)
    return one
