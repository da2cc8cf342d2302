"""A bar on a terminal, a line now and then elsewhere: how far something is, on standard error."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

__all__ = ["ConsoleBar"]

INTERVAL = 15.0  # seconds between lines where standard error is no terminal; chosen


class ConsoleBar:
    """Context manager that draws one task; what takes less than `INTERVAL` prints no line.

    Arguments:
        description: What is done.
        columns: Of the bar.
        console: Where to draw; standard error if None.
        transient: Whether the bar disappears in the end.
        fields: Of the task at first, as for ``rich.progress.Progress.add_task``.
    """

    def __init__(
        self,
        description: str,
        *columns: ProgressColumn,
        console: Console | None = None,
        transient: bool = False,
        **fields: Any,
    ) -> None:
        self.description = description
        self._console = console or Console(stderr=True)
        self._told = monotonic()
        self._bar = Progress(
            *columns,
            console=self._console,
            transient=transient,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, **fields)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def show(self, line: str, /, **fields: Any) -> None:
        """Move the bar; where there is none, say ``line`` if nothing was said for a while."""
        self._bar.update(self._task, **fields)
        now = monotonic()
        if not self._console.is_terminal and now - self._told >= INTERVAL:
            self._told = now
            self.say(f"{self.description}: {line}")
