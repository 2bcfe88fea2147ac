"""Calibrating a skill: run labelled examples through the SLM, and certify what can be promised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from hetagent.calibrate.certificate import Certificate, Part
from hetagent.calibrate.certifying import Split, certify, share_to_fit, split
from hetagent.calibrate.correctness import Correct, is_partial, judge, label_of
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.fitting import require_installed
from hetagent.calibrate.pairs import Pair, pairs_of
from hetagent.calibrate.weighing import weigh
from hetagent.errors import CertificateError, InputError, OutputError
from hetagent.evidence import Evidence, by_field, jointly
from hetagent.fingerprint import digest, fingerprint, ladder_fingerprint
from hetagent.models.base import Model
from hetagent.outcome import Outcome
from hetagent.skill import Skill

__all__ = ["Judged", "calibrate", "certificate_of", "judged", "parsed"]

_LEAST = 20


class Runs(Protocol):
    """What runs a skill over many inputs.

    Either with the SLM alone, whose valid answers are all accepted; or under `AskAll`.
    """

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
    fit_share: float | None = None,
    seed: int = 0,
    llms: Sequence[Model] = (),
    value_of_correct_usd: float | None = None,
    usd_per_second: float = 0.0,
) -> Certificate:
    """Certify a skill on a model; see `hetagent.Orchestrator.calibrate`.

    With ``llms`` these are asked too, and ``run`` runs under `AskAll`.
    """
    require_installed()
    _check_levels(max_error=max_error, confidence=confidence)
    if fit_share is not None:
        _check_levels(fit_share=fit_share)
    _check_value(value_of_correct_usd, usd_per_second, llms)
    rows, labels = parsed(skill, examples)
    outcomes = run(skill, rows)
    if any(one.reason == "cancelled" for one in outcomes):
        raise KeyboardInterrupt
    _refuse_broken(outcomes)
    answers = judged(skill, outcomes, labels, correct=correct)
    data = digest([[_text(skill, row), label] for row, label in zip(rows, labels, strict=True)])
    pairs = None
    if llms:
        partial = correct is None and any(is_partial(skill.output, label) for label in labels)
        if partial:
            raise InputError(
                f"Labels of {skill.name} leave fields out, so that no LLM's whole value can be "
                "judged.",
                hint="Label all fields, or calibrate without ask_llm.",
            )
        pairs = pairs_of(skill, outcomes, labels, rungs=len(llms), correct=correct)
    return certificate_of(
        skill.name,
        answers,
        pairs=pairs,
        models=[model.name for model in llms],
        asked_all=True,
        value_of_correct_usd=value_of_correct_usd,
        usd_per_second=usd_per_second,
        depends_on={**fingerprint(skill, model), **ladder_fingerprint(llms), "data": data},
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
    fit_share: float | None = None,
    seed: int = 0,
    pairs: Sequence[Pair] | None = None,
    models: Sequence[str] = (),
    asked_all: bool = False,
    value_of_correct_usd: float | None = None,
    usd_per_second: float = 0.0,
) -> Certificate:
    """Certify from answers that are already judged.

    Args:
        skill: Its name.
        answers: One for each labelled example; the same examples fit, or certify, all parts.
        depends_on: What the certificate is bound to.
        max_error: The error rate to keep, α.
        confidence: With which to keep it, 1 - δ.
        fit_share: Share of the examples that calibrators are fitted with; by default as
            `hetagent.calibrate.certifying.share_to_fit` says.
        seed: Of the split.
        pairs: What the LLMs made of the same examples, in the same order; ``None`` where they
            were not asked.
        models: The LLMs' names.
        asked_all: As in `hetagent.calibrate.weighing.weigh`.
        value_of_correct_usd: Likewise.
        usd_per_second: Likewise.

    Raises:
        InputError: There are too few examples.
        CertificateError: No answer has a confidence; or what an LLM costs is not known.
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
            "at least 79 that are all right.",
        )
    if fit_share is None:
        fit_share = share_to_fit(len(usable), max_error=max_error, confidence=confidence)
    fitting, testing = split(len(usable), fit_share=fit_share, seed=seed)
    parts: dict[str, Part] = {}
    # Calibrated confidences of the fields of each answer, which its whole value builds on.
    fields: list[list[float]] = [[] for _ in usable]
    wholes: dict[int, Evidence] = {}
    paths = dict.fromkeys(path for one in usable for path in one.correct)
    for path in sorted(paths, key=lambda path: not path):  # the whole value last
        given = [i for i, one in enumerate(usable) if path in one.evidence]
        rows = [i for i in given if path in usable[i].correct]
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
        if not path:
            wholes = dict(zip(rows, evidence, strict=True))
            continue
        for i, one in zip(rows, known, strict=True):
            fields[i].append(float(one))
        # Whole values are judged by all of their fields, labelled or not.
        for i in sorted(set(given) - set(rows)):
            fields[i].append(parts[path].calibrator.probability(usable[i].evidence[path]))
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
    if pairs is not None and "" in parts:
        numbers = _numbers(answers, (fitting, testing), fit_share, seed)
        bare = replace(
            bare,
            escalation=weigh(
                _with_drafts(pairs, answers, wholes),
                calibrator=parts[""].calibrator,
                models=models,
                asked_all=asked_all,
                rows=numbers,
                max_error=max_error,
                confidence=confidence,
                value_of_correct_usd=value_of_correct_usd,
                usd_per_second=usd_per_second,
                seed=seed,
            ),
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
        if not outcome.evidence:
            found.append(Judged({}, {}))
            continue
        value = outcome.draft.value if outcome.draft is not None else outcome.value
        output = skill.output
        right = judge(output.to_json(value), label, correct=correct, wholes=output.wholes)
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
            labels.append(_as_told(skill, row, label_of(skill.output, label)))
        except InputError as error:
            raise InputError(f"Example {number}: {error.message}", hint=error.hint) from None
    return rows, labels


def _as_told(skill: Skill[Any, Any], row: Any, label: Any) -> Any:
    """A label as the type of its row's own answers tells it; part of one as it is.

    Raises:
        InputError: It is no answer to that row, whose tools are others.
    """
    if is_partial(skill.output, label):
        return label
    args, kwargs = skill.bind_row(row)
    output = skill.output_for(*args, **kwargs)
    if output is skill.output:
        return label
    try:
        return output.to_json(output.parse_json(label))
    except OutputError as error:
        raise InputError(
            f"The label {label!r} is no answer to its input: {error.message}",
            hint="Correct the label, or offer the tool that it calls.",
        ) from error


def _with_drafts(
    pairs: Sequence[Pair], answers: Sequence[Judged], wholes: Mapping[int, Evidence]
) -> list[Pair]:
    """Pairs with the evidence that the whole value's calibrator was fitted on.

    Args:
        pairs: One for each labelled example.
        answers: Likewise.
        wholes: That evidence, by the number of the answer among the usable ones.
    """
    places = (i for i, one in enumerate(answers) if one.evidence)
    known = {place: wholes.get(number) for number, place in enumerate(places)}
    return [replace(pair, draft=known.get(i)) for i, pair in enumerate(pairs)]


def _numbers(answers: Sequence[Judged], parts: Split, fit_share: float, seed: int) -> Split:
    """Which of all examples fit and which certify: as given of the usable ones, others at random.

    Those that the SLM could not answer go on to the LLMs too.
    """
    usable = np.array([i for i, one in enumerate(answers) if one.evidence])
    others = np.array([i for i, one in enumerate(answers) if not one.evidence], dtype=int)
    others = np.random.default_rng(seed + 1).permutation(others)
    first = round(len(others) * fit_share)
    fitting, testing = parts
    return (
        np.sort(np.concatenate([usable[fitting], others[:first]])),
        np.sort(np.concatenate([usable[testing], others[first:]])),
    )


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


def _check_value(value: float | None, usd_per_second: float, llms: Sequence[Model]) -> None:
    if value is not None and not llms:
        raise InputError(
            "A right answer's worth is given, but no LLM is asked to weigh it against.",
            hint="Give ask_llm=True, and the orchestrator llm=.",
        )
    for name, number in (("value_of_correct_usd", value), ("usd_per_second", usd_per_second)):
        if number is not None and not (isinstance(number, int | float) and 0 <= number < math.inf):
            raise InputError(f"{name} is {number!r}.", hint="Give US dollars, such as 0.02.")
