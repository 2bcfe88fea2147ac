"""Room for what waits to be recorded, shared by all calls."""

from __future__ import annotations

import threading

__all__ = ["Room"]


class Room:
    """A number of bytes that calls take some of, and give back; from any thread.

    Args:
        size: How many there are.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How many are left."""
        return self._left

    def take(self, size: int) -> bool:
        """Take some; whether there were so many."""
        with self._lock:
            fits = size <= self._left
            self._left -= size if fits else 0
        return fits

    def give(self, size: int) -> None:
        """Give some back."""
        with self._lock:
            self._left += size
