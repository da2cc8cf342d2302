"""How often Dask ran each chunk: a scheduler repeats tasks of dead workers and tells nobody."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection

from executors.ledger import ChunkRecord
from executors.task import LOST

__all__ = ["Attempts"]


class Attempts:
    """Runs of chunks that led to nothing, from what workers and scheduler say of them."""

    def __init__(self) -> None:
        self._spent: Counter[int] = Counter()
        self._running: dict[int, str] = {}
        self._finished: dict[int, int] = {}

    def began(self, position: int, worker: str) -> None:
        """A worker begins with a chunk."""
        self._running[position] = worker

    def ended(self, position: int, record: ChunkRecord, *, repeated: bool) -> None:
        """A worker has the result of a chunk; ``repeated``: it had only to be read back."""
        self._running.pop(position, None)
        if not repeated:
            self._spent[position] += self._finished.get(position, 0)
            self._finished[position] = record.attempts

    def died(self, worker: str, positions: Collection[int]) -> None:
        """A worker is gone that had chunks at ``positions``, begun or not.

        Where it was gone before it could say which it had begun, all of them count.
        """
        open_ones = [p for p in positions if p not in self._finished or p in self._running]
        begun = [p for p in open_ones if self._running.get(p) == worker]
        for position in begun or open_ones:
            self._spent[position] += 1
            self._running.pop(position, None)

    def counted(self, position: int, record: ChunkRecord) -> ChunkRecord:
        """Record of a chunk with the attempts that were in vain."""
        spent = self._spent[position]
        if not spent:
            return record
        if record.failure == "lost":
            return dataclasses.replace(record, attempts=max(record.attempts, spent))
        recovered = record.recovered or ("" if record.errors else LOST)
        attempts = record.attempts + spent
        return dataclasses.replace(record, attempts=attempts, recovered=recovered)
