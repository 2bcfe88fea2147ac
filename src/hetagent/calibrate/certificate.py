"""Certificates: what a calibration proved about a skill, and all that the proof depends on.

A certificate is a readable JSON file. It holds the calibrators and thresholds that a policy runs
with, the counts that they were certified with, and hashes of the model, adapters, prompt, schema,
calibrators and data. Where any of these is not what runs, it says nothing, and is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certificate_file import id_of, is_edited, load, save
from hetagent.calibrate.rungs import Escalation, Rung
from hetagent.errors import CertificateError, StaleCertificate
from hetagent.evidence import Evidence, by_field, jointly
from hetagent.fingerprint import digest, is_of_ladder

__all__ = ["Certificate", "Curves", "Part", "Quality", "Verdict"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Quality:
    """How good confidences were on the answers that certify, which they were not fitted to.

    Attributes:
        calibration_error: Expected calibration error, debiased, 15 bins of equal mass.
        log_loss: In nats.
        auroc: Area under the ROC curve of right against wrong; ``None`` where all are the same.
        aurc: Area under the risk-coverage curve.
    """

    calibration_error: float
    log_loss: float
    auroc: float | None
    aurc: float


@dataclass(frozen=True, slots=True)
class Curves:
    """What a report draws, of the answers that certify.

    Attributes:
        coverage: Shares of answers accepted, rising.
        risk: Error rate among them, at each coverage.
        bins: Mean calibrated confidence, accuracy and number of answers of each bin.
        raw_bins: The same of the raw confidence.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    bins: tuple[tuple[float, float, int], ...]
    raw_bins: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a certificate says of one value or field.

    Attributes:
        confidence: Calibrated, in [0, 1].
        passed: Whether it is accepted.
    """

    confidence: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What holds for the whole value, or for one field.

    Attributes:
        calibrator: Gives its confidence.
        threshold: Least score of the calibrator that is accepted; ``None`` where nothing is.
        n: Labelled answers that certify.
        accepted: How many of them are accepted.
        errors: How many of these are wrong.
        upper_bound: Of the error rate at the threshold; 1 where nothing is accepted.
        p_value: Of the last test that passed; 1 where none did.
        raw: Quality of the raw confidences.
        calibrated: Quality of the calibrated ones.
        labels_needed: Where nothing is accepted: about how many labels in all would do; ``None``
            where no number would.
        must_escalate: The least share of answers that must escalate, were the true rates as
            measured.
        surest_error: Error rate among the surest tenth.
        curves: For reports.
    """

    calibrator: Calibrator
    threshold: float | None
    n: int
    accepted: int
    errors: int
    upper_bound: float
    p_value: float
    raw: Quality
    calibrated: Quality
    labels_needed: int | None
    must_escalate: float
    surest_error: float
    curves: Curves

    def judged(self, evidence: Evidence) -> Verdict:
        """Compare evidence with the threshold."""
        score = self.calibrator.score(evidence)
        passed = self.threshold is not None and score >= self.threshold
        return Verdict(self.calibrator.of_score(score), passed)

    @property
    def coverage(self) -> float:
        """Share of the certifying answers that is accepted."""
        return self.accepted / self.n

    @property
    def least_confidence(self) -> float | None:
        """The confidence at the threshold; ``None`` where nothing is accepted."""
        return None if self.threshold is None else self.calibrator.of_score(self.threshold)


@dataclass(frozen=True)
class Certificate:
    """With probability at least ``confidence``, at most ``max_error`` of what is accepted is wrong.

    The probability is over the draw of the labelled examples; each part holds with it by itself.

    Attributes:
        skill: Name of the skill.
        max_error: Error rate kept among answers accepted without the LLM, α.
        confidence: Of that, 1 - δ.
        made: When, in UTC, ISO 8601.
        labels: Labelled examples in all.
        fitted: How many of them the calibrators were fitted with.
        unusable: Of all, how many the model gave no valid answer for; those always escalate.
        parts: By field path, with ``""`` for the whole value.
        depends_on: Hashes and names of all that must not change, by part.
        escalation: What is known of the LLMs; ``None`` where they were not asked.
    """

    skill: str
    max_error: float
    confidence: float
    made: str
    labels: int
    fitted: int
    unusable: int
    parts: Mapping[str, Part]
    depends_on: Mapping[str, str] = field(default_factory=dict)
    escalation: Escalation | None = None

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The LLMs that were asked too."""
        return self.escalation.rungs if self.escalation is not None else ()

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name it."""
        return id_of(self._facts())

    @property
    def coverage(self) -> float:
        """Share of calls whose whole value is accepted, on the certifying examples."""
        whole = self.parts.get("")
        usable = 1 - self.unusable / self.labels
        return whole.coverage * usable if whole is not None else 0.0

    def bound_to(self, depends_on: Mapping[str, str]) -> Certificate:
        """The same, for exactly these parts."""
        return replace(self, depends_on=dict(depends_on))

    def judged(self, evidence: Mapping[str, Evidence]) -> dict[str, Verdict]:
        """Compare an answer with its calibrators and thresholds, part by part.

        Args:
            evidence: Of the answer, by path.
        """
        known = by_field(evidence)
        found = self._fields(known)
        if "" in known and "" in self.parts:
            found[""] = self.parts[""].judged(_whole(known, found))
        return found

    def whole(self, evidence: Mapping[str, Evidence]) -> Evidence:
        """Of the whole value, as its calibrator takes it: a record by its calibrated fields.

        Args:
            evidence: Of the answer, by path, with ``""`` among them.
        """
        known = by_field(evidence)
        return _whole(known, self._fields(known))

    def _fields(self, known: Mapping[str, Evidence]) -> dict[str, Verdict]:
        return {
            path: self.parts[path].judged(one)
            for path, one in known.items()
            if path and path in self.parts
        }

    def check(self, current: Mapping[str, str]) -> None:
        """Refuse to be used for anything else than it was made for.

        Args:
            current: What runs now, as `hetagent.fingerprint.fingerprint` tells it.

        Raises:
            StaleCertificate: Something is not the same; the message says what.
        """
        own = {name: self.depends_on.get(name) for name in self._of_binding()}
        # LLMs that it says nothing of may be any.
        names = sorted({*own, *(name for name in current if not is_of_ladder(name))})
        changed = tuple(name for name in names if own.get(name) != current.get(name))
        if changed:
            raise StaleCertificate(
                f"The certificate {self.id} of {self.skill} was made for other "
                f"{', '.join(changed)}.",
                changed=changed,
                hint="Calibrate again with agent.calibrate(...), or bring back what it was made "
                "for.",
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as a JSON file."""
        return save(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a JSON file.

        Raises:
            CertificateError: It cannot be read, is no certificate, or was edited.
        """
        return cls.from_dict(load(path))

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"id": self.id, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "guarantee": self.guarantee,
            "skill": self.skill,
            "max_error": self.max_error,
            "confidence": self.confidence,
            "made": self.made,
            "labels": self.labels,
            "fitted": self.fitted,
            "unusable": self.unusable,
            "parts": {path: _part_to_dict(part) for path, part in self.parts.items()},
            "escalation": None if self.escalation is None else self.escalation.to_dict(),
            "depends_on": dict(self.depends_on),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON data.

        Raises:
            CertificateError: It is no certificate, or was edited.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise CertificateError(
                "This is no certificate of a format that this version reads.",
                hint="Calibrate again with this version.",
            )
        try:
            found = cls(
                str(data["skill"]),
                float(data["max_error"]),
                float(data["confidence"]),
                str(data["made"]),
                int(data["labels"]),
                int(data["fitted"]),
                int(data["unusable"]),
                {str(path): _part_from_dict(part) for path, part in data["parts"].items()},
                {str(name): str(value) for name, value in data["depends_on"].items()},
                Escalation.from_dict(data["escalation"]) if data.get("escalation") else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CertificateError(
                f"This is no certificate: {type(error).__name__}: {error}.",
                hint="Calibrate again.",
            ) from error
        calibrated = found.depends_on.get("calibrator") == found.calibrators_digest
        if not calibrated or is_edited(data, found._facts()):
            what = "numbers" if calibrated else "calibrators"
            raise CertificateError(
                f"The {what} in the certificate of {found.skill} are not those it was made with.",
                hint="Certificates are not meant to be edited by hand: calibrate again.",
            )
        return found

    @property
    def calibrators_digest(self) -> str:
        """Hash of all calibrators and thresholds."""
        known = {p: [one.calibrator.fingerprint, one.threshold] for p, one in self.parts.items()}
        return digest(known if self.escalation is None else [known, self.escalation.fingerprint])

    @property
    def guarantee(self) -> str:
        """What it promises, in one sentence."""
        return (
            f"With a probability of at least {self.confidence:.4g} over the labelled examples, at "
            f"most {100 * self.max_error:.4g}% of the answers that are accepted without the LLM "
            "are wrong, as long as inputs are like those examples."
        )

    def explain(self) -> str:
        """What it promises or why it cannot, part by part, in plain words."""
        lines = [f"Certificate {self.id} of {self.skill}, made {self.made}.", self.guarantee]
        lines += map(self.in_words, self.parts)
        lines += [self.escalation.explain()] if self.escalation is not None else []
        return "\n".join(lines)

    def in_words(self, path: str) -> str:
        """What it promises of one part, or why it cannot."""
        return _part_in_words(path, self.parts[path], self.max_error)

    def _of_binding(self) -> set[str]:
        """Parts that can be read off a skill and its model; the others are of the calibration."""
        return set(self.depends_on) - {"calibrator", "data"}


def _whole(known: Mapping[str, Evidence], fields: Mapping[str, Verdict]) -> Evidence:
    return jointly(known[""], [verdict.confidence for verdict in fields.values()])


def _part_in_words(path: str, part: Part, max_error: float) -> str:
    name = f"Field {path}" if path else "Whole value"
    if part.threshold is not None:
        return (
            f"{name}: accepted from a confidence of {part.least_confidence:.3f}, which is "
            f"{part.coverage:.0%} of the answers; {part.errors} of {part.accepted} were wrong "
            f"(at most {part.upper_bound:.1%} of all such)."
        )
    if part.labels_needed is None:
        return (
            f"{name}: nothing can be accepted. Of the surest tenth {part.surest_error:.0%} is "
            f"wrong, so that no number of labels would show {max_error:.1%} or less."
        )
    return (
        f"{name}: nothing can be accepted yet. About {part.labels_needed} labels in all would be "
        f"enough; even then about {part.must_escalate:.0%} must escalate."
    )


def _part_to_dict(part: Part) -> dict[str, Any]:
    facts = asdict(part) | {"calibrator": part.calibrator.to_dict()}
    # JSON has no minus infinity, which stands for "accept all".
    facts["threshold"] = "all" if part.threshold == -math.inf else part.threshold
    facts["least_confidence"] = part.least_confidence
    return facts


def _part_from_dict(data: Mapping[str, Any]) -> Part:
    threshold = data["threshold"]
    return Part(
        Calibrator.from_dict(data["calibrator"]),
        -math.inf if threshold == "all" else None if threshold is None else float(threshold),
        int(data["n"]),
        int(data["accepted"]),
        int(data["errors"]),
        float(data["upper_bound"]),
        float(data["p_value"]),
        Quality(**data["raw"]),
        Quality(**data["calibrated"]),
        None if data["labels_needed"] is None else int(data["labels_needed"]),
        float(data["must_escalate"]),
        float(data["surest_error"]),
        Curves(
            tuple(data["curves"]["coverage"]),
            tuple(data["curves"]["risk"]),
            _bins(data["curves"]["bins"]),
            _bins(data["curves"].get("raw_bins", ())),
        ),
    )


def _bins(rows: Iterable[Any]) -> tuple[tuple[float, float, int], ...]:
    return tuple((float(confidence), float(right), int(n)) for confidence, right, n in rows)
