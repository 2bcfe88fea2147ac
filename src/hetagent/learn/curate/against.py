"""Texts of evaluations, which no example may repeat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import InputError
from hetagent.learn.curate.recipe import Near, Recipe
from hetagent.learn.curate.words import Shingles, Template, hash64, words_of

__all__ = ["Evaluations"]

_FIELDS = ("text", "prompt", "question", "input", "query")
_SHORT = 8
_HINT = (
    "Give a .txt file of one text a line, a .jsonl file of strings or objects, or a .json file of "
    "a list of them."
)


class Evaluations:
    """Texts of evaluation files, to be recognised in examples.

    A text of 8 words or more is recognised by the share of its runs of words that an example has,
    without those that most texts of its file share; a shorter one only where a message or the
    answer is that text.

    Args:
        files: ``.txt``, ``.jsonl`` or ``.json``.
        near: How long a run is, and what is shared by too many; ``None`` as by default.
        overlap: The share.

    Raises:
        InputError: A file cannot be read, or has no texts.
    """

    def __init__(self, files: Sequence[str], *, near: Near | None, overlap: float) -> None:
        near = near or Near()
        self._overlap = overlap
        self._shingles = Shingles(near.shingle)
        self._short: dict[int, int] = {}
        self._names = [Path(file).name for file in files]
        self.sources: list[dict[str, Any]] = []
        parts: list[tuple[NDArray[np.uint64], int]] = []
        for number, file in enumerate(files):
            parts += self._read(Path(file), number, near)
        runs = [part for part, _ in parts]
        self._files = np.array([number for _, number in parts], np.int64)
        self._sizes = np.array([len(part) for part in runs], np.int64)
        every = np.concatenate([np.zeros(0, np.uint64), *runs])
        texts = np.repeat(np.arange(len(parts), dtype=np.int64), self._sizes)
        order = np.argsort(every, kind="stable")
        self._runs, self._texts = every[order], texts[order]

    @classmethod
    def of(cls, recipe: Recipe) -> Evaluations:
        """Those that a recipe names."""
        return cls(recipe.against, near=recipe.near, overlap=recipe.overlap)

    def found_in(self, texts: Sequence[str]) -> str | None:
        """The name of a file of which a text is among these, in whole or nearly; or ``None``."""
        if not self._names:
            return None
        for text in texts:
            number = self._short.get(_same(text))
            if number is not None:
                return self._names[number]
        runs = self._shingles(words_of("\n".join(texts)))
        left = np.searchsorted(self._runs, runs, side="left")
        right = np.searchsorted(self._runs, runs, side="right")
        some = np.flatnonzero(right > left)
        hits = [self._texts[left[at] : right[at]] for at in some.tolist()]
        if not hits:
            return None
        shared = np.bincount(np.concatenate(hits), minlength=len(self._sizes))
        over = np.flatnonzero(shared >= self._overlap * self._sizes)
        return self._names[int(self._files[over[0]])] if len(over) else None

    def _read(self, file: Path, number: int, near: Near) -> list[tuple[NDArray[np.uint64], int]]:
        try:
            data = file.read_bytes()
            texts = sorted(set(_texts(file.suffix.lower(), data.decode())))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read: {error}.", hint=_HINT) from error
        if not texts:
            raise InputError(f"{file} has no texts.", hint=_HINT)
        self.sources.append(
            {"file": file.name, "sha256": sha256(data).hexdigest(), "texts": len(texts)}
        )
        template = Template()
        long = []
        for text in texts:
            if len(words_of(text)) < _SHORT:
                self._short.setdefault(_same(text), number)
            else:
                long.append(self._shingles(words_of(text)))
                template.add(long[-1])
        limit = near.template_from(len(long))
        content = [template.content(runs, limit=limit) for runs in long]
        return [(runs, number) for runs in content if len(runs)]


def _same(text: str) -> int:
    return hash64(" ".join(words_of(text)))


def _texts(suffix: str, data: str) -> Iterator[str]:
    if suffix == ".json":
        found = _rows(json.loads(data))
    elif suffix == ".jsonl":
        found = (_text_of(json.loads(line)) for line in data.split("\n") if line.strip())
    else:
        found = iter(data.splitlines())
    return (text for text in found if words_of(text))


def _rows(data: Any) -> Iterator[str]:
    """The rows of a list, or of each list of an object."""
    if isinstance(data, Mapping):
        for part in data.values():
            yield from _rows(part) if isinstance(part, list) else ()
    elif isinstance(data, list):
        yield from map(_text_of, data)


def _text_of(row: Any) -> str:
    """What is asked in a row: a text, the first of a list of them, or an object's prompt."""
    if isinstance(row, str):
        return row
    if isinstance(row, list):
        return _text_of(row[0]) if row else ""
    if not isinstance(row, Mapping):
        return ""
    if isinstance(messages := row.get("messages"), list):
        said = [one for one in messages if isinstance(one, Mapping)]
        return "\n".join(_text_of(one.get("content")) for one in said if one.get("role") == "user")
    for name in _FIELDS:
        if name in row:
            return _text_of(row[name])
    return "\n".join(part for part in row.values() if isinstance(part, str))
