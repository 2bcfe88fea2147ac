"""Which example goes into which split, and how much it weighs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetagent.learn.curate.groups import Groups, grouped_runs
from hetagent.learn.curate.recipe import Balance, Split

__all__ = [
    "SPLITS", "Parting", "join_conversations", "late_likes", "over_the_cap", "part", "weights",
]  # fmt: skip

SPLITS = ("train", "validation", "test")

Keys = NDArray[np.uint64]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Parting:
    """Which row is in which split.

    Attributes:
        splits: Shape ``(n,)``: an index of `SPLITS` for each row.
        cuts: Times from which units are in ``"validation"`` and in ``"test"``, in microseconds,
            where rows are parted by time and there is such a split.
    """

    splits: NDArray[np.int8]
    cuts: dict[str, int]


def join_conversations(groups: Groups, facts: dict[str, Keys], *, limit: int) -> None:
    """Join rows of one conversation or trace.

    What has no id is known by its text: a call that repeats another's messages and its answer goes
    on with it. Where more than ``limit`` calls go on from the same words, as from the same few
    examples in each prompt, these words do not join them.
    """
    for name in ("conversation", "trace"):
        groups.join_equal(facts[name])
    rows = np.arange(len(facts["own"]), dtype=np.int64)
    for later in ("last", "first"):
        keys = np.where(_times_seen(facts[later]) <= limit, facts[later], np.uint64(0))
        # The earlier call's own words have no successors of their own to be counted.
        groups.join_equal(np.r_[facts["own"], keys], np.r_[rows, rows])


def part(split: Split, roots: NDArray[np.int32], times: NDArray[np.int64], keys: Keys) -> Parting:
    """Part rows by their units.

    By time, a unit is where its first row is: units that begin late are the test set, so that all
    of it is later than the beginning of whatever is trained on.

    Args:
        split: How.
        roots: Of each row, the first row of its unit.
        times: Of each row.
        keys: Of each row; that of a unit's first row decides where it goes by a hash.
    """
    wanted = {"test": split.test, "validation": split.test + split.validation}
    splits = np.zeros(len(roots), np.int8)
    if split.by == "conversation":
        chance = _hashed(keys[roots], split.seed) / np.float64(2**64)
        splits[chance < wanted["validation"]] = 1
        splits[chance < wanted["test"]] = 2
        return Parting(splits, {})
    first = np.full(len(roots), np.iinfo(np.int64).max)
    np.minimum.at(first, roots, times)
    begun = np.sort(first[roots])
    cuts: dict[str, int] = {}
    for code, name, share in ((2, "test", split.test), (1, "validation", split.validation)):
        earlier = begun[begun < min(cuts.values(), default=np.iinfo(np.int64).max)]
        cut = _cut(earlier, round(share * len(begun))) if share else None
        if cut is not None:
            cuts[name] = cut
            splits[(first[roots] >= cut) & (splits == 0)] = code
    return Parting(splits, dict(sorted(cuts.items(), key=lambda one: one[1])))


def late_likes(splits: NDArray[np.int8], near: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Rows in a later split than a near-duplicate of theirs.

    Args:
        splits: Of each row.
        near: Of each row, the first row of its group of near-duplicates.
    """
    least = np.full(len(near), len(SPLITS), np.int8)
    np.minimum.at(least, near, splits)
    return np.asarray(splits > least[near], np.bool_)


def over_the_cap(
    balance: Balance, classes: Keys, keys: Keys, *, exempt: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Rows beyond a class's cap; which ones is decided by a hash of their keys.

    Args:
        balance: The cap and the seed.
        classes: Of each row.
        keys: Of each row.
        exempt: Rows that are never beyond it.
    """
    over = np.zeros(len(classes), bool)
    if balance.cap is None:
        return over
    order = np.lexsort((_hashed(keys, balance.seed), classes))
    for start, end in grouped_runs(classes[order]):
        over[order[start + balance.cap : end]] = True
    return over & ~exempt


def weights(balance: Balance, classes: Keys) -> NDArray[np.float64]:
    """What each row weighs: ``count ** -power`` of its class, scaled to a mean of 1.

    Args:
        balance: Power, the largest weight, and which classes count as one.
        classes: Of each row.
    """
    if not len(classes) or balance.how != "weight":
        return np.ones(len(classes))
    counts = _times_seen(classes)
    rare = counts < balance.rare
    counts[rare] = max(1, rare.sum())
    found = np.minimum(balance.most, (counts.max() / counts) ** balance.power)
    return np.asarray(np.round(found / found.mean(), 6), np.float64)


def _cut(begun: NDArray[np.int64], wanted: int) -> int | None:
    """The time from which about so many of the sorted times are, some being left before it."""
    starts = np.flatnonzero(np.r_[False, begun[1:] != begun[:-1]]) if len(begun) else _NONE
    after = len(begun) - starts
    starts = starts[(after <= 2 * max(1, wanted)) & (after < len(begun))]
    if not len(starts):
        return None
    nearest = np.argmin(np.abs(len(begun) - starts - wanted))
    return int(begun[starts[nearest]])


def _times_seen(keys: Keys) -> NDArray[np.int64]:
    """Of each row, how many rows have its key."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], np.int64)


def _hashed(keys: Keys, seed: int) -> Keys:
    """A number for each row; keys are of shape ``(n, 2)`` and are hashes already."""
    found = (keys[:, 0] ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    found ^= found >> np.uint64(32)
    return (found ^ keys[:, 1]) * np.uint64(0xBF58476D1CE4E5B9)
