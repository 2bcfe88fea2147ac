"""A policy that keeps what certificates promise. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from hetagent.calibrate.certificate import Certificate
from hetagent.errors import CertificateError, SkillError
from hetagent.evidence import top_field
from hetagent.outcome import Basis
from hetagent.policy import Decision, Policy, Scored, Threshold

__all__ = ["Certified"]

_NEVER = Threshold(math.inf)


class Certified:
    """Accept what a certificate vouches for; escalate the rest.

    Args:
        certificates: One for each skill: certificates, files, or folders of ``.json`` files.
        accept: ``"whole"`` accepts an answer where its whole value is sure enough, and names its
            weak fields otherwise; ``"fields"`` judges every field by its own threshold, so that
            each kind of field keeps the promised error rate by itself.
        otherwise: The policy of skills without a certificate; by default these always escalate.
        least_share: A skill of which the SLM would serve less than this share of the calls skips
            the SLM.

    Raises:
        CertificateError: A file is no certificate, two are of one skill, or there is none.
        SkillError: An option is out of range.
    """

    def __init__(
        self,
        certificates: Certificate | str | Path | Iterable[Certificate | str | Path],
        *,
        accept: Literal["whole", "fields"] = "whole",
        otherwise: Policy | None = None,
        least_share: float = 0.02,
    ) -> None:
        if accept not in ("whole", "fields"):
            raise SkillError(f"accept is {accept!r}.", hint="It must be 'whole' or 'fields'.")
        if not 0 <= least_share <= 1:
            raise SkillError(f"least_share is {least_share}.", hint="Give a share from 0 to 1.")
        self.certificates: Mapping[str, Certificate] = _by_skill(certificates)
        self._accept = accept
        self._otherwise = otherwise if otherwise is not None else _NEVER
        self._least_share = least_share

    def __repr__(self) -> str:
        return f"Certified({', '.join(f'{s} {c.id}' for s, c in self.certificates.items())})"

    def certificate(self, skill: str) -> Certificate | None:
        """The certificate of a skill, which has to be checked before its answers are decided."""
        return self.certificates.get(skill)

    def asks_slm(self, skill: str) -> bool:
        """Whether the SLM would serve enough of the calls to be worth asking."""
        found = self.certificates.get(skill)
        if found is None:
            return self._otherwise.asks_slm(skill)
        if self._accept == "whole":
            return found.coverage > 0 and found.coverage >= self._least_share
        return any(part.threshold is not None for path, part in found.parts.items() if path)

    def decide(self, scored: Scored) -> Decision:
        """Compare the calibrator's scores with the certified thresholds."""
        found = self.certificates.get(scored.skill)
        if found is None:
            return self._otherwise.decide(scored)
        if not scored.evidence:
            return Decision("escalate", "no_confidence")
        verdicts = found.judged(scored.evidence)
        passed = {path: path in verdicts and verdicts[path].passed for path in found.parts}
        basis = Basis(
            found.id,
            found.max_error,
            {path: verdict.confidence for path, verdict in verdicts.items()},
            {path: part.least_confidence for path, part in found.parts.items()},
            promised=self._promised(passed),
        )
        judged = self._judged(found)
        least = {path: basis.least.get(path) for path in judged}
        if all(passed.get(path, False) for path in judged):
            return Decision("accept", basis=basis, least=least)
        weak = [path for path in scored.fields if not passed.get(top_field(path), False)]
        return Decision("escalate", "low_confidence", tuple(weak), basis=basis, least=least)

    def _promised(self, passed: Mapping[str, bool]) -> tuple[str, ...]:
        """What the certificate vouches for: the whole value, or each field by itself."""
        fields = [path for path in passed if path]
        by_whole = self._accept == "whole" or not fields
        if by_whole and passed.get("", False):
            return ("",)
        return tuple(path for path in fields if passed[path])

    def _judged(self, found: Certificate) -> tuple[str, ...]:
        """Paths that must all pass."""
        fields = tuple(path for path in found.parts if path)
        return fields if self._accept == "fields" and fields else ("",)


def _by_skill(
    given: Certificate | str | Path | Iterable[Certificate | str | Path],
) -> dict[str, Certificate]:
    several = [given] if isinstance(given, Certificate | str | Path) else list(given)
    found: dict[str, Certificate] = {}
    for one in [loaded for each in several for loaded in _loaded(each)]:
        if one.skill in found:
            raise CertificateError(
                f"There are two certificates of {one.skill}: {found[one.skill].id} and {one.id}.",
                hint="Keep one.",
            )
        found[one.skill] = one
    if not found:
        raise CertificateError(
            "There are no certificates.", hint="Make one with agent.calibrate(skill, examples)."
        )
    return found


def _loaded(given: Certificate | str | Path) -> list[Certificate]:
    if isinstance(given, Certificate):
        return [given]
    path = Path(given)
    if path.is_dir():
        return [Certificate.load(file) for file in sorted(path.glob("*.json"))]
    return [Certificate.load(path)]
