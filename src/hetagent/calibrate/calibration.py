"""Calibrating a skill: run labelled examples through the SLM, and certify what can be promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from hetagent.calibrate.certificate import Certificate, Part
from hetagent.calibrate.certifying import certify, split
from hetagent.calibrate.correctness import Correct, is_partial, judge, label_of
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.fitting import require_installed
from hetagent.errors import CertificateError, InputError
from hetagent.evidence import Evidence, by_field, jointly
from hetagent.fingerprint import digest, fingerprint
from hetagent.models.base import Model
from hetagent.outcome import Outcome
from hetagent.skill import Skill

__all__ = ["Judged", "calibrate", "certificate_of", "judged", "parsed"]

_LEAST = 20


class Runs(Protocol):
    """What runs a skill over many inputs with the SLM alone, and accepts every valid answer."""

    def __call__(self, skill: Skill[Any, Any], rows: Sequence[Any], /) -> list[Outcome[Any]]:
        """One outcome for each row, in order."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One labelled example, answered.

    Attributes:
        evidence: By field path, with ``""`` for the whole; empty where there is no valid answer.
        correct: Whether each part that is labelled is right.
    """

    evidence: Mapping[str, Evidence]
    correct: Mapping[str, bool]


def calibrate(
    skill: Skill[Any, Any],
    model: Model,
    examples: Iterable[Any],
    *,
    run: Runs,
    max_error: float = 0.05,
    confidence: float = 0.95,
    correct: Correct | None = None,
    fit_share: float = 0.25,
    seed: int = 0,
) -> Certificate:
    """Certify a skill on a model; see `hetagent.Orchestrator.calibrate`."""
    require_installed()
    _check_levels(max_error=max_error, confidence=confidence, fit_share=fit_share)
    rows, labels = parsed(skill, examples)
    outcomes = run(skill, rows)
    if any(one.reason == "cancelled" for one in outcomes):
        raise KeyboardInterrupt
    _refuse_broken(outcomes)
    answers = judged(skill, outcomes, labels, correct=correct)
    data = digest([[_text(skill, row), label] for row, label in zip(rows, labels, strict=True)])
    return certificate_of(
        skill.name,
        answers,
        depends_on={**fingerprint(skill, model), "data": data},
        max_error=max_error,
        confidence=confidence,
        fit_share=fit_share,
        seed=seed,
    )


def certificate_of(
    skill: str,
    answers: Sequence[Judged],
    *,
    depends_on: Mapping[str, str],
    max_error: float,
    confidence: float,
    fit_share: float = 0.25,
    seed: int = 0,
) -> Certificate:
    """Certify from answers that are already judged.

    Args:
        skill: Its name.
        answers: One for each labelled example; the same examples fit, or certify, all parts.
        depends_on: What the certificate is bound to.
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
        fit_share: Share of the examples that calibrators are fitted with.
        seed: Of the split.

    Raises:
        InputError: There are too few examples.
        CertificateError: No answer has a confidence.
    """
    usable = [one for one in answers if one.evidence]
    if answers and not usable:
        raise CertificateError(
            f"No answer of {skill} has a confidence: the model reports no probabilities, or none "
            "of its answers is valid.",
            hint="Use a model that reports probabilities, such as LlamaCpp, or "
            "LiteLLM(top_logprobs=...); `hetagent run` shows its answers.",
        )
    if len(usable) < _LEAST:
        raise InputError(
            f"There are {len(usable)} usable labelled examples of {skill}.",
            hint=f"At least {_LEAST} are needed to calibrate at all; to certify 5% at 95% takes "
            "at least 59 that are all right.",
        )
    fitting, testing = split(len(usable), fit_share=fit_share, seed=seed)
    parts: dict[str, Part] = {}
    # Calibrated confidences of the fields of each answer, which its whole value builds on.
    fields: list[list[float]] = [[] for _ in usable]
    paths = dict.fromkeys(path for one in usable for path in one.correct)
    for path in sorted(paths, key=lambda path: not path):  # the whole value last
        rows = [i for i, one in enumerate(usable) if path in one.correct and path in one.evidence]
        if len(rows) < _LEAST:
            continue
        evidence = [usable[i].evidence[path] for i in rows]
        raw = np.array([one.raw for one in evidence])
        if not path:
            evidence = [jointly(one, fields[i]) for i, one in zip(rows, evidence, strict=True)]
        parts[path], known = certify(
            EvidenceTable.of(evidence),
            [usable[i].correct[path] for i in rows],
            rows=(np.nonzero(np.isin(rows, fitting))[0], np.nonzero(np.isin(rows, testing))[0]),
            max_error=max_error,
            confidence=confidence,
            raw=raw,
            seed=seed,
        )
        for i, one in zip(rows, known, strict=True):
            fields[i].append(float(one))
    parts = {path: parts[path] for path in paths if path in parts}
    bare = Certificate(
        skill,
        max_error,
        confidence,
        datetime.now(UTC).isoformat(timespec="seconds"),
        labels=len(answers),
        fitted=len(fitting),
        unusable=len(answers) - len(usable),
        parts=parts,
    )
    return bare.bound_to({**depends_on, "calibrator": bare.calibrators_digest})


def judged(
    skill: Skill[Any, Any],
    outcomes: Sequence[Outcome[Any]],
    labels: Sequence[Any],
    *,
    correct: Correct | None = None,
) -> list[Judged]:
    """Compare the SLM's answers with their labels."""
    found = []
    for outcome, label in zip(outcomes, labels, strict=True):
        if outcome.served_by != "slm" or not outcome.evidence:
            found.append(Judged({}, {}))
            continue
        right = judge(skill.output.to_json(outcome.value), label, correct=correct)
        if is_partial(skill.output, label) and correct is None:
            right.pop("", None)
        found.append(Judged(by_field(outcome.evidence), right))
    return found


def parsed(skill: Skill[Any, Any], examples: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Inputs, and labels as JSON data, of examples given as pairs.

    Raises:
        InputError: An example is no pair, or a label is no value of the output type.
    """
    rows, labels = [], []
    for number, example in enumerate(examples, 1):
        try:
            row, label = example
        except (TypeError, ValueError):
            raise InputError(
                f"Example {number} of {skill.name} is no pair of input and label.",
                hint="Give pairs such as ('table for two', 'book').",
            ) from None
        rows.append(row)
        try:
            labels.append(label_of(skill.output, label))
        except InputError as error:
            raise InputError(f"Example {number}: {error.message}", hint=error.hint) from None
    return rows, labels


def _text(skill: Skill[Any, Any], row: Any) -> str:
    args, kwargs = skill.bind_row(row)
    return skill.request_text(*args, **kwargs)


def _refuse_broken(outcomes: Sequence[Outcome[Any]]) -> None:
    """A model that cannot run at all is not one without probabilities: say why it cannot."""
    errors = [one.error for one in outcomes if one.reason == "model_error"]
    if errors and len(errors) == len(outcomes) and errors[0] is not None:
        raise errors[0]


def _check_levels(**levels: float) -> None:
    for name, value in levels.items():
        if not isinstance(value, int | float) or not 0 < value < 1:
            raise InputError(
                f"{name} is {value!r}.", hint="Give a number between 0 and 1, such as 0.05 or 0.95."
            )
