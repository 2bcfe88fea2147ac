"""Certificates of workflows: what a calibration on final values proved about a whole function."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certificate_file import id_of, is_edited, load, save
from hetagent.errors import CertificateError, StaleCertificate
from hetagent.fingerprint import digest, is_of_ladder

__all__ = ["ACCEPT_ALL", "Measured", "SkillPart", "WorkflowCertificate"]

_FORMAT = "workflow 1"

ACCEPT_ALL = -1e300
"""A threshold that every answer with evidence reaches."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What thresholds did on the certifying runs.

    Attributes:
        accepted: Runs in which an answer of the SLM's was accepted.
        errors: How many of them ended wrong.
        escalations: Steps that escalated, per run.
        price: Of these, per run; the same number where every step has the price 1.
    """

    accepted: int
    errors: int
    escalations: float
    price: float


@dataclass(frozen=True, slots=True)
class SkillPart:
    """What a workflow's certificate holds for one of its skills.

    Attributes:
        calibrator: Gives the probability that the workflow's final value is right where this
            step's answer is the SLM's and all others are the LLM's.
        threshold: Least score of the calibrator that is accepted; ``None`` where nothing is.
        depends_on: Hashes and names of all that must not change about the skill and its model.
    """

    calibrator: Calibrator
    threshold: float | None
    depends_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def least_confidence(self) -> float | None:
        """The probability at the threshold; ``None`` where nothing is accepted."""
        return None if self.threshold is None else self.calibrator.of_score(self.threshold)


@dataclass(frozen=True)
class WorkflowCertificate:
    """At most ``max_error`` of the runs that rely on the SLM at all end wrong.

    That holds with a probability of at least ``confidence`` over the draw of the labelled runs, as
    long as inputs and the LLM's answers are like those of that draw.

    Attributes:
        workflow: Name of the function.
        max_error: Error rate kept among runs in which an answer of the SLM's is accepted, α.
        confidence: Of that, 1 - δ.
        made: When, in UTC, ISO 8601.
        labels: Labelled runs in all.
        fitted: How many of them chose the sequence of thresholds.
        n: How many certify.
        skills: By name.
        joint: What the thresholds did on the runs that certify.
        even_split: What those of each skill certified by itself at α/k would have done on them.
        steps: Steps per run, on the same runs, where all escalate.
        p_value: Of the last test that passed; 1 where none did.
        upper_bound: Of the error rate at these thresholds alone; 1 where none passed.
        labels_needed: Where nothing can be accepted: about how many labelled runs would do;
            ``None`` where no number would.
        minimised: ``"escalations"`` or ``"cost"``.
        raised: Replays in which the function raised an error; those count as wrong.
        unexplored: Choices that were not replayed; those count as wrong.
        by_reference: Whether escalated steps were answered by a reference in the LLM's place.
        depends_on: Hashes of the function, the data, the calibrators and, unless a reference stood
            for it, the LLM.
    """

    workflow: str
    max_error: float
    confidence: float
    made: str
    labels: int
    fitted: int
    n: int
    skills: Mapping[str, SkillPart]
    joint: Measured
    even_split: Measured
    steps: float
    p_value: float
    upper_bound: float
    labels_needed: int | None
    minimised: str
    raised: int
    unexplored: int
    by_reference: bool
    depends_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name it."""
        return id_of(self._facts())

    @property
    def accepts(self) -> bool:
        """Whether any answer of the SLM's can be accepted."""
        return any(part.threshold is not None for part in self.skills.values())

    def sealed(self) -> WorkflowCertificate:
        """The same, with the hash of its calibrators and thresholds among what it depends on."""
        return replace(self, depends_on={**self.depends_on, "calibrator": self.calibrators_digest})

    def check(self, current: Mapping[str, str]) -> None:
        """Refuse to be used for another function or LLM.

        Args:
            current: Hashes of the ``function`` and the ``llm`` that run now.

        Raises:
            StaleCertificate: Something is not the same; the message says what.
        """
        named = {"function", "llm"} & set(self.depends_on)
        self._refuse(
            tuple(one for one in sorted(named) if self.depends_on[one] != current.get(one))
        )

    def check_skill(self, skill: str, current: Mapping[str, str]) -> None:
        """Refuse to be used for another model, prompt or schema of a skill.

        Args:
            skill: Its name.
            current: What runs now, as `hetagent.fingerprint.fingerprint` tells it.

        Raises:
            StaleCertificate: Something is not the same; the message says what.
        """
        own = self.skills[skill].depends_on
        # The LLM is the whole workflow's, and looked at where it is declared.
        names = sorted({*own, *(name for name in current if not is_of_ladder(name))})
        self._refuse(tuple(f"{skill}.{one}" for one in names if own.get(one) != current.get(one)))

    def _refuse(self, changed: tuple[str, ...]) -> None:
        if changed:
            raise StaleCertificate(
                f"The certificate {self.id} of the workflow {self.workflow} was made for other "
                f"{', '.join(changed)}.",
                changed=changed,
                hint="Calibrate the workflow again, or bring back what it was made for.",
            )

    @property
    def calibrators_digest(self) -> str:
        """Hash of all calibrators and thresholds."""
        return digest(
            {name: [one.calibrator.fingerprint, one.threshold] for name, one in self.skills.items()}
        )

    @property
    def guarantee(self) -> str:
        """What it promises, in one sentence."""
        whose = "the reference's answers" if self.by_reference else "the LLM's answers"
        return (
            f"With a probability of at least {self.confidence:.4g} over the labelled runs, at most "
            f"{100 * self.max_error:.4g}% of the runs in which an answer of the SLM's is accepted "
            f"end in a wrong value, with {whose} at all other steps, as long as inputs are like "
            "those of the labelled runs."
        )

    def explain(self) -> str:
        """What it promises or why it cannot, and what it saves, in plain words."""
        lines = [f"Certificate {self.id} of {self.workflow}, made {self.made}.", self.guarantee]
        lines += [_in_words(name, part) for name, part in self.skills.items()]
        joint, even = self.joint, self.even_split
        if self.accepts:
            lines.append(
                f"Of {self.n} runs {joint.accepted} rely on the SLM, of which {joint.errors} end "
                f"wrong (at most {self.upper_bound:.1%} of all such)."
            )
        elif self.labels_needed is None:
            lines.append("No number of labelled runs would show so low an error rate.")
        else:
            lines.append(f"About {self.labels_needed} labelled runs in all would be enough.")
        lines.append(
            f"Of {self.steps:.2f} steps per run {joint.escalations:.2f} escalate; with every skill "
            f"certified by itself at {self.max_error:.4g}/{len(self.skills)} it would be "
            f"{even.escalations:.2f}."
        )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as a JSON file."""
        return save(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a JSON file.

        Raises:
            CertificateError: It cannot be read, is no certificate of a workflow, or was edited.
        """
        return cls.from_dict(load(path))

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"id": self.id, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        facts = asdict(self)
        facts["skills"] = {
            name: {
                "calibrator": part.calibrator.to_dict(),
                "threshold": part.threshold,
                "least_confidence": part.least_confidence,
                "depends_on": dict(part.depends_on),
            }
            for name, part in self.skills.items()
        }
        return {"format": _FORMAT, "guarantee": self.guarantee, **facts}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """From JSON data.

        Raises:
            CertificateError: It is no certificate of a workflow, or was edited.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise CertificateError(
                "This is no certificate of a workflow that this version reads.",
                hint="Calibrate the workflow again with this version; certificates of single "
                "skills are read with Certificate.load.",
            )
        facts = {k: v for k, v in data.items() if k not in ("format", "guarantee", "id")}
        try:
            facts["skills"] = {name: _part(part) for name, part in data["skills"].items()}
            for name in ("joint", "even_split"):
                facts[name] = Measured(**data[name])
            found = cls(**facts)
            found.explain()  # whatever is not of its type shows here
            calibrated = found.depends_on.get("calibrator") == found.calibrators_digest
            edited = is_edited(data, found._facts())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CertificateError(
                f"This is no certificate of a workflow: {type(error).__name__}: {error}.",
                hint="Calibrate the workflow again.",
            ) from error
        if not calibrated or edited:
            what = "numbers" if calibrated else "calibrators"
            raise CertificateError(
                f"The {what} in the certificate of {found.workflow} are not those it was made "
                "with.",
                hint="Certificates are not meant to be edited by hand: calibrate again.",
            )
        return found


def _part(data: Mapping[str, Any]) -> SkillPart:
    threshold = data["threshold"]
    return SkillPart(
        Calibrator.from_dict(data["calibrator"]),
        None if threshold is None else float(threshold),
        {str(name): str(value) for name, value in data["depends_on"].items()},
    )


def _in_words(name: str, part: SkillPart) -> str:
    if part.least_confidence is None:
        return f"{name}: always escalates."
    if part.threshold == ACCEPT_ALL:
        return f"{name}: every valid answer is accepted."
    return f"{name}: accepted from a confidence of {part.least_confidence:.3f}."
