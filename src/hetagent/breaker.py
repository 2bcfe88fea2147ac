"""A breaker for each LLM: one that is down is not asked again and again. Sans-IO.

Closed, calls go through. After some failures in a row it opens: for a while no call goes through,
and each ends at once with `ModelDownError`. Then one call is let through as a probe. It closes the
breaker again, or opens it for another while.

    closed ──failures in a row──▶ open ──pause──▶ probing ──answer──▶ closed
                                   ▲─────────────failure─────┘

A failure is one that says the model is down: it could not be reached, gave no answer in time, or
failed with what may be over later. A rate limit is none, for whoever asks to slow down is up; nor
is an answer that is not valid, or a request that was refused.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hetagent.errors import HetagentError, ModelError, RateLimitError, SkillError

__all__ = ["Breaker", "Circuit", "says_down"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an LLM is left alone, and for how long.

    Attributes:
        failures: Failures in a row after which it is.
        pause: Seconds until it is tried again.

    Raises:
        SkillError: One of them is out of range.
    """

    failures: int = 5
    pause: float = 10.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not self.pause > 0:
            raise SkillError(
                f"Breaker(failures={self.failures}, pause={self.pause}) is out of range.",
                hint="Give 1 or more failures and more than 0 seconds, or breaker=None for none.",
            )


class Circuit:
    """The breaker of one model; safe to use from several threads. Times are in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None  # when open: when a probe may go
        self._probing = False

    def seconds_left(self, now: float) -> float:
        """How long no call goes through; 0 where one may."""
        with self._lock:
            return self._left(now)

    def enter(self, now: float) -> bool:
        """Whether a call may begin now; one that does must be told the end of.

        It is to be told with `succeeded`, `failed` or `left`.
        """
        with self._lock:
            if self._open_until is None:
                return True
            if self._probing or self._left(now) > 0:
                return False
            self._probing = True
            return True

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failures, self._open_until, self._probing = 0, None, False

    def failed(self, now: float, breaker: Breaker) -> None:
        """A call failed, and the model seems to be down."""
        with self._lock:
            self._failures += 1
            if self._probing or self._open_until is None:
                self._probing = False
                if self._failures >= breaker.failures:
                    self._open_until = now + breaker.pause

    def left(self) -> None:
        """A call ended in a way that says nothing about the model."""
        with self._lock:
            self._probing = False

    def _left(self, now: float) -> float:
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)


def says_down(error: HetagentError | None) -> bool:
    """Whether an error says that the model is down."""
    return (
        isinstance(error, ModelError) and error.retryable and not isinstance(error, RateLimitError)
    )
