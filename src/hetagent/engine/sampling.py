"""The softmax under a mask: which token is best, how probable it is, and what the mask cut off."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hetagent.engine.tries import Logits

__all__ = ["Mask", "Pick", "is_only", "pick"]

Mask = npt.NDArray[np.bool_]

# Below this share of the most probable token, 32-bit sums of what is allowed lose their digits.
_FAINT = 1e-12


class Pick:
    """The best token that a mask allows.

    Attributes:
        token: Its id.
        logprob: Natural logarithm of its probability among the allowed tokens.
        outside: Unconstrained probability of the tokens that are not allowed, in [0, 1].
    """

    __slots__ = ("logprob", "outside", "token")

    def __init__(self, token: int, logprob: float, outside: float) -> None:
        self.token = token
        self.logprob = logprob
        self.outside = outside


def pick(logits: Logits, mask: Mask) -> Pick:
    """Choose the most probable of the allowed tokens.

    Args:
        logits: Shape ``[vocabulary]``.
        mask: Which tokens are allowed, shape ``[vocabulary]``, at least one.
    """
    top = logits.max()
    weights = np.exp(logits - top)
    total = float(weights.sum(dtype=np.float64))
    weights *= mask
    kept = float(weights.sum(dtype=np.float64))
    if kept < _FAINT:
        return _pick_faint(logits, mask, top=float(top), total=total)
    best = int(weights.argmax())
    logprob = float(logits[best]) - float(top) - math.log(kept)
    return Pick(best, min(0.0, logprob), min(1.0, max(0.0, 1.0 - kept / total)))


def is_only(mask: Mask, token: int) -> bool:
    """Whether a mask allows this token and no other."""
    return bool(mask[token]) and int(mask.sum()) == 1


def _pick_faint(logits: Logits, mask: Mask, *, top: float, total: float) -> Pick:
    """The same where nearly all probability is on forbidden tokens."""
    ids = np.flatnonzero(mask)
    values = logits[ids].astype(np.float64)
    best = int(values.argmax())
    mass = float(values[best]) + math.log(float(np.exp(values - values[best]).sum()))
    outside = -math.expm1(min(0.0, mass - top - math.log(total)))
    return Pick(int(ids[best]), float(values[best]) - mass, min(1.0, max(0.0, outside)))
