"""Steps that a signal must not divide."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["STOPPING", "uninterrupted"]

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run in order: Ctrl-C, kill, the terminal is gone."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what would interrupt the body, handle it afterwards.

    Python calls handlers between any two instructions of the main thread: a result could be
    counted and not added, or added twice. Other threads are never interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.getsignal(number) for number in STOPPING}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handled:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for held_back in dict.fromkeys(held):
            signal.raise_signal(held_back)
