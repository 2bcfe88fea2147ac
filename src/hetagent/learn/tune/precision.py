"""Which numbers to compute with: processors without bfloat16 instructions emulate it slowly."""

from __future__ import annotations

import time
from functools import cache

import torch

__all__ = ["fastest"]

_ROWS, _INNER, _COLUMNS = 512, 576, 1536
_TRIES = 5


@cache
def fastest() -> torch.dtype:
    """bfloat16 where this machine's processor multiplies in it faster than in float32.

    It is measured, which takes some hundredths of a second: on processors of one kind it may be
    sixteen times as fast, on those before them a quarter as fast.
    """
    return min((torch.bfloat16, torch.float32), key=_seconds)


def _seconds(dtype: torch.dtype) -> float:
    """The least time that a product of a usual size takes."""
    left = torch.ones(_ROWS, _INNER, dtype=dtype)
    right = torch.ones(_COLUMNS, _INNER, dtype=dtype)
    taken = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        torch.nn.functional.linear(left, right)
        taken.append(time.perf_counter() - began)
    return min(taken)
