"""Ctrl-C, SIGTERM, a terminal that is gone: the first ends a run in order, the second at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from executors.uninterrupted import STOPPING

__all__ = ["Interrupts"]

INTERRUPTED = 130
TOGETHER = (
    0.5  # seconds in which signals count as one: `timeout` repeats what its child got; chosen
)
AT_ONCE = (
    "flashbrew: ended at once by a second interrupt; what was stored is kept: the same command "
    "with --resume goes on\n"
)
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Interrupts:
    """What a run does when it is told to stop.

    The first signal raises KeyboardInterrupt in the main thread. A second one ends this process
    and those that it started, with exit status 130: whatever still waits for workers, or writes
    about them, is not asked.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._terminals: list[int] = []
        self._last_words: list[Callable[[], object]] = []

    def at_once(self, action: Callable[[], object]) -> None:
        """Have something done before the process ends at once; it must be quick."""
        self._last_words.append(action)

    @contextmanager
    def handled(self) -> Iterator[Interrupts]:
        """Handle signals; after one has come also later, while the interpreter ends."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in STOPPING}
        for number in (signal.SIGINT, signal.SIGHUP):
            if before[number] is signal.SIG_IGN:  # a shell in the background, or nohup
                del before[number]
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]
        atexit.register(_ignore, *before)  # before others are: it runs after them
        for number in before:
            signal.signal(number, self._stop)
        try:
            yield self
        finally:
            if self._first is None:
                atexit.unregister(_ignore)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGHUP:
            self._silence()
        if self._first is None:
            self._first = now
            raise KeyboardInterrupt
        if now - self._first > TOGETHER:
            self._end()

    def _silence(self) -> None:
        """Lead what is written to a terminal that is gone nowhere: it would raise."""
        for stream in self._terminals:
            if not os.isatty(stream):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)

    def _end(self) -> None:
        """End without a look back."""
        for action in (_end_children, *self._last_words, _say):
            with suppress(Exception):
                action()
        os._exit(INTERRUPTED)


def _ignore(*numbers: signal.Signals) -> None:
    """Let an interpreter end: it takes its handlers away, and a signal would kill it by its own."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _end_children() -> None:
    """Kill the worker processes, which ignore Ctrl-C and would finish their chunks."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def _say() -> None:
    """Say what happened; files of Python may be in the middle of something."""
    os.write(2, (_SHOW_CURSOR * sys.stderr.isatty() + AT_ONCE).encode())
    sys.stdout.flush()
