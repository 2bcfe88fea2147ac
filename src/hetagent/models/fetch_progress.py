"""How far a download is, on standard error: a bar on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["DownloadProgress"]

_WORTH_A_LINE = 50_000_000
"""Downloads under this many bytes are not announced where there is no terminal."""

_POLL_SECONDS = 0.2


class DownloadProgress:
    """Shows the bytes of one download.

    Args:
        title: What is being fetched.
        total: Its size in bytes, where known.
        shown: ``True`` always shows something, ``False`` nothing, ``None`` a bar on a terminal
            and, for a big download, lines elsewhere.
    """

    def __init__(self, title: str, *, total: int | None = None, shown: bool | None = None) -> None:
        self._title = title
        self._total = total
        self._shown = shown
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._shown is not False and sys.stderr.isatty():
            self._bar, self._task = _make_bar(self._total)
            self._bar.console.print(self._title, markup=False, highlight=False)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, done: int) -> None:
        """Show that ``done`` bytes are here."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def expect(self, total: int | None) -> None:
        """Set the size in bytes, once it is known."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def say(self, text: str) -> None:
        """Tell what happens now, as the bar's label or as a line."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text)
        elif self._writes_lines():
            print(f"{self._title}: {text}", file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """While inside, take the size of the files under a folder as what is here.

        Works for whatever does the download, pip in a child process included.
        """
        if self._bar is None:
            yield
            return
        stop = threading.Event()

        def poll() -> None:
            while not stop.wait(_POLL_SECONDS):
                self.at(_size_under(folder))

        watcher = threading.Thread(target=poll, name="hetagent-progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _writes_lines(self) -> bool:
        if self._shown is None:
            return self._total is None or self._total >= _WORTH_A_LINE
        return self._shown


def _make_bar(total: int | None) -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    return bar, bar.add_task("starting", total=total)


def _size_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # moved away since it was listed
            continue
    return total
