"""What results depend on and no version number tells: this build, this processor, this file."""

from __future__ import annotations

import os
import platform
from importlib import util
from pathlib import Path
from typing import Any

from hetagent.engine.library import version

__all__ = ["build_identity", "cpu_identity", "file_identity"]


def build_identity() -> list[Any]:
    """The shared libraries' sizes and times: a rebuilt package of the same version differs."""
    named = os.environ.get("LLAMA_CPP_LIB_PATH")
    spec = None if named else util.find_spec("llama_cpp")
    folder = Path(named) if named else None
    if spec is not None and spec.origin:
        folder = Path(spec.origin).parent / "lib"
    if folder is None or not folder.is_dir():
        return [version()]
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [version(), *([f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files)]


def cpu_identity() -> str:
    """What this processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"


def file_identity(path: Path) -> list[Any]:
    """A file's place, size and time: cheap, and different once it is written anew."""
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
