"""What Dask workers say of chunks while they run."""

from __future__ import annotations

import pickle
import threading
from typing import Any, NamedTuple

from executors.ledger import ChunkRecord

__all__ = ["Notice", "begun_topic", "tell_soon", "unpack"]

PAUSE = 0.1  # seconds between two messages of a worker, on which a bar is drawn; chosen


class Notice(NamedTuple):
    """A chunk ended.

    ``read_back`` says that its result had been stored by this run before, ``kept`` that it is
    stored, or there is none: nothing is lost with the worker.
    """

    position: int
    record: ChunkRecord
    read_back: bool
    kept: bool


def begun_topic(run: str, worker: str) -> str:
    """Topic under which a worker says which chunks of a run it begins.

    The scheduler keeps what is said there. Nobody is sent it: it is asked for where a worker dies.
    """
    return f"{run}-begun-{worker}"


def tell_soon(worker: Any, topic: str, notice: Notice) -> None:
    """Say that a chunk ended, together with those that end in the next tenth of a second.

    A message of its own for each would cost as much as a small chunk. What a worker that dies has
    not said is found with the result, or the chunk runs again.
    """
    with _lock:
        waiting = _untold.setdefault((worker.address, topic), [])
        waiting.append(notice)
        first = len(waiting) == 1
    if first:
        worker.loop.add_callback(worker.loop.call_later, PAUSE, _tell, worker, topic)


def unpack(message: bytes) -> list[Notice]:
    """Notices of one message."""
    notices: list[Notice] = pickle.loads(message)
    return notices


_lock = threading.Lock()
_untold: dict[tuple[str, str], list[Notice]] = {}


def _tell(worker: Any, topic: str) -> None:
    with _lock:
        notices = _untold.pop((worker.address, topic))
    worker.log_event(topic, {"ended": pickle.dumps(notices)})
