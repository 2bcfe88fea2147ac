"""How often a model tried within one call: known outside of it while the call goes on.

Of a call that is given up, in the middle, nothing comes back. What it may have cost is then counted
by its tries, each of which may be billed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Tries", "counted", "current_tries"]


@dataclass(slots=True)
class Tries:
    """Those of one call.

    Attributes:
        begun: How many began; a model that never tries again need not count them.
    """

    begun: int = 0


# Of the call that this task makes.
current_tries: ContextVar[Tries | None] = ContextVar("hetagent_tries", default=None)


@contextmanager
def counted(tries: Tries) -> Iterator[None]:
    """Have the call that is made inside count its tries there."""
    token = current_tries.set(tries)
    try:
        yield
    finally:
        current_tries.reset(token)
