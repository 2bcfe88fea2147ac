"""Texts as sets of runs of words, in 64 bits each: what likeness is measured on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shingles", "Template", "hash64", "words_of"]

# Languages without spaces between words are read character by character.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_REMEMBERED = 100_000
_BUCKETS = 1 << 26
_FULL = 254
# Odd constants of SplitMix64 (Steele, Lea and Flood 2014).
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)


def hash64(text: str) -> int:
    """64 bits of a text, never 0."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()) or 1


def words_of(text: str) -> list[str]:
    """The words of a text, whatever their case, width and what stands between them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Shingles:
    """Texts, as `words_of` gives their words, as sets of runs of words.

    Args:
        size: Words in a run. A text of fewer words is one run.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[str, int] = {}

    def __call__(self, text: Sequence[str]) -> NDArray[np.uint64]:
        """The runs of a text's words: sorted, each once; none where it has no words."""
        known = self._known
        words = np.array([known.get(one) or self._hash(one) for one in text], dtype=np.uint64)
        size = min(self._size, len(words))
        if not size:
            return words
        runs = words[: len(words) - size + 1].copy()
        for at in range(1, size):
            runs = _mixed(runs) + words[at : len(words) - size + 1 + at]
        return np.unique(_mixed(runs))

    def _hash(self, word: str) -> int:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        found = self._known[word] = hash64(word)
        return found


class Template:
    """In how many prompts a run of words is, for telling template from content.

    Counts are kept in one byte each, so that they take 64 MB however many prompts there are. Runs
    that share a byte count together; `content` allows for as many as share one on average.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.uint8)
        self._prompts = 0
        self._runs = 0

    @property
    def prompts(self) -> int:
        """Prompts that were counted."""
        return self._prompts

    def add(self, runs: NDArray[np.uint64]) -> None:
        """Count the runs of one prompt."""
        at = runs % np.uint64(_BUCKETS)
        counts = self._counts[at]
        self._counts[at] = counts + (counts < _FULL)
        self._prompts += 1
        self._runs += len(runs)

    def content(self, runs: NDArray[np.uint64], *, limit: int) -> NDArray[np.uint64]:
        """Those of the runs that are in at most ``limit`` prompts, as far as can be told."""
        allowed = min(_FULL - 1, limit + self._runs // _BUCKETS)
        counts = self._counts[runs % np.uint64(_BUCKETS)]
        return np.asarray(runs[counts <= allowed], np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    found = values * _MULTIPLY
    found ^= found >> _SHIFT
    found *= _MIX
    found ^= found >> _SHIFT
    return found
