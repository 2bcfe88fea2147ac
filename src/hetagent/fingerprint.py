"""What a skill's answers depend on, as hashes: two equal fingerprints, the same answers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hetagent.models.base import IdentifiedModel, Model
from hetagent.skill import Skill

__all__ = ["digest", "fingerprint"]


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


def digest(data: Any) -> str:
    """SHA-256 of JSON data, in hexadecimal."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
