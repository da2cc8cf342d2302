"""Results of chunks, merged in the order of the plan whatever order they arrive in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from coffea.processor import accumulate
from coffea.processor.executor import WorkItem

from executors.ledger import ChunkRecord, FailureKind
from executors.task import Accumulator, ChunkResult, failed_record

__all__ = ["Collector", "Listener"]


class Listener(Protocol):
    """Whoever wants to hear of each chunk as it ends, such as a progress bar."""

    def heard(self, record: ChunkRecord) -> None:
        """Take note of one chunk."""


class Silence:
    """A listener that does nothing."""

    def heard(self, record: ChunkRecord) -> None:
        """Ignore the chunk."""


class Collector:
    """Take results in any order; merge each as soon as all before it in the plan are there.

    Adding floats is not associative: one fixed order makes weighted sums the same to the last bit
    on every executor.
    """

    def __init__(self, items: Sequence[WorkItem], listener: Listener | None = None) -> None:
        self.items = list(items)
        self.accumulator: Accumulator = {}
        self._listener = listener or Silence()
        self._records: list[ChunkRecord | None] = [None] * len(self.items)
        self._waiting: dict[int, Accumulator | None] = {}
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether every planned chunk has a record."""
        return None not in self._records

    def add(self, position: int, result: ChunkResult) -> None:
        """Take the result of the chunk at ``position`` of the plan."""
        self._records[position] = result.record
        self._waiting[position] = result.accumulator
        while self._next in self._waiting:
            self._merge(self._next, self._waiting.pop(self._next))
            self._next += 1
        record = self._records[position]
        self._listener.heard(record if record is not None else result.record)

    def close(self, missing: BaseException | None = None) -> tuple[ChunkRecord, ...]:
        """Merge what still waits and return one record per planned chunk.

        Chunks without a result are recorded as failed, for the reason ``missing``.
        """
        for position in sorted(self._waiting):
            self._merge(position, self._waiting.pop(position))
        reason = missing or RuntimeError("the executor returned no result for this chunk")
        failure: FailureKind = "lost"
        if isinstance(missing, KeyboardInterrupt):
            reason, failure = KeyboardInterrupt("the run was stopped before"), "interrupted"
        return tuple(
            record or failed_record(item, reason, failure=failure)
            for item, record in zip(self.items, self._records, strict=True)
        )

    def _merge(self, position: int, accumulator: Accumulator | None) -> None:
        """Add one accumulator; one that does not fit turns its chunk into a failed one."""
        if accumulator is None:
            return
        try:
            # a pure sum: a failure half-way leaves what was merged before untouched
            self.accumulator = accumulate([self.accumulator, accumulator])
        except Exception as error:
            unfit = TypeError(f"its accumulator does not add to those before it: {error}")
            failed = failed_record(self.items[position], unfit)
            self._records[position] = failed
