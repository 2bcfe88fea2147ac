"""A policy that asks an LLM where that is expected to be worth its price. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.rungs import Escalation
from hetagent.certified import by_skill, to_best
from hetagent.errors import CertificateError, SkillError
from hetagent.outcome import Basis
from hetagent.policy import Decision, Policy, Scored, Threshold, without_draft

__all__ = ["Benefit"]

_NEVER = Threshold(math.inf)


class Benefit:
    """Ask the LLM that is expected to bring most; accept the SLM's answer where none is worth it.

    Of each LLM the expected gain is the value of a right answer, times how much likelier the LLM
    is to be right than the SLM, less its price. It goes by benefit alone and promises no error
    rate; `Certified` with ``value_of_correct_usd`` keeps one too.

    Args:
        certificates: One for each skill, made with ``ask_llm``: certificates, files, or folders of
            ``.json`` files. Their thresholds need not have passed.
        value_of_correct_usd: What a right answer is worth, in US dollars.
        usd_per_second: What a second of waiting costs.
        otherwise: The policy of skills without a certificate; by default these always escalate.

    Raises:
        CertificateError: A file is no certificate, two are of one skill, there is none, the LLMs
            were not asked for one, or what an LLM costs is not known.
        SkillError: A number is out of range.
    """

    def __init__(
        self,
        certificates: Certificate | str | Path | Iterable[Certificate | str | Path],
        *,
        value_of_correct_usd: float,
        usd_per_second: float = 0.0,
        otherwise: Policy | None = None,
    ) -> None:
        for name, number in (
            ("value_of_correct_usd", value_of_correct_usd),
            ("usd_per_second", usd_per_second),
        ):
            if not isinstance(number, int | float) or not 0 <= number < math.inf:
                raise SkillError(f"{name} is {number!r}.", hint="Give US dollars, such as 0.02.")
        self.certificates: Mapping[str, Certificate] = by_skill(certificates)
        self._value = float(value_of_correct_usd)
        self._per_second = float(usd_per_second)
        self._otherwise = otherwise if otherwise is not None else _NEVER
        for found in self.certificates.values():
            for one in _escalation(found).rungs:
                one.price()

    def __repr__(self) -> str:
        names = ", ".join(f"{skill} {one.id}" for skill, one in self.certificates.items())
        return f"Benefit({names}, value_of_correct_usd={self._value})"

    def certificate(self, skill: str) -> Certificate | None:
        """The certificate of a skill, which has to be checked before its answers are decided."""
        return self.certificates.get(skill)

    def asks_slm(self, skill: str) -> bool:
        """Whether asking the SLM first is expected to save more than it costs."""
        found = self.certificates.get(skill)
        if found is None:
            return self._otherwise.asks_slm(skill)
        known = _escalation(found)
        worth = known.worth_of_asking_slm(
            found.parts[""].calibrator,
            least=-math.inf,
            value=self._value,
            usd_per_second=self._per_second,
        )
        # Where no LLM is worth asking either, there is nobody else.
        return worth >= 0 or self.without_draft(skill).action == "abstain"

    def without_draft(self, skill: str) -> Decision:
        """The LLM to ask where there is no answer of the SLM."""
        found = self.certificates.get(skill)
        if found is None:
            return without_draft(self._otherwise, skill)
        gains = _escalation(found).gains_alone(value=self._value, usd_per_second=self._per_second)
        return to_best(gains) or Decision("abstain")

    def decide(self, scored: Scored) -> Decision:
        """Weigh what each LLM would bring."""
        found = self.certificates.get(scored.skill)
        if found is None:
            return self._otherwise.decide(scored)
        if not scored.evidence:
            return replace(self.without_draft(scored.skill), reason="no_confidence")
        evidence = found.whole(scored.evidence)
        sure = found.parts[""].calibrator.probability(evidence)
        gains = _escalation(found).gains(
            evidence,
            confidence=sure,
            value=self._value,
            usd_per_second=self._per_second,
        )
        # An error rate of 1 is no promise.
        basis = Basis(found.id, 1.0, {"": sure}, {}, gains)
        return replace(to_best(gains) or Decision("accept"), basis=basis)


def _escalation(found: Certificate) -> Escalation:
    if found.escalation is None or "" not in found.parts:
        raise CertificateError(
            f"The certificate {found.id} of {found.skill} knows nothing of the LLMs.",
            hint="Make one with agent.calibrate(skill, examples, ask_llm=True).",
        )
    return found.escalation
