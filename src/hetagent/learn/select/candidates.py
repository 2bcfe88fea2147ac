"""Candidates: the models of the catalogue and the user's own files that the limits let in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hetagent.learn.select.limits import Facts, Limits
from hetagent.models.base import Request
from hetagent.models.catalog import CatalogModel, find, load_catalog
from hetagent.models.fetch import cached_path, resolve
from hetagent.models.llamacpp import DEFAULT_CONTEXT, LlamaCpp
from hetagent.skill import Skill

__all__ = ["Candidate", "Refused", "candidates", "roomy"]

_LONGEST_TRIED = 16
# What a chat template writes around the turns is far less.
_TEMPLATE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may enter the race.

    Attributes:
        name: For tables.
        reference: What it is loaded by: a catalogue name, or the path of its weights.
        path: Its weights file on this machine.
        facts: What is known of it.
        context: Tokens of prompt and answer together that it is opened with.
    """

    name: str
    reference: str
    path: Path
    facts: Facts
    context: int = DEFAULT_CONTEXT


@dataclass(frozen=True, slots=True)
class Refused:
    """A model that does not enter the race.

    Attributes:
        name: Its name.
        why: In words.
    """

    name: str
    why: str


def candidates(
    limits: Limits | None = None,
    *,
    names: Iterable[str] | None = None,
    catalog: Mapping[str, CatalogModel] | None = None,
    fetch: bool = False,
    progress: bool | None = None,
) -> tuple[list[Candidate], list[Refused]]:
    """Sort models into those that enter the race and those that do not.

    Args:
        limits: What none may break.
        names: Catalogue names, hub references, variants or paths to ``.gguf`` files; by default
            the whole catalogue.
        catalog: Models by name, instead of the built-in ones.
        fetch: Whether what is not on this machine may be fetched; else it is refused.
        progress: Whether to show a download's progress; ``None``: on a terminal.

    Returns:
        Candidates, the smallest first, and those that were refused, with the reason.

    Raises:
        UnknownModelError: A name means nothing.
        ModelFileError: A file is missing, or is not GGUF.
        DownloadError: It may be fetched and could not be.
    """
    limits = limits or Limits()
    known = load_catalog() if catalog is None else catalog
    entered, refused = [], []
    for reference in dict.fromkeys(known if names is None else names):
        found = _examined(reference, known, limits, fetch=fetch, progress=progress)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            entered.append(found)
    return sorted(entered, key=lambda one: (one.facts.size_bytes or 0, one.name)), refused


def roomy(
    entered: Iterable[Candidate],
    skill: Skill[Any, Any],
    rows: Sequence[Any],
    *,
    limits: Limits | None = None,
) -> tuple[list[Candidate], list[Refused]]:
    """Give each candidate a context for the longest prompt, and refuse those too short for it.

    Args:
        entered: Candidates.
        skill: Makes the prompts.
        rows: All inputs, as `hetagent.Orchestrator.map` takes them.
        limits: ``context`` is the least that they are opened with.

    Raises:
        ModelError: A candidate cannot be loaded.
    """
    least = max(DEFAULT_CONTEXT, (limits or Limits()).context or 0)
    requests = sorted(_requests(skill, rows), key=_bytes)[-_LONGEST_TRIED:]
    labels = (len(label.encode()) for label in skill.output.labels)
    answer = max(labels, default=skill.max_tokens)
    # A token stands for a byte at least, but for those of the template.
    surely = _bytes(requests[-1]) + _TEMPLATE_BYTES + answer if requests else 0
    fitting, refused = [], []
    for one in entered:
        trained = one.facts.context_tokens
        context = least
        if surely > min(least, trained or least):
            with LlamaCpp(one.path, context=least) as model:
                model.load()
                needed = max(map(model.prompt_tokens, requests)) + answer
            if trained is not None and trained < needed:
                why = f"its context has {trained:,} tokens, {needed:,} are needed"
                refused.append(Refused(one.name, why))
                continue
            context = max(least, needed)
        fitting.append(replace(one, context=context))
    return fitting, refused


def _requests(skill: Skill[Any, Any], rows: Sequence[Any]) -> Iterator[Request]:
    for row in rows:
        args, kwargs = skill.bind_row(row)
        yield skill.request(*args, **kwargs)


def _bytes(request: Request) -> int:
    return sum(len(message.content.encode()) for message in request.messages)


def _examined(
    reference: str,
    known: Mapping[str, CatalogModel],
    limits: Limits,
    *,
    fetch: bool,
    progress: bool | None,
) -> Candidate | Refused:
    base = reference.partition("@")[0].partition(":")[0].lower()
    if base in known:
        return _of_catalogue(reference, find(base, catalog=known), limits, fetch, progress)
    path = cached_path(reference)
    if path is None:
        if not fetch:
            return Refused(reference, f"not fetched: hetagent models pull {reference}")
        path = resolve(reference, progress=progress)
    facts = _facts_of_file(path)
    why = limits.refusal(facts)
    name = path.stem if reference.endswith(path.name) else reference
    return Refused(name, why) if why else Candidate(name, reference, path, facts)


def _of_catalogue(
    reference: str, model: CatalogModel, limits: Limits, fetch: bool, progress: bool | None
) -> Candidate | Refused:
    """A model of the catalogue: the named file of it, else one that is here, else its first."""
    if model.unsupported is not None:
        return Refused(reference, model.unsupported)
    if not model.quantisations:
        return Refused(reference, "the catalogue has no GGUF file of it")
    # Before it is looked for, so that what is refused for good is not said to lack a download.
    if why := limits.refusal(_facts_of(model, model.quantisations[0].size_bytes)):
        return Refused(reference, why)
    tried = [reference]
    if reference.lower() == model.name:
        tried = [f"{model.name}:{one.name}" for one in model.quantisations]
    found = next(((one, path) for one in tried if (path := cached_path(one))), None)
    if found is None:
        if not fetch:
            return Refused(reference, f"not fetched: hetagent models pull {reference}")
        found = reference, resolve(reference, progress=progress)
    name, path = found
    is_first = name == f"{model.name}:{model.quantisations[0].name}"
    facts = _facts_of(model, path.stat().st_size)
    why = limits.refusal(facts)
    shown = model.name if is_first else name
    return Refused(shown, why) if why else Candidate(shown, name, path, facts)


def _facts_of(model: CatalogModel, size: int | None) -> Facts:
    return Facts(
        size_bytes=size,
        licence=model.licence,
        outputs_train=model.outputs_train,
        context_tokens=model.context_tokens,
        languages=None if model.languages is None else frozenset(model.languages),
        reasoning=model.reasoning,
    )


def _facts_of_file(path: Path) -> Facts:
    """What a file says of itself; a user's own file has no entry in the catalogue.

    Raises:
        ModelFileError: It is not GGUF.
    """
    from hetagent.engine.metadata import read_metadata

    names = ("general.license", "general.languages", "{arch}.context_length")
    said = read_metadata(path, names)
    languages = frozenset(re.findall(r"\b[a-z]{2}\b", said.get("general.languages", "")))
    context = said.get("{arch}.context_length")
    return Facts(
        size_bytes=path.stat().st_size,
        licence=said.get("general.license"),
        context_tokens=int(context) if context else None,
        languages=languages or None,
    )
