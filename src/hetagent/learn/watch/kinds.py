"""New kinds of calls: recent inputs beside a skill's own, and groups of the escalated ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.cluster.embed import Embed, Vectors, mean_direction, unit
from hetagent.learn.cluster.names import distinctive
from hetagent.learn.inputs import Inputs
from hetagent.learn.watch.calls import Asked
from hetagent.learn.watch.figures import more_now
from hetagent.learn.watch.moved import moved, nearness
from hetagent.learn.watch.result import Cluster, Moves
from hetagent.learn.watch.settings import WatchSettings

__all__ = ["clusters_of", "moves_of"]

# Recent inputs that say something of all.
_FEWEST = 30
_SHOWN, _ANSWERS, _LONGEST = 3, 3, 120
_DIMENSIONS = 20
# Share of a group's members that lie within its radius, in percent.
_WITHIN = 90
# How much more of a group there must be now to be called new.
_TIMES = 3.0
# The share of a skill's own inputs that counts as far from the others.
_FAR = 0.02


def moves_of(
    recent: Sequence[Asked], inputs: Inputs, *, embed: Embed, settings: WatchSettings
) -> Moves | None:
    """How recent inputs compare with a skill's own; ``None`` where there are too few of either."""
    if len(recent) < _FEWEST or int(inputs.as_calls.sum()) < _FEWEST:
        return None
    texts = [one.text for one in recent]
    vectors = unit(embed(texts))
    found = moved(inputs.vectors[inputs.as_calls], vectors, seed=settings.seed)
    near, own = nearness(vectors, inputs.vectors, groups=inputs.groups)
    limit = np.quantile(own, _FAR) if len(own) else -1.0
    far, far_before = int((near < limit).sum()), int((own < limit).sum())
    chance = min(1.0, 2 * min(found.p_value, more_now(far, len(near), far_before, len(own))))
    is_moved = chance <= settings.level
    order = np.argsort(-found.strangeness, kind="stable")
    shown = dict.fromkeys(_short(texts[place]) for place in order[: 4 * _SHOWN])
    return Moves(
        len(texts),
        found.distance,
        chance,
        far / len(near),
        far_before / max(1, len(own)),
        is_moved,
        tuple(shown)[:_SHOWN] if is_moved else (),
    )


def clusters_of(
    escalated: Sequence[Asked],
    recent: Sequence[Asked],
    inputs: Inputs,
    *,
    embed: Embed,
    settings: WatchSettings,
) -> tuple[Cluster, ...]:
    """Groups of escalated calls that are far more common now than when the skill was made.

    They are looked for in one half of the calls, as density shows them, and tested in the other
    one, so that a group that chance made up is not found again there.

    Args:
        escalated: Some of the escalated calls.
        recent: Some of all calls.
        inputs: The skill's own.
        embed: Texts to vectors.
        settings: How surely, and how large they must be.
    """
    first = unit(embed([one.text for one in escalated if one.first]))
    tested = [one for one in recent if not one.first]
    if len(first) < 2 * settings.least or not tested:
        return ()
    vectors = unit(embed([one.text for one in escalated]))
    others = unit(embed([one.text for one in tested]))
    found: list[tuple[Cluster, NDArray[np.bool_]]] = []
    groups = list(_dense(first, settings.least))
    for centre, radius in groups:
        now = int((others @ centre >= radius).sum())
        then = int((inputs.vectors @ centre >= radius).sum())
        share, before = now / len(others), then / len(inputs.vectors)
        chance = more_now(now, len(others), then, len(inputs.vectors)) * len(groups)
        inside = vectors @ centre >= radius
        if chance > settings.level or share < _TIMES * before or not inside.any():
            continue
        members = [one for one, own in zip(escalated, inside, strict=True) if own]
        middle = escalated[int(np.argmax(vectors @ centre))]
        answers = Counter(one.said for one in members).most_common(_ANSWERS)
        one = Cluster(len(members), share, before, chance, (), dict(answers), _short(middle.text))
        found.append((one, inside))
    return _with_terms(found, escalated)


def _dense(vectors: Vectors, least: int) -> list[tuple[Vectors, float]]:
    """Where vectors lie densely: the middle of each group, and how far it reaches."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    size = min(_DIMENSIONS, *vectors.shape)
    flat = PCA(size, random_state=0).fit_transform(vectors)
    # What is escalated may all be of one kind.
    labels = HDBSCAN(min_cluster_size=least, allow_single_cluster=True, copy=True).fit_predict(flat)
    found = []
    for label in range(int(labels.max()) + 1):
        inside = vectors[labels == label]
        centre = unit(mean_direction(inside))
        found.append((centre, float(np.percentile(inside @ centre, 100 - _WITHIN))))
    return found


def _with_terms(
    found: Sequence[tuple[Cluster, NDArray[np.bool_]]], escalated: Sequence[Asked]
) -> tuple[Cluster, ...]:
    """The groups with the terms that set each apart, the largest first."""
    texts = [
        [one.text for one, own in zip(escalated, inside, strict=True) if own] for _, inside in found
    ]
    anywhere = np.any([inside for _, inside in found], axis=0) if found else np.array([])
    rest = [one.text for one, own in zip(escalated, anywhere, strict=False) if not own]
    terms = distinctive([*texts, rest])
    named = [replace(one, terms=tuple(some)) for (one, _), some in zip(found, terms, strict=False)]
    return tuple(sorted(named, key=lambda one: -one.size))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
