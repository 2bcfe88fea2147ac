"""Embeddings of texts: a light local model unless another function is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import MissingExtraError

__all__ = ["Embed", "Vectors", "cohesion", "mean_direction", "table_bytes", "unit", "wordllama"]

Vectors: TypeAlias = NDArray[np.float32]

Embed = Callable[[Sequence[str]], Vectors]
"""Texts to vectors, shape ``(texts, dimensions)``."""

_LONGEST = 4000


def wordllama(texts: Sequence[str]) -> Vectors:
    """Static word vectors of WordLlama, averaged over each text; nothing is fetched.

    Raises:
        MissingExtraError: WordLlama is not installed.
    """
    model = _loaded()
    return np.asarray(model.embed([text[:_LONGEST] for text in texts]), np.float32)


def table_bytes() -> int:
    """Size of WordLlama's table of vectors in memory.

    Raises:
        MissingExtraError: WordLlama is not installed.
    """
    return int(_loaded().embedding.nbytes)


@cache
def _loaded() -> Any:
    try:
        import wordllama as package
    except ImportError as error:
        raise MissingExtraError("wordllama", extra="learn") from error
    folder = Path(package.__file__).parent
    return package.WordLlama.load(cache_dir=folder, disable_download=True)


def unit(vectors: Vectors) -> Vectors:
    """Each of length one; a vector of nothing stays nothing."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def mean_direction(vectors: Vectors) -> Vectors:
    """Mean of the unit vectors, shape ``(dimensions,)``; its length is their cohesion."""
    return np.asarray(unit(vectors).mean(axis=0), np.float32)


def cohesion(vectors: Vectors) -> float:
    """How alike vectors point: 1 where all the same, near 0 where in all directions.

    The mean resultant length of directional statistics (Mardia and Jupp 2000).
    """
    return float(np.linalg.norm(mean_direction(vectors))) if len(vectors) else 0.0
