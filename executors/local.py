"""Executors of one machine: this process, or a pool of processes."""

from __future__ import annotations

import concurrent.futures
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import loky
from coffea.processor import FuturesExecutor, IterativeExecutor
from coffea.processor.executor import WorkItem

from executors.collect import Collector
from executors.task import ChunkResult, ChunkTask, Shipment, failed_record, run_shipped

__all__ = ["ProcessExecutor", "SerialExecutor"]

Output = tuple[dict[str, Any], int]


@dataclass
class SerialExecutor(IterativeExecutor):  # type: ignore[misc]  # coffea is not typed
    """Chunks one after another in this process, results into ``collector``."""

    retries: int = 0
    collector: Collector | None = None

    def __call__(
        self, items: Sequence[WorkItem], function: Callable[..., Any], accumulator: Any
    ) -> Output:
        """Process every chunk; what fails is recorded."""
        collector = self.collector or Collector(items)
        task = ChunkTask(function)
        for position, item in enumerate(items):
            collector.add(position, task(item))
        return {"out": collector.accumulator}, 0


@dataclass
class ProcessExecutor(FuturesExecutor):  # type: ignore[misc]  # coffea is not typed
    """Chunks in a pool of processes, each with its own ``environment``; the task travels once."""

    retries: int = 0
    collector: Collector | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, items: Sequence[WorkItem], function: Callable[..., Any], accumulator: Any
    ) -> Output:
        """Process every chunk; what fails, or dies with its process, is recorded."""
        collector = self.collector or Collector(items)
        shipment = Shipment.of(ChunkTask(function))
        pool = loky.ProcessPoolExecutor(
            max_workers=min(self.workers, len(items)),
            initializer=_start_worker,
            initargs=(shipment,),
            env=self.environment,
        )
        try:
            waiting = {pool.submit(_run_chunk, item): i for i, item in enumerate(items)}
            for future in concurrent.futures.as_completed(list(waiting)):
                position = waiting.pop(future)
                collector.add(position, _result(future, items[position]))
        finally:
            pool.shutdown(wait=True, kill_workers=True)
        return {"out": collector.accumulator}, 0


_shipped: Shipment | None = None


def _start_worker(shipment: Shipment) -> None:
    """Keep the task of this process; an interrupt is the client's business alone."""
    global _shipped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shipped = shipment


def _run_chunk(item: WorkItem) -> ChunkResult:
    """Run the task that this process was started with."""
    if _shipped is None:
        msg = "worker process was started without a task"
        raise RuntimeError(msg)
    return run_shipped(item, _shipped)


def _result(future: concurrent.futures.Future[ChunkResult], item: WorkItem) -> ChunkResult:
    """Result of a chunk, or the record of one that died with its process."""
    try:
        return future.result()
    except loky.process_executor.TerminatedWorkerError:
        lost = RuntimeError("a worker process died: killed, out of memory, or crashed in C++ code")
        return ChunkResult(failed_record(item, lost, failure="lost"), None)
    except Exception as error:
        return ChunkResult(failed_record(item, error, failure="lost"), None)
