"""How often Dask ran each chunk: a scheduler repeats tasks of dead workers and tells nobody."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable

from executors.ledger import ChunkRecord
from executors.task import LOST

__all__ = ["Attempts"]


class Attempts:
    """Runs of chunks that led to nothing, from what workers and scheduler say of them."""

    def __init__(self) -> None:
        self._spent: Counter[int] = Counter()
        self._ended: dict[int, ChunkRecord | None] = {}
        """The last result of a chunk, None where it is only known that there was one."""

    def ended(self, position: int, record: ChunkRecord, *, read_back: bool) -> None:
        """There is a result of a chunk; it may be told more than once.

        Arguments:
            position: The chunk.
            record: Of the result; two runs of a chunk differ in their seconds.
            read_back: Whether the result had only to be read from where it was stored.
        """
        before = self._ended.get(position, record)
        if before != record and not read_back:
            self._spent[position] += 1 if before is None else before.attempts
        self._ended[position] = record

    def died(
        self,
        processing: Collection[int],
        begun: Collection[int],
        lost: Iterable[int] = (),
        threads: int = 1,
    ) -> None:
        """A worker is gone.

        Where it was gone before it could say which chunks it had begun, those count that it had to
        begin first: a worker runs chunks in the order of the plan.

        Arguments:
            processing: Chunks that it had to run.
            begun: Chunks that it had begun at any time.
            lost: Chunks whose results nobody else had; they run again or are read back.
            threads: Chunks that it ran at a time.
        """
        for position in lost:
            self._ended.setdefault(position, None)
        running = [position for position in processing if position in begun]
        waiting = sorted(one for one in processing if one not in self._ended)
        for position in running or waiting[:threads]:
            self._spent[position] += 1

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

    def forget(self, position: int) -> None:
        """Nothing more will be asked of a chunk."""
        self._ended.pop(position, None)
        self._spent.pop(position, None)
