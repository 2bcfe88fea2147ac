"""Finding workloads: what the calls of each look like, and which calls are of which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hetagent.learn.cluster.embed import Embed
from hetagent.learn.cluster.forms import Forms
from hetagent.learn.cluster.groups import LEAST, Group, Grouping, fewest_of
from hetagent.learn.cluster.patterns import Pattern, Patterns
from hetagent.learn.cluster.read import Call, instructed, shingles
from hetagent.learn.record import CallRecord

__all__ = ["members_of", "patterns_of"]


def patterns_of(
    given: Sequence[str | None], calls: Sequence[Call], embed: Embed, least: int | None
) -> tuple[Patterns, list[str | None]]:
    """What the workloads look like, and the name that each was given."""
    fewest = least or fewest_of(len(calls))
    prompts = [shingles(call.text) for call in calls]
    heads = [instructed(call.text) for call in calls]
    forms = Forms.of(calls, least=fewest)
    alike = least or max(LEAST, fewest)
    grouping = Grouping(calls, prompts, heads, forms, embed, fewest, alike)
    found: list[Group] = []
    sets: dict[str | None, list[int]] = {}
    for place, name in enumerate(given):
        sets.setdefault(name, []).append(place)
    for name, places in sets.items():
        found += grouping.groups(np.array(places), given=name)
    patterns, merged = Patterns.of(found, calls, forms=forms, embed=embed)
    owners = [next((found[p].given for p in some if found[p].given), None) for some in merged]
    # Those of which there are too few calls to tell what they look like.
    owners += [one for one in dict.fromkeys(given) if one is not None and one not in owners]
    return patterns, owners


def members_of(
    records: Sequence[CallRecord],
    calls: Sequence[Call],
    patterns: Patterns,
    given: Sequence[str | None],
) -> list[tuple[list[int], list[Pattern]]]:
    """For each workload its calls, and its patterns, the most common first."""
    rows: list[list[int]] = [[] for _ in given]
    counts: list[Counter[int]] = [Counter() for _ in given]
    place_of = {id(one): place for place, one in enumerate(patterns.patterns)}
    number_of = {name: number for number, name in enumerate(given) if name is not None}
    for row, (record, call) in enumerate(zip(records, calls, strict=True)):
        found = patterns.find(call)
        number = found[1] if found is not None else None
        if record.workload is not None:
            number = number_of[record.workload]
        if number is None:
            continue
        rows[number].append(row)
        if found is not None and found[1] == number:
            counts[number][place_of[id(found[0])]] += 1
    return [
        (some, [patterns.patterns[place] for place, _ in often.most_common()])
        for some, often in zip(rows, counts, strict=True)
    ]
