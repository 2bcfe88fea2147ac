"""mypy, as users run it on code that uses hetagent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["type_check"]


def type_check(*files: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check files strictly; what is in the cache, hetagent itself foremost, is not read again."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    # A skill's body is only a docstring: the model is the body.
    command += ["--disable-error-code=empty-body"]
    command += ["--follow-imports=silent", "--ignore-missing-imports", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
