"""What a skill is switched to, and which binding serves a call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hetagent.registry.binding import Binding
from hetagent.registry.log import Mode

__all__ = ["State", "arm", "in_trial"]

_BITS = 53  # as many as a float between 0 and 1 has


@dataclass(frozen=True, slots=True)
class State:
    """What a skill is switched to.

    Attributes:
        skill: Name of the skill.
        live: The binding that serves it; ``None`` where only the LLM does.
        trial: The binding that is tried beside it.
        mode: ``"canary"`` or ``"shadow"`` where there is a trial; else ``"live"`` or ``"off"``.
        share: Of the calls that the trial takes part in; 1 without one.
        since: When it was switched so, in UTC, ISO 8601.
        why: The reason that was given.
    """

    skill: str
    live: Binding | None
    trial: Binding | None
    mode: Mode
    share: float
    since: str
    why: str


def in_trial(state: State, key: str) -> bool:
    """Whether a skill's trial takes part in a call: a canary serves it, a shadow answers it, too.

    The key alone decides, so that calls of one conversation stay on one side. Raising the share
    leaves those in that were in; another binding draws anew, and so does another skill.

    Args:
        state: What the skill is switched to.
        key: Of the conversation, or else of the trace.
    """
    if state.trial is None:
        return False
    text = f"{state.trial.id}\0{key}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.sha256(text).digest()[:8]) >> (64 - _BITS)
    return bool(drawn / 2**_BITS < state.share)


def arm(state: State, key: str) -> Binding | None:
    """The binding whose answer a caller gets; ``None`` where the LLM is asked.

    Args:
        state: What the skill is switched to.
        key: As for `in_trial`.
    """
    return state.trial if state.mode == "canary" and in_trial(state, key) else state.live
