"""What runs on a worker: one chunk in, one record with its accumulator out."""

from __future__ import annotations

import hashlib
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
from executors.ledger import ChunkRecord, ErrorLink, FailureKind

__all__ = ["ChunkResult", "ChunkTask", "Shipment", "failed_record", "run_shipped"]

Accumulator = dict[str, Any]
MESSAGE = 2_000  # characters kept of an exception's message; chosen, awkward's can fill pages
_SECTIONS = {"hists": Mapping, "counters": Mapping, "outputs": list}
# coffea wraps what a processor raises into plain Exceptions that start with these words
_WRAPPERS = ("Failed processing file:", "Failed creating nanoevents:", "Failed to open file:")


class ChunkResult(NamedTuple):
    """What a worker hands back; a failed chunk has no accumulator."""

    record: ChunkRecord
    accumulator: Accumulator | None


@dataclass(frozen=True)
class ChunkTask:
    """Run coffea's work function on one chunk and never raise an ordinary exception.

    ``processor`` goes to the work function beside the item where coffea's Runner expects that
    (its Dask way), None where the function holds the processor itself.
    """

    function: Callable[[Any], Mapping[str, Any]]
    processor: Any = None

    def __call__(self, item: WorkItem) -> ChunkResult:
        """Process one chunk; failures come back as a record."""
        start = time.monotonic()
        try:
            argument = item if self.processor is None else (item, self.processor)
            accumulator = _checked(self.function(argument)["out"], item.dataset)
        except Exception as error:
            seconds = time.monotonic() - start
            return ChunkResult(failed_record(item, error, seconds=seconds), None)
        return ChunkResult(_record(item, time.monotonic() - start), accumulator)


class Shipment(NamedTuple):
    """A task as bytes: pickled once by the client, unpickled once by each worker process."""

    payload: bytes
    digest: str

    @classmethod
    def of(cls, task: Any) -> Shipment:
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


def run_shipped(item: WorkItem, shipment: Shipment) -> ChunkResult:
    """Unpack the task, if this process has not yet, and run it on one chunk."""
    try:
        task = shipment.unpack()
    except Exception as error:
        return ChunkResult(failed_record(item, error), None)
    result: ChunkResult = task(item)
    return result


def _checked(accumulator: Any, dataset: str) -> Accumulator:
    """Check that a processor returned ``{dataset: {"hists", "counters", "outputs"}}``.

    Counters become a plain dict: sums of ``collections.Counter`` drop what is not positive.

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
    return {dataset: {**content, "counters": dict(content["counters"])}}


def failed_record(
    item: WorkItem,
    error: BaseException,
    *,
    failure: FailureKind | None = None,
    seconds: float = 0.0,
) -> ChunkRecord:
    """Record of a failed chunk: exception chain and what kind of failure it is."""
    chain = _chain(error)
    return _record(
        item,
        seconds,
        status="failed",
        errors=tuple(ErrorLink(type(link).__name__, str(link)[:MESSAGE]) for link in chain),
        failure=failure or ("transient" if any(map(_is_transient, chain)) else "permanent"),
    )


def _record(item: WorkItem, seconds: float, **others: Any) -> ChunkRecord:
    return ChunkRecord(
        **{
            "dataset": item.dataset,
            "file": item.filename,
            "uuid": str(UUID(bytes=item.fileuuid)),
            "tree": item.treename,
            "start": item.entrystart,
            "stop": item.entrystop,
            "status": "done",
            "host": socket.gethostname(),
            "seconds": seconds,
            **others,
        }
    )


def _chain(error: BaseException) -> list[BaseException]:
    """Exceptions from the outermost to the one that started it, coffea's own wrappers left out."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    kept = [one for one in chain if not (type(one) is Exception and str(one).startswith(_WRAPPERS))]
    return kept or chain


def _is_transient(error: BaseException) -> bool:
    """Whether another attempt may help: input or output failed, though the file is there."""
    lasting = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
    return isinstance(error, OSError | EOFError) and not isinstance(error, lasting)
