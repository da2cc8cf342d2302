"""Progress of a run on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from executors.console_bar import ConsoleBar
from executors.ledger import ChunkRecord

__all__ = ["ConsoleProgress"]


class ConsoleProgress(ConsoleBar):
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
        super().__init__(
            description,
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            total=chunks,
            state="starting workers",
        )
        self._chunks = chunks
        self._done = self._failed = self._retried = self._reused = self._processed = 0
        self._started = time.monotonic()

    def heard(self, record: ChunkRecord) -> None:
        """Count one chunk and show where the run is."""
        self._done += record.status == "done"
        self._failed += record.status == "failed"
        self._reused += record.reused
        self._retried += record.attempts > 1 and not record.reused
        computed = record.status == "done" and not record.reused
        self._processed += record.events if computed else 0
        self.show(self.state, advance=1, state=self.state)

    @property
    def state(self) -> str:
        """Where the run is, in words."""
        rate = self._processed / max(time.monotonic() - self._started, 1e-3)
        chunks = f"{self._done + self._failed}/{self._chunks} chunks"
        counts = {"reused": self._reused, "failed": self._failed, "retried": self._retried}
        told = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
        return f"{chunks}{told}, {self._processed:,} events, {rate:,.0f} events/s"
