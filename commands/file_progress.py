"""Progress of a look into many files, on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from executors.console_bar import ConsoleBar

__all__ = ["FileProgress"]


class FileProgress(ConsoleBar):
    """Shows how many files were looked at; on a terminal it disappears in the end.

    Arguments:
        description: What is done.
        console: Where to draw; standard error if None.
    """

    def __init__(self, description: str, console: Console | None = None) -> None:
        super().__init__(
            description,
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            total=None,
        )

    def heard(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` files were looked at."""
        self.show(f"{done:,} of {total:,}", completed=done, total=total)
