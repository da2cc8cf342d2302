"""Results of chunks, added in the order of the plan whatever order they arrive in."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from coffea.processor.executor import WorkItem

from executors.ledger import ChunkRecord, FailureKind
from executors.reduction import GroupSum, Part, Reduction, add, cut
from executors.results.state import StateStore
from executors.retry import RetryPolicy
from executors.task import Accumulator, ChunkResult, ChunkTask, failed_record
from executors.uninterrupted import uninterrupted

__all__ = ["Collector", "Listener"]

WAITING = 32  # results kept in memory until those before them are there; chosen
PATIENCE = 5.0  # seconds that an interrupted run takes to read stored results; chosen
Content = Accumulator | Callable[[], Accumulator] | None


class Listener(Protocol):
    """Whoever wants to hear of each chunk as it ends, such as a progress bar."""

    def heard(self, record: ChunkRecord) -> None:
        """Take note of one chunk."""


class Collector:
    """Take results in any order; add them in the order that `reduction` fixes.

    Either results of chunks come one by one and are added here, or sums of groups that workers
    made. Memory is bounded where results are stored: of those that wait for an earlier chunk a
    few are kept, the others are read back when it is their turn.

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
        self.groups = cut(self.items)
        self.accumulator: Accumulator = {}
        self.store = store
        self.retry = retry or RetryPolicy(attempts=1)
        self.unstored: dict[str, int] = {}
        """Why results could not be stored, with the number of chunks."""
        self._listeners = [listener for listener in listeners if listener is not None]
        self._records: list[ChunkRecord | None] = [None] * len(self.items)
        self._ready: dict[int, Content] = {}
        self._handed_out = list(range(len(self.items)))
        self._group = 0
        self._reduction = Reduction()
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether every planned chunk has a record."""
        return None not in self._records

    @property
    def pending(self) -> list[int]:
        """Positions of the chunks without a record."""
        return [i for i, record in enumerate(self._records) if record is None]

    @property
    def group(self) -> int:
        """Number of the group that is added next."""
        return self._group

    def record(self, position: int) -> ChunkRecord | None:
        """What became of a chunk, None where that is not known yet."""
        return self._records[position]

    def task(self, work: Callable[[WorkItem], Any]) -> ChunkTask:
        """What a worker does with each chunk; ``work`` as for `ChunkTask`."""
        return ChunkTask(work, self.retry, self.store)

    def hand_out(self) -> list[WorkItem]:
        """Chunks without a record; the positions that `add` takes count these."""
        self._handed_out = self.pending
        return [self.items[i] for i in self._handed_out]

    def reuse(self, records: Mapping[int, ChunkRecord]) -> None:
        """Take chunks that an earlier run stored, by position in the plan."""
        for position in sorted(records):
            record = dataclasses.replace(records[position], reused=True)
            with uninterrupted():
                self._records[position] = record
                self._ready[position] = self._reader(position)
            self.tell(record)

    def add(self, position: int, result: ChunkResult) -> None:
        """Take the result of the chunk at ``position`` of the chunks that were handed out."""
        position = self._handed_out[position]
        self._count_unstored(result.unstored)
        early = position != self._next and len(self._ready) >= WAITING
        late = result.stored and early
        with uninterrupted():
            self._records[position] = result.record
            self._ready[position] = self._reader(position) if late else result.accumulator
        self.advance()
        self.tell(self._records[position] or result.record)

    def advance(self) -> None:
        """Add what is ready as far as nothing before it is missing."""
        while self._next in self._ready:
            with uninterrupted():
                self._merge(self._next)

    def add_group(self, summed: GroupSum) -> None:
        """Take the sum of the next group; its chunks were told of as they ended.

        To be called where nothing interrupts.
        """
        for position, record in summed.records.items():
            self._records[position] = record
        for reason in summed.unstored.values():
            self._count_unstored(reason)
        for position in self.groups[self._group]:
            self._ready.pop(position, None)
        self._next = self.groups[self._group].stop
        self._add_parts(summed.parts)

    def tell(self, record: ChunkRecord) -> None:
        """Tell the listeners of a chunk that ended."""
        for listener in self._listeners:
            listener.heard(record)

    def close(self, missing: BaseException | None = None) -> tuple[ChunkRecord, ...]:
        """Add what still waits and return one record per planned chunk.

        Chunks without a result are recorded as failed, for the reason ``missing``.
        """
        interrupted = isinstance(missing, KeyboardInterrupt)
        deadline = time.monotonic() + (PATIENCE if interrupted else math.inf)
        while self._next < len(self.items):
            with uninterrupted():
                if callable(self._ready.get(self._next)) and time.monotonic() > deadline:
                    del self._ready[self._next]  # it is stored: a resumed run reads it
                    self._records[self._next] = None
                self._merge(self._next)
        reason = missing or RuntimeError("the executor returned no result for this chunk")
        failure: FailureKind = "lost"
        if interrupted:
            reason, failure = KeyboardInterrupt("the run was stopped before"), "interrupted"
        return tuple(
            record or failed_record(item, reason, failure=failure)
            for item, record in zip(self.items, self._records, strict=True)
        )

    def read(self, position: int) -> Accumulator:
        """Stored result of a chunk; raises like `StateStore.read`."""
        if self.store is None:
            msg = "its result was not stored"
            raise FileNotFoundError(msg)
        return self.store.read(self.items[position])

    def recall(self, position: int) -> ChunkResult | None:
        """Result of a chunk that this run stored though nobody told of it, None otherwise."""
        stored = self.store.recall(self.items[position]) if self.store is not None else None
        return stored and ChunkResult(stored.record, stored.accumulator, stored=True)

    def _reader(self, position: int) -> Callable[[], Accumulator]:
        return lambda: self.read(position)

    def _count_unstored(self, reason: str) -> None:
        if reason:
            self.unstored[reason] = self.unstored.get(reason, 0) + 1

    def _merge(self, position: int) -> None:
        """Add the result of the next chunk, where there is one, and its group where that ends."""
        content = self._ready.pop(position, None)
        try:
            accumulator = content() if callable(content) else content
            if accumulator is not None:
                self._reduction.add(position, accumulator)
        except Exception as error:
            self._records[position] = failed_record(self.items[position], error)
        self._next = position + 1
        if self._next == self.groups[self._group].stop:
            parts, self._reduction = self._reduction.parts, Reduction()
            self._add_parts(parts)

    def _add_parts(self, parts: Sequence[Part]) -> None:
        """Add a group to the total; chunks whose sum does not fit become failed ones."""
        for part in parts:
            try:
                self.accumulator = add(self.accumulator, part.accumulator)
            except Exception as error:
                unfit = TypeError(f"its accumulator does not add to those before it: {error}")
                for position in part.positions:
                    self._records[position] = failed_record(self.items[position], unfit)
        self._group += 1
