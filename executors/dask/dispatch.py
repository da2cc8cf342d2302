"""A plan on Dask workers: each group of chunks is added where its results are.

A result stays with the worker that computed it. What comes to the client of every chunk is its
record, as an event, and of every group the sum.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import cloudpickle  # type: ignore[import-untyped]
import distributed

from executors.collect import Collector
from executors.dask.group_tasks import add_group
from executors.dask.mailbox import ENDED
from executors.dask.remote_chunks import ANSWER, RemoteChunks
from executors.failures import kind_of
from executors.ledger import ChunkRecord
from executors.reduction import GROUP, GroupSum, Reduction
from executors.task import PickledTask, failed_record
from executors.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from executors.htcondor.watch import JobWatch

__all__ = ["Dispatch"]

logger = logging.getLogger(__name__)

AHEAD = 4  # chunks handed out for each thread of the pool; chosen
LEAST_AHEAD, BLOCK = 64, 16  # groups handed out at least, at a time; chosen
PATIENCE = 3.0  # seconds that an interrupted run waits for what workers hold; chosen


class Dispatch:
    """One plan on the workers of a client; arguments as for `RemoteChunks`."""

    def __init__(
        self,
        client: distributed.Client,
        collector: Collector,
        task: PickledTask,
        resources: dict[str, int] | None = None,
        watch: JobWatch | None = None,
    ) -> None:
        self.client, self.collector, self.watch = client, collector, watch
        self._chunks = RemoteChunks(client, collector, task, resources, watch)
        self._mailbox = self._chunks.mailbox
        self._sums: dict[int, distributed.Future] = {}
        self._open = list(range(len(collector.groups)))
        self._incomplete: set[int] = set()

    def run(self) -> None:
        """Work until every group has been added to the collector's total."""
        try:
            with self._mailbox.open():
                self._work()
        except KeyboardInterrupt:
            self._cancel()
            self._rescue(time.monotonic() + PATIENCE)
            raise
        finally:
            self._cancel()

    def _fill(self) -> None:
        """Hand out chunks in the order of the plan, sums for when they can be made.

        There are always enough for all workers, never all: memory of the client, where the
        scheduler may be too, does not grow with the plan.
        """
        if not (self._open and self._can_continue):
            return
        threads = sum(self.client.nthreads().values())
        most = max(LEAST_AHEAD, AHEAD * threads // GROUP)
        while self._open and self._mailbox.expected <= most - BLOCK and self._can_continue:
            block, self._open = self._open[:BLOCK], self._open[BLOCK:]
            self._hand_out(block)

    def _hand_out(self, numbers: Sequence[int]) -> None:
        """Hand out groups."""
        groups, pending = (
            [self.collector.groups[number] for number in numbers],
            self._chunks.pending,
        )
        computed = [[p for p in group if p in pending] for group in groups]
        self._chunks.submit([p for positions in computed for p in positions])
        items, futures = self.collector.items, self._chunks.futures
        sums = self.client.map(
            add_group,
            computed,
            [[futures[p] for p in positions] for positions in computed],
            [[(p, items[p]) for p in group if p not in pending] for group in groups],
            pickled=self._chunks.task,
            topic=self._chunks.name,
            key=[f"sum-{self._chunks.name}-{number}" for number in numbers],
            pure=False,
            retries=0,
            priority=1,  # before further chunks: sums free memory
            **self._chunks.refusals.placement,
        )
        made = dict(zip(numbers, sums, strict=True))
        self._sums |= made
        self._mailbox.expect(made)

    def _work(self) -> None:
        """Add group after group; those of which a chunk is lost with its worker come last."""
        if self.watch is not None:
            self.watch.on_problem(self._cancel)
        self._chunks.refusals.on_problem(self._cancel)
        self._fill()
        for number in self._mailbox.ended():
            if number in self._sums and self._sums[number].status != "finished":
                self._incomplete.add(number)
            while self._is_ready(self.collector.group) and self._add(self.collector.group):
                pass
            self._fill()
        groups = self.collector.groups
        self._chunks.repeat(p for number in self._incomplete for p in groups[number])
        while (number := self.collector.group) < len(groups):
            if number in self._incomplete or number in self._open or not self._add(number):
                self._add_here(number)

    @property
    def _can_continue(self) -> bool:
        return self._chunks.gone is None

    def _is_ready(self, number: int) -> bool:
        future = self._sums.get(number)
        return future is not None and number not in self._incomplete and future.status == "finished"

    def _add(self, number: int, patience: float = ANSWER) -> bool:
        """Fetch the sum of the group whose turn it is; tell whether that worked."""
        try:
            summed = cloudpickle.loads(self._sums[number].result(patience))
        except (Exception, CancelledError) as error:
            logger.debug("the sum of group %d did not come: %r", number, error)
            self._incomplete.add(number)
            return False
        self._hand_over(number, summed)
        return True

    def _add_here(self, number: int, deadline: float = math.inf) -> None:
        """Add a group in this process, chunk by chunk: its sum failed, or one of its chunks did."""
        reduction, records, unstored = Reduction(), dict[int, ChunkRecord](), dict[int, str]()
        lost, pending = self._chunks.lost, self._chunks.pending
        for position in self.collector.groups[number]:
            if position in lost:
                records[position] = lost[position]
                continue
            try:
                found = self._chunks.fetch(position, deadline)
                if position in pending:
                    records[position] = found.record
                    unstored[position] = found.unstored
                if found.accumulator is not None:
                    reduction.add(position, found.accumulator)
            except (Exception, CancelledError) as error:
                if deadline == math.inf or position not in pending:
                    failure = "lost" if position in pending else kind_of(error)
                    item = self.collector.items[position]
                    lost[position] = failed_record(item, error, failure=failure)
                    records[position] = lost[position]
        self._hand_over(number, GroupSum(records, reduction.parts, unstored))

    def _hand_over(self, number: int, summed: GroupSum) -> None:
        """Give the sum of a group to the collector, forget its chunks."""
        with uninterrupted():
            counted = self._chunks.count(summed)
            self.collector.add_group(counted)
            for position in self.collector.groups[number]:
                self._chunks.forget(position, counted.records.get(position))
            self._sums.pop(number, None)

    def _rescue(self, deadline: float) -> None:
        """Add what is done of a run that was interrupted, as far as there is time."""
        for number in range(self.collector.group, len(self.collector.groups)):
            left = deadline - time.monotonic()
            if left < 0:
                return
            if not (self._is_ready(number) and self._add(number, left)):
                self._add_here(number, deadline)

    def _cancel(self) -> None:
        """Give up what has not ended."""
        if self._chunks.disconnected:
            return
        futures = [*self._chunks.futures.copy().values(), *self._sums.copy().values()]
        self.client.cancel([one for one in futures if one.status not in ENDED], force=True)
