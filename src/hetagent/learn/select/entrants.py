"""What enters a race: models as they are, with retrieved examples, tuned, and a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hetagent.calibrate.correctness import is_partial
from hetagent.errors import InputError, MissingExtraError, ModelFileError
from hetagent.fingerprint import digest
from hetagent.learn.select.candidates import Candidate
from hetagent.learn.select.classifier import Classifier
from hetagent.learn.select.retrieve import Retrieved, examples_of
from hetagent.models.base import Model
from hetagent.models.llamacpp import LlamaCpp
from hetagent.skill import Skill

__all__ = ["Entrant", "Kind", "entrants", "given"]

Kind: TypeAlias = Literal["untuned", "retrieved", "tuned", "classifier"]

Pairs: TypeAlias = Sequence[tuple[Any, Any]]
"""Inputs, each with the right answer as JSON data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One way to serve the skill.

    Attributes:
        name: For the table; no two of a race have the same.
        kind: What it is.
        open: Makes the model, which need not be loaded yet; it is closed on leaving.
        base: The local model beneath it, that an adapter could be trained for.
        baseline: Whether it stays in the table however it fares.
        tuning_seconds: What it took to tune it; ``None`` where it was not.
        file: What it takes beside the base: an adapter, or the classifier itself; ``None`` where
            there is none, or it is not kept.
    """

    name: str
    kind: Kind
    open: Callable[[], AbstractContextManager[Model]]
    base: Candidate | None = None
    baseline: bool = False
    tuning_seconds: float | None = None
    file: Path | None = None


def given(model: Model, *, kind: Kind = "untuned", baseline: bool = False) -> Entrant:
    """A model of the user's own as an entrant; it is not closed."""
    return Entrant(name=model.name, kind=kind, open=lambda: nullcontext(model), baseline=baseline)


def entrants(
    skill: Skill[Any, Any],
    train: Pairs,
    entered: Sequence[Candidate],
    *,
    k: int = 5,
    to: Path | None = None,
    seed: int = 0,
) -> tuple[list[Entrant], list[str]]:
    """All that can be raced without tuning; the smallest model and the classifier are baselines.

    Args:
        skill: What is to be served.
        train: Labelled pairs that may be shown and learned.
        entered: Candidates, the smallest first.
        k: How many examples are retrieved; 0 for none.
        to: Where the classifier is kept; ``None`` for nowhere.
        seed: Of the classifier's folds.

    Returns:
        Entrants, and sentences on what is left out and why.
    """
    found: list[Entrant] = []
    notes: list[str] = []
    classifier = _classifier(skill, train, to, seed, notes)
    if classifier is not None:
        found.append(classifier)
    # Of an answer that is labelled in part nobody knows the rest.
    whole = [pair for pair in train if not is_partial(skill.output, pair[1])]
    shown = examples_of(skill, whole) if k else []
    for number, one in enumerate(entered):
        opened = _opener(one)
        found.append(
            Entrant(name=one.name, kind="untuned", open=opened, base=one, baseline=number == 0)
        )
        if not shown:
            continue

        def retrieved(opened: Callable[[], LlamaCpp] = opened) -> Retrieved:
            return Retrieved(opened(), shown, k=k)

        name = f"{one.name} +{k} examples"
        found.append(Entrant(name=name, kind="retrieved", open=retrieved, base=one))
    return found, notes


def _opener(candidate: Candidate) -> Callable[[], LlamaCpp]:
    return lambda: LlamaCpp(candidate.path, context=candidate.context)


def _classifier(
    skill: Skill[Any, Any], train: Pairs, to: Path | None, seed: int, notes: list[str]
) -> Entrant | None:
    """A classifier that is trained, or was before on the same; ``None`` where there can be none."""
    if skill.output.form != "choice":
        notes.append("No classifier: the answer is no choice.")
        return None
    texts = examples_of(skill, train)
    learned = digest([texts, sorted(skill.output.labels), seed])
    file = None if to is None else to / f"classifier-{learned[:12]}.npz"
    try:
        found = _again(file) or _new(skill, train, file, seed)
    except (InputError, MissingExtraError) as error:
        notes.append(f"No classifier: {error}")
        return None
    return Entrant(
        name="classifier",
        kind="classifier",
        open=lambda: nullcontext(found),
        baseline=True,
        file=file,
    )


def _again(file: Path | None) -> Classifier | None:
    if file is None or not file.exists():
        return None
    try:
        return Classifier.load(file)
    except ModelFileError:
        return None  # truncated, or of another embedding


def _new(skill: Skill[Any, Any], train: Pairs, file: Path | None, seed: int) -> Classifier:
    made = Classifier.fit(skill, train, seed=seed)
    if file is not None:
        made.save(file)
    return made
