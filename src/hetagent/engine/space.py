"""What a KV cache has to give: cells and sequence numbers, counted so that it never overflows."""

from __future__ import annotations

__all__ = ["Space"]


class Space:
    """Cells and sequences that are in use.

    Args:
        cells: Tokens the cache holds.
        sequences: Sequences it can tell apart.
    """

    def __init__(self, *, cells: int, sequences: int) -> None:
        self.cells = cells
        self.used = 0
        self.peak = 0
        # The lowest numbers first; taken from the end.
        self._free = list(range(sequences - 1, -1, -1))

    @property
    def free_cells(self) -> int:
        """Cells that are not in use."""
        return self.cells - self.used

    @property
    def free_sequences(self) -> int:
        """Sequences that are not in use."""
        return len(self._free)

    def take(self, cells: int) -> None:
        """Count cells as used; there must be as many."""
        self.used += cells
        if self.used > self.cells:
            raise RuntimeError(f"the KV cache is overcommitted: {self.used} of {self.cells}")
        self.peak = max(self.peak, self.used)

    def give(self, cells: int) -> None:
        """Count cells as free again."""
        self.used -= cells

    def take_sequences(self, count: int) -> list[int]:
        """Numbers of sequences nobody uses; there must be as many."""
        if not count:
            return []
        taken = self._free[-count:]
        del self._free[-count:]
        return taken

    def give_sequences(self, sequences: list[int]) -> None:
        """Hand sequences back, already dropped from the cache."""
        self._free += sequences
