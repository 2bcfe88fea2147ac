"""What a skill's answers depend on, as hashes: two equal fingerprints, the same answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from hetagent.models.base import IdentifiedModel, Model
from hetagent.skill import Skill

__all__ = ["digest", "fingerprint", "is_of_ladder", "ladder_fingerprint"]

_LLM = "llm "


def fingerprint(skill: Skill[Any, Any], model: Model) -> dict[str, str]:
    """Everything that a skill's confidences on a model depend on, by part.

    Returns:
        Of the model what `IdentifiedModel.identity` tells, or else its name; and hashes of the
        ``prompt``, the output's ``schema``; and hetagent's own version as ``library``.
    """
    from hetagent import __version__

    turns = [(message.role, message.content) for message in skill.messages]
    prompt = {"messages": turns, "inputs": skill.parameters, "max_tokens": skill.max_tokens}
    of_model = (
        dict(model.identity()) if isinstance(model, IdentifiedModel) else {"model": model.name}
    )
    return {
        **of_model,
        "prompt": digest(prompt),
        "schema": digest(skill.output.fingerprint),
        "library": f"hetagent {__version__}",
    }


def ladder_fingerprint(llms: Sequence[Model]) -> dict[str, str]:
    """What each LLM is, as ``"llm 0"`` and so on: its identity's hash where it tells one."""
    return {
        f"{_LLM}{rung}": digest(dict(model.identity()))
        if isinstance(model, IdentifiedModel)
        else model.name
        for rung, model in enumerate(llms)
    }


def is_of_ladder(part: str) -> bool:
    """Whether a part of a fingerprint is of an LLM."""
    return part.startswith(_LLM)


def digest(data: Any) -> str:
    """SHA-256 of JSON data, in hexadecimal."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
