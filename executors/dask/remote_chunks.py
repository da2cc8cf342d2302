"""Chunks on Dask workers: handed out, heard of, handed out again, their results fetched."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]
import distributed
from distributed.scheduler import KilledWorker

from executors.collect import Collector
from executors.dask.admission import Refusals, UnfitWorker
from executors.dask.attempts import Attempts
from executors.dask.group_tasks import run_chunk
from executors.dask.mailbox import Mailbox
from executors.dask.notices import Notice, begun_topic, unpack
from executors.ledger import ChunkRecord
from executors.reduction import GroupSum
from executors.task import ChunkResult, PickledTask, chunk_name, failed_record

if TYPE_CHECKING:
    from executors.htcondor.watch import JobWatch

__all__ = ["ANSWER", "RemoteChunks"]

logger = logging.getLogger(__name__)

ANSWER = 30.0  # seconds until a result that is there counts as not coming; chosen
DIED = "a worker died each time it ran this chunk: killed, out of memory, or crashed"


class RemoteChunks:
    """The chunks of one plan as tasks of a client.

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
        task: PickledTask,
        resources: dict[str, int] | None = None,
        watch: JobWatch | None = None,
    ) -> None:
        self.client, self.collector, self.watch = client, collector, watch
        self.name = f"flashbrew-{uuid.uuid4().hex}"
        """Of the run: part of the keys of its tasks, topic of what workers say of it."""
        self.mailbox = Mailbox(client, self.name, self._hear)
        # one future holds the task: workers fetch it from each other, and it is made again from
        # its bytes where the worker that held it is gone
        self.task = client.submit(_keep, task, key=f"task-{self.name}")
        self.pending = set(collector.pending)
        """Positions of the chunks that the plan had open at first."""
        self.futures: dict[int, distributed.Future] = {}
        self.lost: dict[int, ChunkRecord] = {}
        """Records of the chunks that no attempt brought to an end."""
        self.refusals = Refusals(self._workers)
        self._resources = resources
        self._attempts = Attempts()
        self._rounds = 0
        self._told: dict[int, ChunkRecord] = {}
        self._kept: set[int] = set()
        self._disconnected = False

    @property
    def gone(self) -> str | None:
        """Why no worker will come any more, None where they may."""
        if self.watch is not None and self.watch.problem is not None:
            return self.watch.problem
        if self.refusals.problem is not None:
            return self.refusals.problem
        if not self.disconnected:
            return None
        address = self.client.scheduler.address
        return f"the Dask scheduler at {address} is gone; --resume goes on from what is stored"

    @property
    def disconnected(self) -> bool:
        """Whether the scheduler was gone: a client that finds it again has lost all futures."""
        self._disconnected = self._disconnected or self.client.status != "running"
        return self._disconnected

    def submit(self, positions: Sequence[int]) -> None:
        """Hand out chunks, to workers that do not refuse them where some do."""
        self._rounds += 1
        futures = self.client.map(
            run_chunk,
            positions,
            [self.collector.items[position] for position in positions],
            pickled=self.task,
            topic=self.name,
            key=[f"chunk-{self.name}-{position}-{self._rounds}" for position in positions],
            pure=False,
            retries=0,
            resources=self._resources,
            **self.refusals.placement,
        )
        self.futures.update(zip(positions, futures, strict=True))

    def repeat(self, positions: Iterable[int]) -> None:
        """Hand those out again that are lost.

        A dead worker is blamed on each chunk that it had: in the last round they run one by one,
        so that only the guilty one stays lost. What a worker refused was no attempt.
        """
        attempts = self.collector.retry.attempts
        concerned = [position for position in positions if position in self.futures]
        self._wait(concerned)
        self._run(self._refused(concerned))
        for attempt in range(2, attempts + 1):
            lost = self._unfinished(concerned)
            for position in lost if self.gone is None else ():
                name = chunk_name(self.collector.items[position])
                logger.warning("%s: %s, trying again", name, self._reason(position))
            for together in [[p] for p in lost] if attempt == attempts else [lost]:
                self._run(together)
        for position in self._unfinished(concerned):
            if self.collector.recall(position) is None:
                item = self.collector.items[position]
                self.lost[position] = failed_record(item, self._reason(position), failure="lost")

    def fetch(self, position: int, deadline: float = math.inf) -> ChunkResult:
        """Result of a chunk, from its worker or as it was stored.

        Raises: whatever says why it is not to be had.
        """
        future = self.futures.get(position)
        if future is not None and future.status == "finished":
            try:
                patience = max(0.1, min(ANSWER, deadline - time.monotonic()))
                reply = future.result(patience)
                content = reply.content
                accumulator = None if content is None else cloudpickle.loads(content)
            except (Exception, CancelledError) as error:
                logger.debug("chunk %d did not come: %r", position, error)
            else:
                self._attempts.ended(position, reply.record, read_back=reply.read_back)
                return ChunkResult(reply.record, accumulator, unstored=reply.unstored)
        record = self._told.get(position) or self.collector.record(position)
        if record is None:
            # what a worker stored just before it, or the scheduler, was gone
            if (stored := self.collector.recall(position)) is not None:
                return stored
            raise RuntimeError(self.gone or "its result was with a worker that is gone")
        accumulator = self.collector.read(position) if record.status == "done" else None
        return ChunkResult(record, accumulator)

    def count(self, summed: GroupSum) -> GroupSum:
        """The sum of a group with the attempts of its chunks that were in vain.

        A sum may be here before what its workers say of the chunks.
        """
        for position, record in summed.records.items():
            if position not in self.lost:
                read_back = position in summed.read_back
                self._attempts.ended(position, record, read_back=read_back)
        records = {p: self._attempts.counted(p, one) for p, one in summed.records.items()}
        return summed._replace(records=records)

    def forget(self, position: int, record: ChunkRecord | None) -> None:
        """Forget a chunk that the collector has; tell of it where that was not done."""
        self.futures.pop(position, None)
        if record is not None and position not in self._told and position in self.pending:
            self.collector.tell(record)
        self._told.pop(position, None)
        self._kept.discard(position)
        self._attempts.forget(position)

    def _unfinished(self, positions: Iterable[int]) -> list[int]:
        """Those that neither a worker nor the store has."""
        found = [p for p in sorted(positions) if self.futures[p].status != "finished"]
        stored = self.collector.store is not None
        return [p for p in found if not (stored and p in self._kept)]

    def _run(self, positions: Sequence[int]) -> None:
        """Run chunks once, on workers that do not refuse them."""
        while positions and self.gone is None:
            self.submit(positions)
            self._wait(positions)
            positions = self._refused(positions)

    def _refused(self, positions: Iterable[int]) -> list[int]:
        """Those that a worker must not run."""
        return [p for p in self._unfinished(positions) if isinstance(self._reason(p), UnfitWorker)]

    def _wait(self, positions: Iterable[int]) -> None:
        self.mailbox.expect({position: self.futures[position] for position in positions})
        for _ in self.mailbox.ended():
            pass

    def _reason(self, position: int) -> BaseException:
        """Why a chunk has no result."""
        if (problem := self.gone) is not None:
            return RuntimeError(problem)
        future = self.futures[position]
        try:
            error = future.exception(ANSWER)
        except (Exception, CancelledError) as problem:
            error = problem
        if isinstance(error, KilledWorker):
            return RuntimeError(DIED)
        if isinstance(error, BaseException) and not isinstance(error, CancelledError):
            return error
        return RuntimeError(f"the task ended as {future.status!r} without a result")

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Take note of chunks that ended, of a worker that does not fit, or is gone."""
        if "ended" in message:
            for notice in unpack(message["ended"]):
                if self.collector.record(notice.position) is None:
                    self._note(notice)
        elif "refused" in message:
            self.refusals.heard(message["refused"], message["reason"])
        elif message.get("action") == "remove-worker":
            processing = self._positions(message["processing-tasks"])
            lost = self._positions(message["lost-computed-tasks"])
            begun = self._begun(message["worker"]) if processing else set()
            self._attempts.died(processing, begun, lost, self._threads() if processing else 1)

    def _note(self, notice: Notice) -> None:
        position, record = notice.position, notice.record
        news = position in self.pending and position not in self._told
        self._attempts.ended(position, record, read_back=notice.read_back)
        self._told[position] = record
        if notice.kept:
            self._kept.add(position)
        if news:
            self.collector.tell(self._attempts.counted(position, record))

    def _workers(self) -> dict[str, int]:
        """Threads of each worker that is there, by its address."""
        try:
            found: dict[str, int] = self.client.nthreads()
        except (OSError, TimeoutError, RuntimeError) as error:
            logger.debug("the scheduler does not say which workers there are: %r", error)
            return {}
        return found

    def _threads(self) -> int:
        """Chunks that a worker runs at a time, from those that are left."""
        return max(self._workers().values(), default=1)

    def _begun(self, worker: str) -> set[int]:
        """Positions of the chunks that a worker said it began; nobody listens until one dies."""
        try:
            events = self.client.get_events(begun_topic(self.name, worker))
        except (OSError, TimeoutError, RuntimeError) as error:
            logger.debug("the scheduler does not say what %s had begun: %r", worker, error)
            return set()
        return {message["began"] for _, message in events}

    def _positions(self, keys: Iterable[Any]) -> list[int]:
        """Positions of those keys that are of chunks of this run."""
        mine = f"chunk-{self.name}-"
        return [int(k.split("-")[-2]) for k in keys if isinstance(k, str) and k.startswith(mine)]


def _keep(task: PickledTask) -> PickledTask:
    return task
