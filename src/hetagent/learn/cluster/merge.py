"""Which groups do the same task: the same answers, to inputs that mean the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hetagent.learn.cluster.actions import overlap
from hetagent.learn.cluster.groups import Group

__all__ = ["merged", "shared_by"]

# Cosines between means of inputs: halves of one task's inputs have 0.9 and more, those of different
# tasks less than 0.6 (measured on CLINC150's domains with WordLlama).
_SAME, _RELATED, _CLOSE = 0.8, 0.3, 0.7
_SAME_LABELS, _SAME_TOOLS, _SAME_KEYS, _SAME_WORDING = 0.6, 0.75, 0.8, 0.5
# Labels that any task may have say nothing of which one it is.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "yes no true false none null unknown other positive negative neutral low medium high good "
        "bad pass fail ok a b c d e",
    )
)
_OWN_LABELS = 3
# A template is shared by tasks where their labels cover its answers, each this share at least.
_COVERED, _PART, _FOREIGN = 0.9, 0.1, 0.1


def merged(groups: Sequence[Group]) -> list[list[int]]:
    """Which groups belong together; the largest first."""
    order = sorted(range(len(groups)), key=lambda one: -len(groups[one].rows))
    named: dict[str, list[int]] = {}
    for one in order:
        name = groups[one].given
        if name is not None:
            named.setdefault(name, []).append(one)
    found = list(named.values())
    for one in order:
        if groups[one].given is not None:
            continue
        # With the largest of its kind: a chain of likenesses would join what is not alike.
        home = next((some for some in found if _alike(groups[some[0]], groups[one])), None)
        if home is None:
            found.append([one])
        else:
            home.append(one)
    return sorted(found, key=lambda some: -sum(len(groups[one].rows) for one in some))


def shared_by(group: Group, others: Sequence[Group]) -> list[int]:
    """The tasks that share a template without saying in it which one it is for.

    They show in its answers: labels that elsewhere belong to different tasks, and together are all
    that it answers.

    Returns:
        Places in ``others``, one of each task; empty where it is one task's alone.
    """
    if group.output.kind != "labels" or group.given is not None:
        return []
    answers = group.output.labels
    total = sum(answers.values())
    parts: list[int] = []
    for place, other in enumerate(others):
        labels = other.output.labels
        if other is group or other.output.kind != "labels" or not _own(labels):
            continue
        if len(labels.keys() & answers.keys()) < 0.6 * len(labels):
            continue
        if len(labels.keys() | answers.keys()) < 1.3 * len(labels):
            continue  # it is the same task's, in other words
        if all(overlap(labels, others[one].output.labels) < _FOREIGN for one in parts):
            parts.append(place)
    shares = [
        sum(answers.get(label, 0) for label in others[place].output.labels) / total
        for place in parts
    ]
    if len(parts) < 2 or min(shares) < _PART or sum(shares) < _COVERED:
        return []
    return parts


def _alike(one: Group, other: Group) -> bool:
    if one.output.kind != other.output.kind:
        return False
    near = one.asked.near(other.asked)
    match one.output.kind:
        case "labels":
            return _same_labels(one, other, near)
        case "json":
            same = _jaccard(_keys(one.output.schema), _keys(other.output.schema))
            return same >= _SAME_KEYS and near >= _CLOSE
        case "tools":
            return _same_tools(one, other, near)
        case "text":
            return (
                min(near, one.answered.near(other.answered)) >= _SAME
                and float(one.worded @ other.worded) >= _SAME_WORDING
                and _length_ratio(one, other) <= 2
            )


def _same_labels(one: Group, other: Group, near: float) -> bool:
    shared = overlap(one.output.labels, other.output.labels)
    common = one.output.labels.keys() & other.output.labels.keys()
    least = _RELATED if _own(dict.fromkeys(common, 1)) else _SAME
    return shared >= _SAME_LABELS and near >= least


def _own(labels: Mapping[str, int]) -> bool:
    """Whether labels are of a task rather than such as many tasks have."""
    telling = [one for one in labels if one.lower() not in _COMMON and not one.isdigit()]
    return len(telling) >= _OWN_LABELS


def _same_tools(one: Group, other: Group, near: float) -> bool:
    first, second = one.output.tools, other.output.tools
    if bool(first) != bool(second):
        return False
    if first and _jaccard(set(first), set(second)) < _SAME_TOOLS:
        return False
    if first and overlap(one.output.labels, other.output.labels) < _SAME_LABELS:
        return False
    loose = not first and not len(one.fixed) and not len(other.fixed)
    return loose or near >= _CLOSE


def _keys(schema: Mapping[str, Any]) -> set[str]:
    inner = schema.get("items", schema) if schema.get("type") == "array" else schema
    return set(inner.get("properties", {}))


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _length_ratio(one: Group, other: Group) -> float:
    lengths = sorted((one.output.words + 1, other.output.words + 1))
    return lengths[1] / lengths[0]
