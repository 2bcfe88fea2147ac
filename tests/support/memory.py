"""A store of records in memory, and what stands in for redaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from hetagent.learn.record import CallRecord

__all__ = ["MemoryStore", "unredacted"]


class MemoryStore:
    """Keeps records in a list; one whose id is there already is left out.

    Attributes:
        kept: The records.
    """

    def __init__(self) -> None:
        self.kept: list[CallRecord] = []
        self._ids: set[str] = set()
        self._changed = threading.Condition()

    def append(self, records: Sequence[CallRecord]) -> None:
        """Keep them."""
        with self._changed:
            for record in records:
                if record.id not in self._ids:
                    self._ids.add(record.id)
                    self.kept.append(record)
            self._changed.notify_all()

    def wait_for(self, count: int, *, timeout: float = 30.0) -> list[CallRecord]:
        """The records, once there are so many."""
        end = time.monotonic() + timeout
        enough: Callable[[], bool] = lambda: len(self.kept) >= count  # noqa: E731
        with self._changed:
            assert self._changed.wait_for(enough, max(0.0, end - time.monotonic())), self.kept
        return self.kept


def unredacted(record: CallRecord) -> CallRecord:
    """The record as it is."""
    return record
