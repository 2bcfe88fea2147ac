"""A progress bar for long work: on a terminal, on standard error, and only where it is long."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]


class Progress:
    """Counts finished rows, and shows them where somebody may look.

    Args:
        label: What is being done.
        total: How many rows there are.
        show: ``None``: only on a terminal.
    """

    def __init__(self, label: str, *, total: int, show: bool | None) -> None:
        self._label = label
        self._total = total
        wanted = sys.stderr.isatty() if show is None else show
        self._show = wanted and total > 1
        self._bar: Any = None
        self._task: Any = None
        self._escalated = 0
        self._refused = 0

    def __enter__(self) -> Self:
        if self._show:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[escalated]} escalated{task.fields[refused]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._total, escalated=0, refused="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, *, escalated: bool, refused: bool) -> None:
        """One more row is finished; whether an LLM was called for it, or the budget refused one."""
        self._escalated += escalated
        self._refused += refused
        if self._bar is not None:
            over = f", {self._refused} over the budget" if self._refused else ""
            self._bar.update(self._task, advance=1, escalated=self._escalated, refused=over)
