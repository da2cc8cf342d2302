"""What a Dask client hears while a plan is carried out, in one queue."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import distributed

__all__ = ["Mailbox"]

ENDED = ("finished", "error", "cancelled")
"""States of futures that will not change by themselves."""


class Mailbox:
    """Events of workers and of the scheduler, and futures that ended, in the order they come.

    Arguments:
        client: Client of the scheduler.
        topic: Under which workers speak.
        hear: Takes what they say, and what the scheduler says of workers that are gone; it is
            called by whoever waits for futures.
    """

    def __init__(
        self, client: distributed.Client, topic: str, hear: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self.client, self.topic, self._hear = client, topic, hear
        self._messages: queue.SimpleQueue[Mapping[str, Any] | int] = queue.SimpleQueue()
        self._left: dict[int, distributed.Future] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen."""
        topics = (self.topic, "all")
        for topic in topics:
            self.client.subscribe_topic(topic, lambda event: self._messages.put(event[1]))
        try:
            yield
        finally:
            for topic in topics:
                self.client.unsubscribe_topic(topic)

    def expect(self, futures: Mapping[int, distributed.Future]) -> None:
        """Wait for futures, too."""
        self._left |= futures
        for number, future in futures.items():
            self._report(number, future)

    @property
    def expected(self) -> int:
        """Number of futures that are waited for."""
        return len(self._left)

    def ended(self) -> Iterator[int]:
        """Numbers of futures as they end, each once; what was heard before is handled before."""
        while self._left:
            message = self._messages.get()
            if not isinstance(message, int):
                self._hear(message)
            elif message in self._left:
                future = self._left[message]
                if future.status in ENDED:
                    del self._left[message], future
                    yield message
                else:  # it was there and is lost: its worker died just now
                    self._report(message, future)

    def _report(self, number: int, future: distributed.Future) -> None:
        future.add_done_callback(lambda _: self._messages.put(number))
