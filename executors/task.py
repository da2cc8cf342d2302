"""What runs on a worker: one chunk in, one record with its accumulator out."""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import numbers
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import cloudpickle  # type: ignore[import-untyped]
from coffea.processor.executor import WorkItem

from executors.errors import ConfigurationError, first_line
from executors.failures import exception_chain, kind_of
from executors.inputs.remote import forget_connections
from executors.ledger import ChunkRecord, ErrorLink, FailureKind
from executors.redaction import redact
from executors.results.state import StateStore
from executors.retry import RetryPolicy

__all__ = [
    "LOST",
    "Accumulator",
    "ChunkResult",
    "ChunkTask",
    "PickledTask",
    "chunk_name",
    "failed_record",
    "run_pickled",
]

logger = logging.getLogger(__name__)
ONCE = RetryPolicy(attempts=1)

Accumulator = dict[str, Any]
LOST = "a worker process died: killed, out of memory, or crashed in C++ code"
MESSAGE = 2_000  # characters kept of an exception's message; chosen, awkward's can fill pages
_SECTIONS = {"hists": Mapping, "counters": Mapping, "outputs": list}
_EVENTS = {"events.read", "events.written"}


class ChunkResult(NamedTuple):
    """What a worker hands back; a failed chunk has no accumulator.

    ``stored`` says whether a state file holds the accumulator too, ``unstored`` why it should but
    does not.
    """

    record: ChunkRecord
    accumulator: Accumulator | None
    stored: bool = False
    unstored: str = ""


@dataclass(frozen=True)
class ChunkTask:
    """Process one chunk and never raise an ordinary exception.

    Failures that may pass (storage, network) are tried again after a wait.

    Arguments:
        work: Gives the accumulator of a chunk.
        retry: How often to try, how long to wait.
        store: Where finished results are kept, None for nowhere.
    """

    work: Callable[[WorkItem], Any]
    retry: RetryPolicy = ONCE
    store: StateStore | None = None

    def __call__(self, item: WorkItem, spent: int = 0) -> ChunkResult:
        """Process one chunk; failures come back as a record.

        Arguments:
            item: The chunk.
            spent: Attempts that ended with the death of their worker.
        """
        start = time.monotonic()
        key = chunk_name(item)
        attempt, recovered = spent + 1, LOST if spent else ""
        while True:
            try:
                accumulator = _checked(self.work(item), item.dataset)
                break
            except (Exception, SystemExit) as error:
                forget_connections(item.filename)
                seconds = time.monotonic() - start
                failed = failed_record(item, error, seconds=seconds, attempts=attempt)
            if failed.failure != "transient" or attempt >= self.retry.attempts:
                return ChunkResult(failed, None)
            logger.warning("%s: attempt %d failed (%s), trying again", key, attempt, failed.reason)
            self.retry.wait(key, attempt)
            attempt, recovered = attempt + 1, failed.reason
        seconds = time.monotonic() - start
        record = _record(item, seconds, attempts=attempt, recovered=recovered)
        if self.store is None:
            return ChunkResult(record, accumulator)
        problem = self.store.save(item, record, accumulator)
        return ChunkResult(record, accumulator, not problem, problem)

    def recall(self, item: WorkItem) -> ChunkResult | None:
        """Result of a chunk that this very run finished before, None where there is none.

        A scheduler repeats chunks whose results were in the memory of a worker that is gone.
        """
        found = self.store.recall(item) if self.store is not None else None
        return found and ChunkResult(found.record, found.accumulator, stored=True)


class PickledTask(NamedTuple):
    """A task as bytes: pickled once by the client, unpickled once by each worker process."""

    payload: bytes
    digest: str

    @classmethod
    def of(cls, task: Any) -> PickledTask:
        """Pickle a task, with classes of a user's own file by value.

        Raises: ConfigurationError where something in it cannot travel.
        """
        try:
            payload = cloudpickle.dumps(task)
        except Exception as error:
            msg = (
                f"the processor cannot be sent to workers ({type(error).__name__}: "
                f"{first_line(error)}); keep open files, locks and models out of its attributes"
            )
            raise ConfigurationError(msg) from error
        return cls(payload, hashlib.sha256(payload).hexdigest())

    def unpack(self) -> Any:
        """The task of this process, unpickled on first use and shared by all threads."""
        with _lock:
            if self.digest not in _unpacked:
                _unpacked.clear()  # a new run on an old worker: the earlier task is not needed
                _unpacked[self.digest] = cloudpickle.loads(self.payload)
            return _unpacked[self.digest]


_lock = threading.Lock()
_unpacked: dict[str, Any] = {}


def run_pickled(item: WorkItem, pickled: PickledTask, spent: int = 0) -> ChunkResult:
    """Unpack the task, if this process has not yet, and run it on one chunk."""
    try:
        task = pickled.unpack()
    except Exception as error:
        return ChunkResult(failed_record(item, error), None)
    result: ChunkResult = task(item, spent)
    return result


def _checked(accumulator: Any, dataset: str) -> Accumulator:
    """Check that a processor returned ``{dataset: {"hists", "counters", "outputs"}}``.

    Counters become a plain dict: sums of ``collections.Counter`` drop what is not positive. Those
    of a counter that is a dict itself, such as a cut flow, are named ``dict.key``.

    Raises: TypeError that says what was found.
    """
    if not isinstance(accumulator, Mapping) or list(accumulator) != [dataset]:
        found = (
            list(accumulator) if isinstance(accumulator, Mapping) else type(accumulator).__name__
        )
        msg = f"process() must return {{{dataset!r}: {{...}}}}, found {found}"
        raise TypeError(msg)
    content = accumulator[dataset]
    for name, kind in _SECTIONS.items():
        if not isinstance(content, Mapping) or not isinstance(content.get(name), kind):
            what = "a list of paths" if kind is list else "an object"
            msg = f"process() must return {name!r} as {what} below the name of the dataset"
            raise TypeError(msg)
    return {dataset: {**content, "counters": _numbers(content["counters"])}}


def _numbers(counters: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Counters by name.

    Raises: TypeError for what is no number, ValueError where two have one name, or there is no
        number of events.
    """
    found: dict[str, Any] = {}
    for key, value in counters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            further = _numbers(value, f"{name}.")
        elif isinstance(value, bool):
            further = {name: int(value)}
        elif isinstance(value, numbers.Real):
            further = {name: value}
        else:
            msg = (
                f"process() must return numbers as counters, {name!r} is {type(value).__name__}; "
                "anything else that adds may stand beside 'counters'"
            )
            raise TypeError(msg)
        if twice := found.keys() & further:
            msg = f"process() returned the counter {min(twice)!r} twice"
            raise ValueError(msg)
        found |= further
    for name in _EVENTS & found.keys():
        if not (math.isfinite(found[name]) and found[name] >= 0):
            msg = f"process() must count events in {name!r}, found {found[name]}"
            raise ValueError(msg)
    return found


def failed_record(
    item: WorkItem,
    error: BaseException,
    *,
    failure: FailureKind | None = None,
    seconds: float = 0.0,
    attempts: int = 1,
) -> ChunkRecord:
    """Record of a failed chunk: exception chain and what kind of failure it is."""
    chain = exception_chain(error)
    return _record(
        item,
        seconds,
        status="failed",
        errors=tuple(ErrorLink(type(link).__name__, redact(str(link)[:MESSAGE])) for link in chain),
        failure=failure or kind_of(error),
        attempts=attempts,
    )


def chunk_name(item: WorkItem) -> str:
    """Name of a chunk for messages and waits."""
    name = f"{item.dataset}: {item.filename} entries {item.entrystart}-{item.entrystop}"
    return redact(name)


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _record(item: WorkItem, seconds: float, **others: Any) -> ChunkRecord:
    return ChunkRecord(
        **{
            "dataset": item.dataset,
            "file": redact(item.filename),
            "uuid": str(UUID(bytes=item.fileuuid)),
            "tree": item.treename,
            "start": item.entrystart,
            "stop": item.entrystop,
            "status": "done",
            "host": _host(),
            "seconds": seconds,
            **others,
        }
    )
