"""Executors of one machine: this process, or a pool of processes."""

from __future__ import annotations

import collections
import concurrent.futures
import heapq
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker

import loky
from coffea.processor.executor import WorkItem

from executors.collect import Collector
from executors.task import LOST, ChunkResult, PickledTask, chunk_name, failed_record, run_pickled
from executors.work import ChunkWork

__all__ = ["ProcessExecutor", "SerialExecutor"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SerialExecutor:
    """Chunks one after another in this process, results into ``collector``."""

    collector: Collector

    def run(self, work: ChunkWork) -> None:
        """Process every chunk; what fails is recorded."""
        task = self.collector.task(work)
        try:
            for position, item in enumerate(self.collector.hand_out()):
                self.collector.add(position, task(item))
        finally:
            work.end()


@dataclass(frozen=True)
class ProcessExecutor:
    """Chunks in processes, each with its own ``environment``; the task travels once to each.

    Every process is a pool of its own: the death of one is known to concern the chunk it had, no
    other. That chunk is tried again by a new process.
    """

    collector: Collector
    workers: int
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, work: ChunkWork) -> None:
        """Process every chunk; what fails, or dies with its process, is recorded.

        Raises: RuntimeError where processes die one after the other and nothing else happens.
        """
        items = self.collector.hand_out()
        pickled = PickledTask.of(self.collector.task(work))
        workers = [
            _Process(pickled, self.environment) for _ in range(min(self.workers, len(items)))
        ]
        try:
            _Dispatch(items, self.collector, workers).run()
        finally:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.join()


class _Process:
    """One worker process; started again after it died."""

    def __init__(self, pickled: PickledTask, environment: dict[str, str]) -> None:
        self._arguments = (pickled,), environment
        self._pool = self._start()

    def submit(self, item: WorkItem, spent: int) -> concurrent.futures.Future[ChunkResult]:
        """Hand out a chunk; ``spent`` as for `ChunkTask`."""
        with _interrupts_blocked():
            try:
                future = self._pool.submit(_run_chunk, item, spent)
            except RuntimeError:
                self._pool = self._start()  # it died while it had nothing to do
                future = self._pool.submit(_run_chunk, item, spent)
        made: concurrent.futures.Future[ChunkResult] = future
        return made

    def replace(self) -> None:
        """Start anew after a death."""
        self.kill()
        self._pool = self._start()

    def kill(self) -> None:
        """End the process now; `join` waits for it."""
        self._pool.shutdown(wait=False, kill_workers=True)

    def join(self) -> None:
        """Wait until the process is gone."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def _start(self) -> loky.ProcessPoolExecutor:
        arguments, environment = self._arguments
        return loky.ProcessPoolExecutor(
            max_workers=1, initializer=_start_worker, initargs=arguments, env=environment
        )


class _Dispatch:
    """One chunk at a time to every process, until all have ended.

    Arguments:
        items: Chunks.
        collector: Takes their results.
        workers: Processes.
    """

    def __init__(
        self, items: Sequence[WorkItem], collector: Collector, workers: Sequence[_Process]
    ) -> None:
        self.items, self.collector = items, collector
        self._idle = list(workers)
        self._most_deaths = max(20, 8 * len(workers))  # deaths in a row; chosen
        self._deaths_in_a_row = 0
        self._deaths = [0] * len(items)
        self._open = collections.deque(range(len(items)))
        self._again: list[tuple[float, int]] = []  # when, position: chunks whose worker died
        self._running: dict[concurrent.futures.Future[ChunkResult], tuple[_Process, int]] = {}

    def run(self) -> None:
        """Work until every chunk has a result."""
        while self._open or self._again or self._running:
            self._hand_out()
            done, _ = concurrent.futures.wait(
                self._running, self._patience(), concurrent.futures.FIRST_COMPLETED
            )
            if not self._running:
                time.sleep(self._patience() or 0.0)
            for future in done:
                worker, position = self._running.pop(future)
                self._take(future, worker, position)
                self._idle.append(worker)

    def _hand_out(self) -> None:
        now = time.monotonic()
        while self._idle and self._again and self._again[0][0] <= now:
            self._submit(heapq.heappop(self._again)[1])
        while self._idle and self._open:
            self._submit(self._open.popleft())

    def _submit(self, position: int) -> None:
        worker = self._idle.pop()
        future = worker.submit(self.items[position], self._deaths[position])
        self._running[future] = worker, position

    def _patience(self) -> float | None:
        """Seconds until a chunk may be tried again, None where none waits for that."""
        if not (self._again and self._idle):
            return None
        return max(0.0, self._again[0][0] - time.monotonic())

    def _take(
        self, future: concurrent.futures.Future[ChunkResult], worker: _Process, position: int
    ) -> None:
        item = self.items[position]
        try:
            result = future.result()
        except loky.process_executor.BrokenProcessPool:
            self._worker_died(worker, position)
            return
        except Exception as error:
            result = ChunkResult(failed_record(item, error, failure="lost"), None)
        self._deaths_in_a_row = 0
        self.collector.add(position, result)

    def _worker_died(self, worker: _Process, position: int) -> None:
        """Start a process for one that died; its chunk comes again unless it did too often."""
        item, retry = self.items[position], self.collector.retry
        worker.replace()
        self._deaths[position] += 1
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= self._most_deaths:
            msg = f"{self._deaths_in_a_row} worker processes died one after the other"
            raise RuntimeError(msg)
        if self._deaths[position] < retry.attempts:
            logger.warning("%s: %s, trying again", chunk_name(item), LOST)
            pause = retry.pause(chunk_name(item), self._deaths[position])
            heapq.heappush(self._again, (time.monotonic() + pause, position))
            return
        lost = RuntimeError(LOST)
        record = failed_record(item, lost, failure="lost", attempts=self._deaths[position])
        self.collector.add(position, ChunkResult(record, None))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let processes that start here never see Ctrl-C: it is the client's business alone.

    A signal that arrives meanwhile is handled afterwards.
    """
    resource_tracker.ensure_running()  # its start, with the first process, would unblock signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_pickled: PickledTask | None = None


def _start_worker(pickled: PickledTask) -> None:
    """Keep the task of this process; an interrupt is the client's business alone."""
    global _pickled
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _pickled = pickled


def _run_chunk(item: WorkItem, spent: int) -> ChunkResult:
    """Run the task that this process was started with."""
    if _pickled is None:
        msg = "worker process was started without a task"
        raise RuntimeError(msg)
    return run_pickled(item, _pickled, spent)
