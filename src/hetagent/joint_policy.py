"""The policy of a workflow's steps: the thresholds that its certificate chose together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hetagent.calibrate.workflow_certificate import WorkflowCertificate
from hetagent.outcome import Basis
from hetagent.policy import Decision, Scored

__all__ = ["JointPolicy"]


class JointPolicy:
    """Accept a step's answer where its score reaches its skill's threshold; escalate all others.

    Args:
        certificate: Of the workflow; ``None`` escalates everything.
    """

    def __init__(self, certificate: WorkflowCertificate | None) -> None:
        self._certificate = certificate
        skills = certificate.skills if certificate is not None else {}
        self._parts = {name: one for name, one in skills.items() if one.threshold is not None}
        # The LLM's answers at other steps are part of the promise, so that these are checked too.
        kept = skills if self._parts else ()
        self._promises = {name: _Promise(certificate, name) for name in kept if certificate}

    def certificate(self, skill: str) -> _Promise | None:
        """What is to be checked before a skill's answers are decided about."""
        return self._promises.get(skill)

    def asks_slm(self, skill: str) -> bool:
        """Whether any answer of the SLM's could be accepted."""
        return skill in self._parts

    def decide(self, scored: Scored) -> Decision:
        """Compare the calibrator's score with the threshold."""
        part = self._parts.get(scored.skill)
        known = scored.evidence.get("")
        if part is None or self._certificate is None:
            return Decision("escalate", "policy")
        if known is None:
            return Decision("escalate", "no_confidence")
        score = part.calibrator.score(known)
        basis = Basis(
            self._certificate.id,
            self._certificate.max_error,
            {"": part.calibrator.of_score(score)},
            {"": part.least_confidence},
        )
        if score >= (math.inf if part.threshold is None else part.threshold):
            return Decision("accept", basis=basis)
        return Decision("escalate", "low_confidence", tuple(scored.fields), basis=basis)


@dataclass(frozen=True, slots=True)
class _Promise:
    """What a workflow's certificate says of one skill."""

    certificate: WorkflowCertificate
    skill: str

    def check(self, current: Mapping[str, str]) -> None:
        """Refuse another model, prompt or schema than the certificate was made for."""
        self.certificate.check_skill(self.skill, current)
