"""Progress of a run on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from executors.ledger import ChunkRecord

__all__ = ["ConsoleProgress"]

INTERVAL = 15.0  # seconds between lines where standard error is no terminal; chosen


class ConsoleProgress:
    """Listener that shows events computed, events per second, failed and retried chunks.

    Arguments:
        events: Planned events.
        chunks: Planned chunks.
        description: What runs.
        console: Where to draw; standard error if None.
    """

    def __init__(
        self, events: int, chunks: int, description: str, console: Console | None = None
    ) -> None:
        self._console = console or Console(stderr=True)
        self._events, self._chunks = events, chunks
        self._done = self._failed = self._retried = self._reused = self._processed = 0
        self._started = self._told = time.monotonic()
        self._description = description
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=chunks, state="starting workers")

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def heard(self, record: ChunkRecord) -> None:
        """Count one chunk and show where the run is."""
        self._done += record.status == "done"
        self._failed += record.status == "failed"
        self._reused += record.reused
        self._retried += record.attempts > 1 and not record.reused
        computed = record.status == "done" and not record.reused
        self._processed += record.events if computed else 0
        self._bar.update(self._task, advance=1, state=self.state)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told >= INTERVAL:
            self._told = now
            self._console.print(f"{self._description}: {self.state}", highlight=False, markup=False)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    @property
    def state(self) -> str:
        """Where the run is, in words."""
        rate = self._processed / max(time.monotonic() - self._started, 1e-3)
        chunks = f"{self._done + self._failed}/{self._chunks} chunks"
        counts = {"reused": self._reused, "failed": self._failed, "retried": self._retried}
        told = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
        return f"{chunks}{told}, {self._processed:,} events, {rate:,.0f} events/s"
