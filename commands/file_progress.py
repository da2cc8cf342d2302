"""Progress of a look into many files, on standard error."""

from __future__ import annotations

from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["FileProgress"]

INTERVAL = 15.0  # seconds between lines where standard error is no terminal; chosen


class FileProgress:
    """Context manager that shows how many files were looked at.

    A terminal gets a bar that disappears in the end, anything else a line now and then; what
    takes less than that says nothing there.

    Arguments:
        description: What is done.
        console: Where to draw; standard error if None.
    """

    def __init__(self, description: str, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._description = description
        self._told = monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=None)

    def __enter__(self) -> FileProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def heard(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` files were looked at."""
        self._bar.update(self._task, completed=done, total=total)
        now = monotonic()
        if not self._console.is_terminal and now - self._told >= INTERVAL:
            self._told = now
            text = f"{self._description}: {done:,} of {total:,}"
            self._console.print(text, highlight=False, markup=False)
