"""Bindings: that a skill runs on exactly what its certificate was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hetagent.fingerprint import fingerprint, ladder_fingerprint
from hetagent.models.base import Model
from hetagent.policy import Policy, as_certifying_policy
from hetagent.skill import Skill

__all__ = ["Bindings"]


class Bindings:
    """Remembers which skills were checked; safe to use from several threads.

    Neither a skill nor a model changes once it is made, so that each is looked at once.
    """

    def __init__(self) -> None:
        self._checked: dict[str, tuple[Any, ...]] = {}

    def check(
        self,
        policy: Policy,
        skill: Skill[Any, Any],
        model: Model | None,
        llms: Sequence[Model] = (),
    ) -> None:
        """Refuse a policy's promise where it was made for something else than what runs.

        Args:
            policy: Which may rely on a certificate of the skill.
            skill: What runs.
            model: On this SLM.
            llms: With these to escalate to.

        Raises:
            StaleCertificate: It was.
            ModelError: The model cannot be read.
        """
        certifying = as_certifying_policy(policy)
        promise = certifying.certificate(skill.name) if certifying is not None else None
        if promise is None or model is None:
            return
        seen = self._checked.get(skill.name)
        now = (promise, skill, model, *llms)
        if (
            seen is None
            or len(seen) != len(now)
            or any(a is not b for a, b in zip(seen, now, strict=True))
        ):
            promise.check({**fingerprint(skill, model), **ladder_fingerprint(llms)})
            self._checked[skill.name] = now
