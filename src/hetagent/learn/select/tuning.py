"""Tuning the best of a race, which is the price that few pay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hetagent.errors import HetagentError, MissingExtraError
from hetagent.fingerprint import digest, fingerprint
from hetagent.learn.select.candidates import Candidate
from hetagent.learn.select.entrants import Entrant, Pairs
from hetagent.learn.select.runner import Runner, Tell
from hetagent.models.base import Model
from hetagent.models.llamacpp import LlamaCpp
from hetagent.skill import Skill

__all__ = ["TunedModel", "Tuner", "bases", "own_tuner", "tuned_entrants"]


class TunedModel(Protocol):
    """What tuning makes; as `hetagent.learn.tune.run.Tuned`."""

    @property
    def facts(self) -> dict[str, Any]:
        """Of the training, its ``seconds`` among them."""

    def model(self, **options: Any) -> AbstractContextManager[Model]:
        """The tuned model; options are those of `LlamaCpp`."""


class Tuner(Protocol):
    """What tunes; as `hetagent.learn.tune.run.tune`, or that with settings."""

    def __call__(
        self,
        skill: Skill[Any, Any],
        examples: Iterable[Any],
        *,
        to: Path,
        model: LlamaCpp,
        tell: Callable[[str, Any], None],
    ) -> TunedModel:
        """Tune a model for a skill; what was tuned before is not tuned again."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What all that is tuned has in common."""

    skill: Skill[Any, Any]
    train: Pairs
    to: Path
    tuner: Tuner | None
    tell: Tell


def bases(runners: Sequence[Runner], count: int) -> list[Candidate]:
    """The models beneath the best entrants, the best first; of equal ones the smaller.

    One that was dropped may be among them: a model that is no match for a classifier as it is may
    be one once it is tuned.
    """
    known = [one for one in runners if one.entrant.base is not None and not one.failed]
    # What was judged on more rows was better on fewer.
    known.sort(key=lambda one: (-len(one.right), -one.quality, _size(one)))
    found = dict.fromkeys(one.entrant.base for one in known if one.entrant.base is not None)
    return list(found)[:count]


def tuned_entrants(
    chosen: Iterable[Candidate],
    skill: Skill[Any, Any],
    train: Pairs,
    *,
    to: Path,
    tuner: Tuner | None,
    tell: Tell,
    notes: list[str],
) -> Iterator[Entrant]:
    """Tune models one after the other; what cannot be tuned is noted.

    Args:
        chosen: What is tuned.
        skill: For what.
        train: Labelled pairs.
        to: A folder for the adapters.
        tuner: What tunes; ``None`` for the project's own.
        tell: Told how far it is.
        notes: Sentences are added to it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the same call then goes on where it was.
    """
    work = _Work(skill, train, to, tuner, tell)
    for base in chosen:
        try:
            yield _tuned(base, work)
        except MissingExtraError as error:
            notes.append(f"Nothing was tuned: {error}")
            return
        except HetagentError as error:
            notes.append(f"{base.name} was not tuned: {error}")


def _tuned(base: Candidate, work: _Work) -> Entrant:
    tune = work.tuner or own_tuner()
    with LlamaCpp(base.path, context=base.context) as model:
        of = digest([fingerprint(work.skill, model), [[repr(r), one] for r, one in work.train]])
        folder = work.to / f"{re.sub(r'[^a-zA-Z0-9.-]+', '-', base.name)}-{of[:12]}"

        def tell(stage: str, progress: Any) -> None:
            done, steps = (0, None) if progress is None else (progress.done, progress.steps)
            work.tell(f"tuning {base.name}: {stage}", done, steps)

        made = tune(work.skill, work.train, to=folder, model=model, tell=tell)
    return Entrant(
        name=f"{base.name} tuned",
        kind="tuned",
        open=lambda: made.model(context=base.context),
        base=base,
        tuning_seconds=made.facts["seconds"],
        file=folder / "adapter.gguf",
    )


def own_tuner(minutes: float | None = None, seed: int = 0) -> Tuner:
    """The project's own tuning; PyTorch is imported only once something is tuned.

    Args:
        minutes: Most time to train; ``None`` for as long as it takes.
        seed: Of what is random.
    """

    def tune(
        skill: Skill[Any, Any],
        examples: Iterable[Any],
        *,
        to: Path,
        model: LlamaCpp,
        tell: Callable[[str, Any], None],
    ) -> TunedModel:
        try:
            from hetagent.learn.tune.run import tune as tuned
            from hetagent.learn.tune.settings import TuneSettings
        except ImportError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise MissingExtraError(error.name or "torch", extra="tune") from error
        settings = TuneSettings(minutes=minutes, seed=seed)
        return tuned(skill, examples, to=to, model=model, settings=settings, tell=tell)

    return tune


def _size(runner: Runner) -> int:
    base = runner.entrant.base
    return base.facts.size_bytes or 0 if base is not None else 0
