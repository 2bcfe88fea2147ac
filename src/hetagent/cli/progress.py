"""Progress of commands that take a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["told_progress", "told_stages"]


@contextmanager
def told_progress(
    words: str, total: int | None, *, quiet: bool
) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal; nothing where nobody would see it."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def told_stages(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """The stage, what is done of it and for how long, on a terminal; else nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening", total=None)

        def tell(stage: str, done: int, total: int | None) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        yield tell
