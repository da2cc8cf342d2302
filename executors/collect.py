"""Results of chunks, merged in the order of the plan whatever order they arrive in."""

from __future__ import annotations

import dataclasses
import logging
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import hist
from coffea.processor import accumulate
from coffea.processor.executor import WorkItem

from executors.ledger import ChunkRecord, FailureKind
from executors.retry import RetryPolicy
from executors.state import StateStore
from executors.task import LOST, Accumulator, ChunkResult, ChunkTask, chunk_name, failed_record

__all__ = ["Collector", "Listener"]

logger = logging.getLogger(__name__)

WAITING = 32  # results kept in memory until those before them are there; chosen


class Listener(Protocol):
    """Whoever wants to hear of each chunk as it ends, such as a progress bar."""

    def heard(self, record: ChunkRecord) -> None:
        """Take note of one chunk."""


class Collector:
    """Take results in any order; merge each as soon as all before it in the plan are there.

    Adding floats is not associative: one fixed order makes weighted sums the same to the last bit
    on every executor. Memory is bounded where results are stored: of those that wait for an
    earlier chunk a few are kept, the others are read back when it is their turn.

    Arguments:
        items: Chunks in the order of the plan.
        listeners: Hear of each chunk as it ends.
        store: Where results are kept on disk, None for nowhere.
        retry: How often chunks are tried.
    """

    def __init__(
        self,
        items: Sequence[WorkItem],
        *listeners: Listener | None,
        store: StateStore | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.items = list(items)
        self.accumulator: Accumulator = {}
        self.store = store
        self.retry = retry or RetryPolicy(attempts=1)
        self.unstored: dict[str, int] = {}
        """Why results could not be stored, with the number of chunks."""
        self._listeners = [listener for listener in listeners if listener is not None]
        self._lost: dict[int, int] = {}
        self._last_round = True
        self._records: list[ChunkRecord | None] = [None] * len(self.items)
        self._ready: dict[int, Accumulator | Callable[[], Accumulator] | None] = {}
        self._running = list(range(len(self.items)))
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether every planned chunk has a record."""
        return None not in self._records

    def task(self, function: Callable[..., Any], processor: Any = None) -> ChunkTask:
        """What a worker does with each chunk; arguments as for `ChunkTask`."""
        return ChunkTask(function, processor, self.retry, self.store)

    def rounds(self) -> Iterator[list[WorkItem]]:
        """Hand out the chunks without a record; those that are lost without their fault, again.

        The positions that `add` takes count the chunks that were handed out last.
        """
        for number in range(1, self.retry.attempts + 1):
            self._running = [i for i, record in enumerate(self._records) if record is None]
            self._last_round = number == self.retry.attempts
            if self._running:
                yield [self.items[i] for i in self._running]

    def reuse(self, records: Mapping[int, ChunkRecord]) -> None:
        """Take chunks that an earlier run stored, by position in the plan."""
        for position in sorted(records):
            record = dataclasses.replace(records[position], reused=True)
            self._take(position, record, self._reader(position))

    def add(self, position: int, result: ChunkResult) -> None:
        """Take the result of the chunk at ``position`` of the chunks that were handed out."""
        position = self._running[position]
        record = result.record
        lost = self._lost.get(position, 0)
        attempts = record.attempts + lost
        if record.failure == "lost" and attempts < self.retry.attempts and not self._last_round:
            self._lost[position] = attempts
            logger.warning("%s: %s, trying again", chunk_name(self.items[position]), record.reason)
            return
        if lost:
            recovered = record.recovered or ("" if record.errors else LOST)
            record = dataclasses.replace(record, attempts=attempts, recovered=recovered)
        if result.unstored:
            self.unstored[result.unstored] = self.unstored.get(result.unstored, 0) + 1
        early = position != self._next and len(self._ready) >= WAITING
        content = self._reader(position) if result.stored and early else result.accumulator
        self._take(position, record, content)

    def close(self, missing: BaseException | None = None) -> tuple[ChunkRecord, ...]:
        """Merge what still waits and return one record per planned chunk.

        Chunks without a result are recorded as failed, for the reason ``missing``.
        """
        for position in sorted(self._ready):
            self._merge(position, self._ready.pop(position))
        reason = missing or RuntimeError("the executor returned no result for this chunk")
        failure: FailureKind = "lost"
        if isinstance(missing, KeyboardInterrupt):
            reason, failure = KeyboardInterrupt("the run was stopped before"), "interrupted"
        return tuple(
            record or failed_record(item, reason, failure=failure)
            for item, record in zip(self.items, self._records, strict=True)
        )

    def _take(
        self,
        position: int,
        record: ChunkRecord,
        content: Accumulator | Callable[[], Accumulator] | None,
    ) -> None:
        self._records[position] = record
        self._ready[position] = content
        while self._next in self._ready:
            self._merge(self._next, self._ready.pop(self._next))
            self._next += 1
        heard = self._records[position] or record
        for listener in self._listeners:
            listener.heard(heard)

    def _reader(self, position: int) -> Callable[[], Accumulator]:
        """Function that reads the stored result of a chunk."""

        def read() -> Accumulator:
            found = self.store.load(self.items[position]) if self.store else None
            if found is None:
                msg = "its stored result is gone"
                raise FileNotFoundError(msg)
            return found.accumulator

        return read

    def _merge(
        self, position: int, content: Accumulator | Callable[[], Accumulator] | None
    ) -> None:
        """Add one accumulator; one that does not fit turns its chunk into a failed one."""
        try:
            accumulator = content() if callable(content) else content
            if accumulator is not None:
                self.accumulator = _added(self.accumulator, accumulator)
        except Exception as error:
            unfit = TypeError(f"its accumulator does not add to those before it: {error}")
            reason = error if callable(content) and isinstance(error, OSError) else unfit
            self._records[position] = failed_record(self.items[position], reason)


def _added(total: Accumulator, one: Accumulator) -> Accumulator:
    """Sum of two accumulators; in place where nothing can go wrong half-way."""
    if _fits(total, one):
        merged: Accumulator = accumulate([one], total)
    else:
        # a pure sum: a failure half-way leaves what was merged before untouched
        merged = accumulate([total, one])
    return merged


def _fits(total: Any, one: Any) -> bool:
    """Whether ``total += one`` is sure to succeed."""
    if isinstance(total, numbers.Number) and isinstance(one, numbers.Number):
        return True
    if type(total) is not type(one):
        return False
    if isinstance(total, dict):
        return all(_fits(total[key], one[key]) for key in one if key in total)
    if isinstance(total, hist.Hist):
        # storage_type is a search over classes, 0.1 ms for each of hundreds of histograms
        return type(total._hist) is type(one._hist) and bool(total.axes == one.axes)
    return isinstance(total, list | set)
