"""Small operations in one pass over memory, compiled by PyTorch where that pays."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch

__all__ = ["compiler", "fused", "fusing"]

_log = logging.getLogger("hetagent.tune")
_on: ContextVar[bool] = ContextVar("hetagent_fusing", default=False)

F = TypeVar("F", bound=Callable[..., Any])


def fused(function: F) -> F:
    """A function of tensors that is compiled within `fusing`, and as it is elsewhere.

    What cannot be compiled here runs as it is, more slowly.
    """
    made: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        if not _on.get():
            return function(*arguments)
        if not made:
            made.append(torch.compile(function, dynamic=True))
        try:
            return made[0](*arguments)
        except Exception as error:
            if made[0] is function:
                raise
            # Compilers fail in many ways; what they were to make fast still works.
            _log.warning("Training is slower: PyTorch cannot compile here (%s).", error)
            made[0] = function
            return function(*arguments)

    return cast(F, run)


@contextmanager
def fusing(on: bool, /) -> Iterator[None]:
    """Compile what is `fused`, for a while; the first call of each takes some seconds."""
    token = _on.set(on)
    try:
        yield
    finally:
        _on.reset(token)


def compiler() -> str | None:
    """The C++ compiler that PyTorch would use; ``None`` where there is none."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, filter(None, (named, "g++", "clang++")))), None)
