"""Where hetagent keeps what it fetched or measured: one folder, named by ``HETAGENT_CACHE``."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """The folder of weights and remembered checks; it is made where it does not exist.

    The environment variable ``HETAGENT_CACHE`` names another one than the platform's own.
    """
    named = os.environ.get("HETAGENT_CACHE")
    if named:
        folder = Path(named).expanduser()
    else:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("hetagent", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
