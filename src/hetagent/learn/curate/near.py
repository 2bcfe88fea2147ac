"""Near-duplicates by MinHash (Broder 1997) and locality-sensitive hashing, with little memory.

Signatures are made by `rensa` and lie in a file; so do the hashes of their bands. Prompts that
share a band are compared by their signatures, band after band. Of each prompt 2 bytes for each
permutation and 8 for each band are on disk; in memory are two bands at a time.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import MissingExtraError
from hetagent.learn.curate.groups import Groups, grouped_runs
from hetagent.learn.curate.recipe import Near

__all__ = ["Signatures", "bands_of", "repeats", "sketching"]

Runs = NDArray[np.uint64]

_AT_ONCE = 512
_COMPARED_AT_ONCE = 1 << 14
_WINDOW = 64
_MOST_KEPT = 256
_RECALL = 0.99


def bands_of(near: Near) -> tuple[int, int]:
    """How a signature is cut for hashing.

    Returns:
        Bands, and rows of each: as many rows as leave a pair at the threshold a chance of 0.99 or
        more to share a band, which is ``1 - (1 - threshold ** rows) ** bands`` (Leskovec, Rajaraman
        and Ullman, Mining of Massive Datasets, 3.4).
    """
    for rows in range(near.permutations, 1, -1):
        bands = near.permutations // rows
        if 1 - (1 - near.threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return near.permutations, 1


class Signatures:
    """MinHash signatures of prompts, in files.

    Args:
        folder: Where the files go.
        rows: Prompts that will come.
        near: Parameters.

    Raises:
        MissingExtraError: `rensa` is not installed.
    """

    def __init__(self, folder: Path, *, rows: int, near: Near) -> None:
        self._near = near
        self._bands, self._band_rows = bands_of(near)
        self._make = sketching()
        self._filled = 0
        self._signatures = _File(folder / "signatures", (rows, near.permutations), np.uint16)
        self._hashes = _File(folder / "bands", (self._bands, rows), np.uint64)
        self._signed = np.zeros(rows, bool)

    def fill(self, prompts: Iterable[Runs]) -> None:
        """Sign the prompts, in their order; one without runs of words gets no signature."""
        some: list[Runs] = []
        for runs in prompts:
            some.append(runs)
            if len(some) == _AT_ONCE:
                self._sign(some)
                some = []
        if some:
            self._sign(some)

    def groups(self) -> Groups:
        """Prompts that are near-duplicates, directly or through others."""
        groups = Groups(self._filled)
        signed = np.flatnonzero(self._signed)
        for band in range(self._bands):
            hashes = self._hashes.array[band, signed]
            # Those that share the next band as well come to lie side by side.
            beside = self._hashes.array[(band + 1) % self._bands, signed]
            order = np.lexsort((beside, hashes))
            rows, hashes = signed[order], hashes[order]
            for distance in range(1, _WINDOW + 1):
                same = np.flatnonzero(hashes[distance:] == hashes[:-distance])
                if not len(same):
                    break
                self._join(groups, rows[same], rows[same + distance])
            self._release()
        return groups

    def near(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether rows ``some[i]`` and ``others[i]`` are near-duplicates, by their signatures."""
        found = np.zeros(len(some), bool)
        for at in range(0, len(some), _COMPARED_AT_ONCE):
            part = slice(at, at + _COMPARED_AT_ONCE)
            one = self._signatures.array[some[part]]
            two = self._signatures.array[others[part]]
            found[part] = (one == two).mean(axis=1) >= self._near.threshold
        return found & self._signed[some] & self._signed[others]

    def _join(self, groups: Groups, some: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        roots = groups.roots()
        apart = roots[some] != roots[others]
        some, others = some[apart], others[apart]
        close = self.near(some, others)
        groups.join(some[close], others[close])

    def _sign(self, some: list[Runs]) -> None:
        start, end = self._filled, self._filled + len(some)
        offsets = np.cumsum([0, *map(len, some)]).astype(np.uint64)
        made = self._make(
            np.concatenate(some), offsets, self._near.permutations, self._near.seed
        ).to_rows()
        found = np.array(made, dtype=np.uint64)
        # 16 of 32 bits: a false agreement of one permutation in 65,536.
        self._signatures.array[start:end] = found.astype(np.uint16)
        self._signed[start:end] = [len(runs) > 0 for runs in some]
        for band in range(self._bands):
            part = found[:, band * self._band_rows : (band + 1) * self._band_rows]
            self._hashes.array[band, start:end] = _combined(part)
        self._filled = end
        if end % (_AT_ONCE * 32) == 0:
            self._release()

    def _release(self) -> None:
        self._signatures.release()
        self._hashes.release()


def repeats(
    groups: Groups,
    same: NDArray[np.uint64],
    words: NDArray[np.uint64],
    signatures: Signatures,
    *,
    exempt: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Rows that add nothing to an earlier one: near to it, with the same task and answer.

    Args:
        groups: Near-duplicates.
        same: Equal for rows of the same task and answer.
        words: Equal for rows of the same words, however they are near otherwise.
        signatures: For comparing.
        exempt: Rows that are never repeats.
    """
    repeated = np.zeros(len(same), bool)
    roots = groups.roots()
    order = np.lexsort((same, roots))  # stable: rows of a run are in their own order
    marks = np.stack([roots[order].astype(np.uint64), same[order]], axis=1)
    changes = np.r_[0, np.cumsum((marks[1:] != marks[:-1]).any(axis=1))]
    for start, end in grouped_runs(changes):
        kept: list[int] = []
        for row in order[start:end].tolist():
            others = np.array(kept[-_MOST_KEPT:], dtype=np.int64)
            if exempt[row]:
                kept.append(row)
            elif len(others) and (
                (words[others] == words[row]).any()
                or signatures.near(others, np.full(len(others), row)).any()
            ):
                repeated[row] = True
            else:
                kept.append(row)
    return repeated


def sketching() -> Any:
    """What makes signatures of flat arrays of runs.

    Raises:
        MissingExtraError: `rensa` is not installed.
    """
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtraError("rensa", extra="learn") from error
    return RMinHash.digest_matrix_from_flat_token_hashes


class _File:
    """An array that lies in a file."""

    def __init__(self, path: Path, shape: tuple[int, int], kind: type[Any]) -> None:
        size = max(1, shape[0] * shape[1] * np.dtype(kind).itemsize)
        with path.open("w+b") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                # A full disk is an error here; in the midst of the map it would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
            self._map = mmap.mmap(file.fileno(), size)
        flat = np.frombuffer(self._map, dtype=kind, count=shape[0] * shape[1])
        self.array: NDArray[Any] = flat.reshape(shape)

    def release(self) -> None:
        """Give back the memory of what was touched; the file keeps it."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _combined(parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One hash of the numbers of each row (multiply and add, then mix the high bits down)."""
    found = np.zeros(len(parts), np.uint64)
    for column in range(parts.shape[1]):
        found = (found ^ parts[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(32)
    return found
