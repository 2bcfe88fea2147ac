"""llama.cpp itself: loaded once, silent, with its last words kept for error messages."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections import deque
from functools import lru_cache
from typing import Any

from hetagent.errors import BackendError

__all__ = ["forget_words", "last_words", "llama_cpp", "version"]

_log = logging.getLogger("hetagent.llama_cpp")
_WARN, _ERROR, _CONTINUED = 3, 4, 5


class _Heard(threading.local):
    """What llama.cpp said in calls of one thread; another may load a model meanwhile."""

    def __init__(self) -> None:
        self.complaints: deque[str] = deque(maxlen=20)
        self.level = _WARN  # of the line under way


_heard = _Heard()


@lru_cache(maxsize=1)
def llama_cpp() -> Any:
    """The ``llama_cpp`` module, with its log going to the logger ``hetagent.llama_cpp``.

    Raises:
        BackendError: It is not installed, or its library cannot be loaded.
    """
    _spin_less()
    try:
        import llama_cpp as module
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as error:
        raise BackendError(
            f"llama-cpp-python cannot be loaded: {error}",
            hint="Install it again: pip install --force-reinstall --no-cache-dir llama-cpp-python; "
            "`hetagent doctor` says more.",
        ) from error
    module.llama_log_set(_callback(module), ctypes.c_void_p(0))
    module.llama_backend_init()
    return module


def _spin_less() -> None:
    """Let OpenMP's threads wait briefly before they sleep, where the user did not say how.

    By default they spin for so long that a second busy process on the same cores slows a call
    from tenths of a second to seconds; a short spin costs nothing on an idle machine
    (docs/performance.md). Read by libgomp once, as it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def version() -> str:
    """The installed version of llama-cpp-python, without loading it; empty where there is none."""
    from importlib import metadata

    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return ""


def last_words() -> str:
    """What llama.cpp last complained of to this thread, on one line; empty where it did not."""
    return " ".join(" ".join(_heard.complaints).split())


def forget_words() -> None:
    """Forget this thread's earlier complaints, so that `last_words` is about what comes next."""
    _heard.complaints.clear()


@lru_cache(maxsize=1)
def _callback(module: Any) -> Any:
    """The log callback; kept for ever, since llama.cpp keeps only its address."""

    @module.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
    def receive(level: int, text: bytes, _: Any) -> None:
        _heard.level = _heard.level if level == _CONTINUED else level
        line = text.decode("utf-8", errors="replace")
        if _heard.level == _ERROR:
            _heard.complaints.append(line)
        _log.debug("%s", line.rstrip())

    return receive
