"""Names of workloads: by the terms that set one apart from the others, or by a model on request."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from hetagent.learn.cluster.slots import slug
from hetagent.learn.cluster.workload import Workload

if TYPE_CHECKING:
    from hetagent.models.base import Model

__all__ = ["Namer", "by_model", "distinctive", "names"]

Namer = Callable[[Workload], str]
"""A workload without a name to words for it."""

_TERMS = 3
_STOP = frozenset(
    re.findall(
        r"\w+",
        """
        a about all also an and any are as at be been but by can could did do does
        each exactly for from give given had has have here how i if in into is it its
        just like list may me more most must my need no none not nothing null of on
        once one only or other our out please say should so some such tell than that
        the their them then there these they this those to two up us use user users
        want was we were what when where which while who why will with word words
        would write you your answer answers assistant message messages name names
        following input output reply return respond response json string text null
        true false
        """,
    )
)


def names(
    workloads: Sequence[Workload],
    texts: Sequence[Sequence[str]],
    *,
    given: Sequence[str | None],
    namer: Namer | None = None,
) -> list[str]:
    """A name for each, none of them twice.

    Args:
        workloads: Without names.
        texts: Some inputs of each.
        given: The name of each that has one.
        namer: Names instead of distinctive terms.
    """
    counts = [_terms(one, some) for one, some in zip(workloads, texts, strict=True)]
    every: Counter[str] = Counter()
    for one in counts:
        every.update(one)
    mean = every.total() / max(1, len(counts))
    found_names: list[str] = []
    taken = {one for one in given if one is not None}
    for workload, terms, known in zip(workloads, counts, given, strict=True):
        if known is not None:
            found_names.append(known)
            continue
        found = namer(workload) if namer is not None else " ".join(_best(terms, every, mean))
        name, number = slug(found or "workload").replace("_", "-").strip("-"), 1
        while (unused := f"{name}-{number}" if number > 1 else name) in taken:
            number += 1
        taken.add(unused)
        found_names.append(unused)
    return found_names


def by_model(model: Model) -> Namer:
    """A namer that asks a model.

    Args:
        model: Told the instructions, an example and the possible answers of each workload.
    """
    from pydantic import Field

    from hetagent.orchestrator import Orchestrator
    from hetagent.skill import skill

    words = Annotated[str, Field(pattern=r"^[a-z]{2,20}( [a-z]{2,20}){0,3}$")]

    @skill(
        output=words,
        instructions="Name the task that an agent's calls do, in one to four plain words, a verb "
        "first, such as `classify ticket` or `extract order`.",
    )
    def name_task(instructions: str, example: str, answers: str) -> None: ...

    agent = Orchestrator(model, policy=0.0, progress=False)

    def ask(workload: Workload) -> str:
        example = workload.example
        shown = " ".join(example.inputs.values())[:500] if example is not None else "-"
        answers = ", ".join(list(workload.output.labels)[:20]) or (
            example.answer[:300] if example is not None else "-"
        )
        return str(
            agent.run(name_task, workload.instructions[:1500] or "-", shown or "-", answers).value
        )

    return ask


def distinctive(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each of some groups of texts the terms that set it apart from the others, best first."""
    counts = [Counter(term for text in some for term in set(_words(text))) for some in texts]
    every: Counter[str] = Counter()
    for one in counts:
        every.update(one)
    mean = every.total() / max(1, len(counts))
    return [_best(one, every, mean) for one in counts]


def _best(terms: Counter[str], every: Counter[str], mean: float) -> list[str]:
    """Terms by class-based TF-IDF (Grootendorst 2022): tf · log(1 + mean size / frequency)."""
    weights = {term: n * math.log(1 + mean / every[term]) for term, n in terms.items()}
    order = sorted(weights, key=lambda term: (-weights[term], term))
    found: list[str] = []
    for term in order:
        # A word and its plural say the same.
        if all(term[:5] != other[:5] for other in found):
            found.append(term)
        if len(found) == _TERMS:
            break
    return found


def _terms(workload: Workload, texts: Sequence[str]) -> Counter[str]:
    """Its terms; those of instructions and answers weigh as much as all inputs together."""
    counts = Counter(term for text in texts for term in _words(text))
    weight = max(1, counts.total())
    for text in (workload.instructions, " ".join(workload.output.labels)):
        own = Counter(_words(text.replace("_", " ")))
        for term, count in own.items():
            counts[term] += round(weight * count / max(1, own.total()))
    for key in workload.output.schema.get("properties", {}):
        counts[key.lower()] += max(1, weight // 20)
    return counts


def _words(text: str) -> list[str]:
    return [
        word
        for word in re.findall(r"[a-z][a-z]{2,}", text.lower())
        if word not in _STOP and len(word) <= 20
    ]
