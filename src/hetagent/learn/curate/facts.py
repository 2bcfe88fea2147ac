"""What a dataset is like, counted while it is written."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Facts"]

_SHOWN = 50
_COUNTED = 10_000
_LETTERS = 40


class Facts:
    """Counts classes, models, writing systems and times, in memory that does not grow for ever."""

    def __init__(self) -> None:
        self._classes: dict[str, Counter[str]] = {}
        self._uncounted = 0
        self._models: Counter[tuple[str, str]] = Counter()
        self._captured: Counter[str] = Counter()
        self._workloads: Counter[str] = Counter()
        self._scripts: Counter[str] = Counter()
        self._times: dict[str, tuple[int, int]] = {}

    def add(self, body: Mapping[str, Any], *, split: str, time: int) -> None:
        """Count an example, as its body says it."""
        name = body["class"]
        if name in self._classes or len(self._classes) < _COUNTED:
            self._classes.setdefault(name, Counter())[split] += 1
        else:
            self._uncounted += 1
        _count(self._models, (body["model"], body["trainable"]))
        _count(self._captured, body["source"])
        if body["workload"]:
            _count(self._workloads, body["workload"])
        if script := _script(body["messages"]):
            self._scripts[script] += 1
        first, last = self._times.get(split, (time, time))
        self._times[split] = (min(first, time), max(last, time))

    def to_dict(self) -> dict[str, Any]:
        """The counts, most common first."""
        by_size = sorted(self._classes, key=lambda name: (-self._classes[name].total(), name))
        return {
            "times": {name: list(span) for name, span in self._times.items()},
            "classes": [
                {
                    "class": name,
                    **{one: self._classes[name][one] for one in ("train", "validation", "test")},
                }
                for name in by_size[:_SHOWN]
            ],
            "other_classes": max(0, len(by_size) - _SHOWN),
            "models": [
                {"model": model, "trainable": trainable, "examples": count}
                for (model, trainable), count in _sorted(self._models)
            ],
            "captured": dict(_sorted(self._captured)),
            "workloads": dict(_sorted(self._workloads)),
            "scripts": dict(_sorted(self._scripts)),
        }


def _count(counts: Counter[Any], name: Any) -> None:
    if name in counts or len(counts) < _COUNTED:
        counts[name] += 1


def _sorted(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN]


def _script(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The writing system of most of the first letters that are not the system's."""
    said = [one["content"] for one in messages if one["role"] != "system"]
    letters = [letter for text in said for letter in text[:400] if letter.isalpha()][:_LETTERS]
    found = Counter(_of(letter) for letter in letters)
    return min(found, key=lambda name: (-found[name], name)) if found else None


@functools.lru_cache(maxsize=4096)
def _of(letter: str) -> str:
    return unicodedata.name(letter, "unknown").split()[0].capitalize()
