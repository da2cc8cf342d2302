"""Chunks of a plan on Dask workers: each group is added where its results are.

A result stays with the worker that computed it. What comes to the client of every chunk is its
record, as an event, and of every group the sum.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]
import distributed
from distributed.scheduler import KilledWorker

from executors.attempts import Attempts
from executors.collect import Collector
from executors.group_tasks import add_group, run_chunk
from executors.ledger import ChunkRecord
from executors.mailbox import ENDED, Mailbox
from executors.reduction import GROUP, GroupSum, Reduction
from executors.task import ChunkResult, Shipment, chunk_name, failed_record

if TYPE_CHECKING:
    from executors.watch import JobWatch

__all__ = ["Dispatch"]

logger = logging.getLogger(__name__)

AHEAD = 4  # chunks handed out for each thread of the pool; chosen
LEAST_AHEAD, BLOCK = 64, 16  # groups handed out at least, at a time; chosen
PATIENCE = 3.0  # seconds that an interrupted run waits for what workers hold; chosen
ANSWER = 30.0  # seconds until a result that is there counts as not coming; chosen
DIED = "a worker died each time it ran this chunk: killed, out of memory, or crashed"


class Dispatch:
    """One plan on the workers of a client.

    Arguments:
        client: Client of a scheduler.
        collector: Chunks, and who takes what comes of them.
        task: What workers do with each chunk.
        resources: What a chunk asks of its worker.
        watch: Who looks after batch jobs, None where there are none.
    """

    def __init__(
        self,
        client: distributed.Client,
        collector: Collector,
        task: Shipment,
        resources: dict[str, int] | None = None,
        watch: JobWatch | None = None,
    ) -> None:
        self.client, self.collector, self.watch = client, collector, watch
        self._resources = resources
        self._name = f"flashbrew-{uuid.uuid4().hex}"
        self._mailbox = Mailbox(client, self._name, self._hear)
        # one future holds the task: workers fetch it from each other, and it is made again from
        # its bytes where the worker that held it is gone
        self._task = client.submit(_keep, task, key=f"task-{self._name}")
        self._pending = set(collector.pending)
        self._chunks: dict[int, distributed.Future] = {}
        self._sums: dict[int, distributed.Future] = {}
        self._open = list(range(len(collector.groups)))
        self._troubled: set[int] = set()
        self._attempts = Attempts()
        self._told: dict[int, ChunkRecord] = {}
        self._lost: dict[int, ChunkRecord] = {}
        self._disconnected = False

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
        if not (self._open and self._hopeful):
            return
        threads = sum(self.client.nthreads().values())
        most = max(LEAST_AHEAD, AHEAD * threads // GROUP)
        while self._open and self._mailbox.expected <= most - BLOCK and self._hopeful:
            block, self._open = self._open[:BLOCK], self._open[BLOCK:]
            self._hand_out(block)

    def _hand_out(self, numbers: Sequence[int]) -> None:
        """Hand out groups."""
        groups = [self.collector.groups[number] for number in numbers]
        computed = [[p for p in group if p in self._pending] for group in groups]
        self._submit([p for positions in computed for p in positions], 1)
        items = self.collector.items
        sums = self.client.map(
            add_group,
            computed,
            [[self._chunks[p] for p in positions] for positions in computed],
            [[(p, items[p]) for p in group if p not in self._pending] for group in groups],
            shipment=self._task,
            key=[f"sum-{self._name}-{number}" for number in numbers],
            pure=False,
            retries=0,
            priority=1,  # before further chunks: sums free memory
        )
        made = dict(zip(numbers, sums, strict=True))
        self._sums |= made
        self._mailbox.expect(made)

    def _submit(self, positions: Sequence[int], attempt: int) -> None:
        """Hand out chunks."""
        futures = self.client.map(
            run_chunk,
            positions,
            [self.collector.items[position] for position in positions],
            shipment=self._task,
            topic=self._name,
            key=[f"chunk-{self._name}-{position}-{attempt}" for position in positions],
            pure=False,
            retries=0,
            resources=self._resources,
        )
        self._chunks.update(zip(positions, futures, strict=True))

    def _work(self) -> None:
        """Add group after group; those of which a chunk is lost with its worker come last."""
        if self.watch is not None:
            self.watch.on_problem(self._cancel)
        self._fill()
        for number in self._mailbox.ended():
            if number in self._sums and self._sums[number].status != "finished":
                self._troubled.add(number)
            while self._is_ready(self.collector.group) and self._add(self.collector.group):
                pass
            self._fill()
        self._repeat()
        while (number := self.collector.group) < len(self.collector.groups):
            if number in self._troubled or number in self._open or not self._add(number):
                self._add_here(number)

    def _repeat(self) -> None:
        """Hand lost chunks out again.

        A dead worker is blamed on each chunk that it had: in the last round they run one by one,
        so that only the guilty one stays lost.
        """
        groups, attempts = self.collector.groups, self.collector.retry.attempts
        concerned = [p for number in self._troubled for p in groups[number] if p in self._chunks]
        self._wait(concerned)
        for attempt in range(2, attempts + 1):
            lost = self._unfinished(concerned)
            for position in lost if self._hopeful else ():
                name = chunk_name(self.collector.items[position])
                logger.warning("%s: %s, trying again", name, self._reason(position))
            for positions in [[p] for p in lost] if attempt == attempts else [lost]:
                if positions and self._hopeful:
                    self._submit(positions, attempt)
                    self._wait(positions)
        for position in self._unfinished(concerned):
            item = self.collector.items[position]
            record = failed_record(item, self._reason(position), failure="lost")
            self._lost[position] = record

    @property
    def _hopeful(self) -> bool:
        return self._gone is None

    @property
    def _gone(self) -> str | None:
        """Why no worker will come any more, None where they may."""
        if self.watch is not None and self.watch.problem is not None:
            return self.watch.problem
        # a client that finds its scheduler again has lost all futures meanwhile
        self._disconnected = self._disconnected or self.client.status != "running"
        if not self._disconnected:
            return None
        address = self.client.scheduler.address
        return f"the Dask scheduler at {address} is gone; --resume goes on from what is stored"

    def _unfinished(self, positions: Iterable[int]) -> list[int]:
        """Those that neither a worker nor the store has."""
        found = [p for p in sorted(positions) if self._chunks[p].status != "finished"]
        stored = self.collector.store is not None
        return [p for p in found if not (stored and p in self._told)]

    def _wait(self, positions: Iterable[int]) -> None:
        self._mailbox.expect({position: self._chunks[position] for position in positions})
        for _ in self._mailbox.ended():
            pass

    def _reason(self, position: int) -> BaseException:
        """Why a chunk has no result."""
        if (problem := self._gone) is not None:
            return RuntimeError(problem)
        future = self._chunks[position]
        try:
            error = future.exception(ANSWER)
        except (Exception, CancelledError) as problem:
            error = problem
        if isinstance(error, KilledWorker):
            return RuntimeError(DIED)
        if isinstance(error, BaseException) and not isinstance(error, CancelledError):
            return error
        return RuntimeError(f"the task ended as {future.status!r} without a result")

    def _is_ready(self, number: int) -> bool:
        future = self._sums.get(number)
        return future is not None and number not in self._troubled and future.status == "finished"

    def _add(self, number: int, patience: float = ANSWER) -> bool:
        """Fetch the sum of the group whose turn it is; tell whether that worked."""
        try:
            summed = cloudpickle.loads(self._sums[number].result(patience))
        except (Exception, CancelledError) as error:
            logger.debug("the sum of group %d did not come: %r", number, error)
            self._troubled.add(number)
            return False
        self._hand_over(number, summed)
        return True

    def _add_here(self, number: int, deadline: float = math.inf) -> None:
        """Add a group in this process, chunk by chunk: its sum failed, or one of its chunks did."""
        reduction, records, unstored = Reduction(), dict[int, ChunkRecord](), dict[int, str]()
        for position in self.collector.groups[number]:
            if position in self._lost:
                records[position] = self._lost[position]
                continue
            try:
                found = self._fetch(position, deadline)
                if position in self._pending:
                    records[position] = found.record
                    unstored[position] = found.unstored
                if found.accumulator is not None:
                    reduction.add(position, found.accumulator)
            except (Exception, CancelledError) as error:
                lost = position in self._pending
                if deadline == math.inf or not lost:
                    item = self.collector.items[position]
                    records[position] = failed_record(item, error, failure="lost" if lost else None)
        self._hand_over(number, GroupSum(records, reduction.parts, unstored))

    def _fetch(self, position: int, deadline: float) -> ChunkResult:
        """Result of a chunk, from its worker or as it was stored.

        Raises: whatever says why it is not to be had.
        """
        future = self._chunks.get(position)
        if future is not None and future.status == "finished":
            try:
                patience = max(0.1, min(ANSWER, deadline - time.monotonic()))
                record, content, unstored = future.result(patience)
                accumulator = None if content is None else cloudpickle.loads(content)
                return ChunkResult(record, accumulator, unstored=unstored)
            except (Exception, CancelledError) as error:
                logger.debug("chunk %d did not come: %r", position, error)
        record = self._told.get(position) or self.collector.record(position)
        if record is None:
            raise RuntimeError(self._gone or "its result was with a worker that is gone")
        accumulator = self.collector.read(position) if record.status == "done" else None
        return ChunkResult(record, accumulator)

    def _hand_over(self, number: int, summed: GroupSum) -> None:
        """Give the sum of a group to the collector, forget its chunks."""
        records = {p: self._attempts.counted(p, one) for p, one in summed.records.items()}
        self.collector.add_group(summed._replace(records=records))
        for position in self.collector.groups[number]:
            self._chunks.pop(position, None)
            if position in summed.records:
                self._tell(position, summed.records[position])
            self._told.pop(position, None)
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
        if self._disconnected:
            return
        futures = [*self._chunks.copy().values(), *self._sums.copy().values()]
        self.client.cancel([one for one in futures if one.status not in ENDED], force=True)

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Take note of a chunk that begins or ends, of a worker that is gone."""
        if "began" in message:
            self._attempts.began(message["began"], message["worker"])
        elif "ended" in message:
            position, record = message["ended"], pickle.loads(message["record"])
            self._attempts.ended(position, record, repeated=message["repeated"])
            self._tell(position, record)
        elif message.get("action") == "remove-worker":
            mine = filter(self._is_chunk, message["processing-tasks"])
            positions = [int(key.split("-")[-2]) for key in mine]
            self._attempts.died(message["worker"], positions)

    def _is_chunk(self, key: Any) -> bool:
        return isinstance(key, str) and key.startswith(f"chunk-{self._name}-")

    def _tell(self, position: int, record: ChunkRecord) -> None:
        """Tell of a chunk, once."""
        news = position in self._pending and position not in self._told
        self._told[position] = record
        if news:
            self.collector.tell(self._attempts.counted(position, record))


def _keep(task: Shipment) -> Shipment:
    return task
