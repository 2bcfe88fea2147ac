"""A GGUF file's weights for training: read, dequantised, rows as the network wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import MissingExtraError, ModelFileError

__all__ = [
    "ARCHITECTURES",
    "Shape",
    "Weights",
    "exact",
    "frequencies",
    "interleaved",
    "open_gguf",
]

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""What the fast network knows: llama.cpp's names."""

# llama.cpp turns neighbouring rows of a head where the original turned its halves.
_INTERLEAVED = frozenset({"llama"})

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a network.

    Attributes:
        architecture: llama.cpp's name for it.
        layers: How many.
        width: Of a token's state.
        heads: Of queries.
        key_heads: Of keys and values.
        head: Size of a head.
        context: Tokens it was trained for.
        epsilon: Of the norms.
        base: Of the rotary embedding's frequencies.
    """

    architecture: str
    layers: int
    width: int
    heads: int
    key_heads: int
    head: int
    context: int
    epsilon: float
    base: float

    @property
    def interleaves(self) -> bool:
        """Whether the file's rows of queries and keys are in llama.cpp's order."""
        return self.architecture in _INTERLEAVED


class Weights:
    """The tensors of a GGUF file.

    Args:
        path: The file.

    Raises:
        MissingExtraError: The package `gguf` is not installed.
        ModelFileError: It cannot be read, or is of an architecture that is not in `ARCHITECTURES`.
    """

    def __init__(self, path: Path) -> None:
        self._reader = open_gguf(path)
        self.path = path
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.shape = self._read_shape()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Array:
        """A tensor in float32; queries and keys with the halves of each head apart."""
        found = exact(self._tensors[name])
        if self.shape.interleaves:
            heads = {"attn_q": self.shape.heads, "attn_k": self.shape.key_heads}
            part = name.split(".")[2] if name.startswith("blk.") else ""
            if part in heads:
                found = _halved(found, heads[part])
        return found

    def field(self, name: str, default: Any = None) -> Any:
        """A value of its metadata, by the name behind the architecture's."""
        found = self._reader.fields.get(f"{self._architecture}.{name}")
        return default if found is None else found.contents()

    def metadata(self, name: str) -> Any:
        """A value of its metadata by its whole name; ``None`` where there is none."""
        found = self._reader.fields.get(name)
        return None if found is None else found.contents()

    @property
    def _architecture(self) -> str:
        return str(self.metadata("general.architecture") or "unknown")

    def _read_shape(self) -> Shape:
        if self._architecture not in ARCHITECTURES:
            raise ModelFileError(
                f"{self.path.name} is of the architecture {self._architecture!r}, which the fast "
                "trainer does not know.",
                hint=f"It knows {', '.join(ARCHITECTURES)}.",
            )
        try:
            heads = int(self.field("attention.head_count"))
            width = int(self.field("embedding_length"))
            return Shape(
                architecture=self._architecture,
                layers=int(self.field("block_count")),
                width=width,
                heads=heads,
                key_heads=int(self.field("attention.head_count_kv", heads)),
                head=int(self.field("attention.key_length", width // heads)),
                context=int(self.field("context_length")),
                epsilon=float(self.field("attention.layer_norm_rms_epsilon")),
                base=float(self.field("rope.freq_base", 10_000.0)),
            )
        except TypeError as error:
            raise ModelFileError(
                f"{self.path.name} does not say how large its network is.",
                hint="Fetch it again, or name another file.",
            ) from error


def open_gguf(path: Path) -> Any:
    """A reader of a GGUF file.

    Raises:
        MissingExtraError: The package `gguf` is not installed.
        ModelFileError: The file cannot be read.
    """
    try:
        stat = path.stat()
        return _reader(path, stat.st_size, stat.st_mtime_ns)
    except ImportError as error:
        raise MissingExtraError("gguf", extra="tune") from error
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ModelFileError(
            f"{path} cannot be read: {error}.", hint="Fetch it again, or name another file."
        ) from error


@lru_cache(maxsize=2)
def _reader(path: Path, size: int, changed: int) -> Any:
    """Reading a vocabulary takes seconds; the tensors stay in the file."""
    from gguf import GGUFReader

    return GGUFReader(path)


def exact(tensor: Any) -> Array:
    """A reader's tensor in float32, rows as they are in the file."""
    from gguf.quants import dequantize

    return np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)


def _halved(rows: Array, heads: int) -> Array:
    """The inverse of `interleaved`."""
    size = rows.shape[0] // heads
    parts = rows.reshape(heads, size // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2).reshape(rows.shape))


def interleaved(rows: Array, heads: int) -> Array:
    """Rows of a query or key matrix in llama.cpp's order.

    Rotary embeddings turn pairs of rows: here each with the one half a head further, in llama.cpp
    each with the next one.
    """
    size = rows.shape[0] // heads
    parts = rows.reshape(heads, 2, size // 2, *rows.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2).reshape(rows.shape))


def frequencies(weights: Weights | Mapping[str, Array], shape: Shape) -> Array:
    """Radians by which each pair of a head turns from one position to the next."""
    powers = np.arange(0, shape.head, 2, dtype=np.float64) / shape.head
    found = shape.base**-powers
    if "rope_freqs.weight" in weights:  # how Llama 3 reaches further than it was trained for
        found = found / weights["rope_freqs.weight"].astype(np.float64)
    return found.astype(np.float32)
