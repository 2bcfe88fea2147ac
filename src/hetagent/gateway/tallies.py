"""What became of the calls of a converted workload, counted; and what that saved."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

__all__ = ["Tally"]


class Tally:
    """Counts of one skill, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slm = self._shadowed = 0
        self._llm: Counter[str] = Counter()
        self._saved: float | None = None

    def answered(self, *, saved: float | None) -> None:
        """The small model answered a call.

        Args:
            saved: What the LLM would have cost, in US dollars; ``None`` where that is not known.
        """
        with self._lock:
            self._slm += 1
            if saved is not None:
                self._saved = (self._saved or 0.0) + saved

    def went_on(self, reason: str) -> None:
        """A call went on to the LLM, for this reason."""
        with self._lock:
            self._llm[reason] += 1

    def shadowed(self) -> None:
        """A binding in shadow was given an answer to compare with."""
        with self._lock:
            self._shadowed += 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON data.

        Returns:
            Calls that the ``slm`` answered, and those that went on to the ``llm``, with the
            ``reasons``; how many were ``shadowed``; and ``saved_usd``, about, which is ``None``
            where it is known of no call.
        """
        with self._lock:
            return {
                "slm": self._slm,
                "llm": self._llm.total(),
                "reasons": dict(self._llm),
                "shadowed": self._shadowed,
                "saved_usd": self._saved,
            }
