"""Executor on Dask workers: a cluster of this machine, or a scheduler that is running."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask
import distributed
from coffea.processor import DaskExecutor
from coffea.processor.executor import WorkItem
from distributed.scheduler import KilledWorker

from executors.collect import Collector
from executors.errors import ConfigurationError, first_line
from executors.settings import ExecutorSettings
from executors.task import ChunkResult, Shipment, failed_record, run_shipped

__all__ = ["ClusterExecutor", "open_client"]

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT = 20.0  # seconds until an address counts as wrong; chosen
# Dask gives up a dead worker that is not back after 15 s; importing takes longer on a busy machine
RESTART_TIMEOUT = "10 minutes"
# of workers with a chunk, until the scheduler gives it up; it blames each chunk that a worker had,
# so the collector hands those out again
DEATHS = 1


@dataclass
class ClusterExecutor(DaskExecutor):  # type: ignore[misc]  # coffea is not typed
    """Chunks as Dask tasks; each result leaves the cluster as soon as it is there."""

    retries: int = 0
    collector: Collector | None = None

    def __call__(
        self, items: Sequence[WorkItem], function: Callable[..., Any], accumulator: Any
    ) -> tuple[dict[str, Any], int]:
        """Process every chunk; what fails, or dies with its worker, is recorded."""
        collector = self.collector or Collector(items)
        client: distributed.Client = self.client
        # one future holds the task: workers fetch it from each other, and it is made again from
        # its bytes where the worker that held it is gone
        shipment = client.submit(_keep, Shipment.of(collector.task(function, self.heavy_input)))
        futures = client.map(
            run_shipped, list(items), shipment=shipment, pure=False, retries=0, key="chunk"
        )
        waiting = {future.key: (i, future) for i, future in enumerate(futures)}
        del futures  # a result stays in the memory of its worker for as long as a future is held
        try:
            for future, value in distributed.as_completed(
                [future for _, future in waiting.values()], with_results=True, raise_errors=False
            ):
                position, _ = waiting.pop(future.key)
                collector.add(position, _result(future, value, items[position]))
                del future, value
        finally:
            client.cancel([future for _, future in waiting.values()])
        return {"out": collector.accumulator}, 0


@contextmanager
def open_client(settings: ExecutorSettings) -> Iterator[distributed.Client]:
    """Connect to the scheduler of ``settings``, or start one that listens on 127.0.0.1 alone.

    Raises: ConfigurationError where no scheduler answers.
    """
    if settings.scheduler is not None:
        try:
            client = distributed.Client(settings.scheduler, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            msg = (
                f"no Dask scheduler answers at {settings.scheduler} ({first_line(error)}); "
                "check the address, or leave out --scheduler to start one here"
            )
            raise ConfigurationError(msg) from error
        with _logging_restored(), client, _silent_once_interrupted():
            yield client
        return
    with (
        _logging_restored(),
        dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": RESTART_TIMEOUT,
                "distributed.scheduler.allowed-failures": DEATHS,
            }
        ),
        tempfile.TemporaryDirectory(prefix="flashbrew-dask-") as scratch,
        distributed.LocalCluster(
            n_workers=settings.processes,
            threads_per_worker=1,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            local_directory=scratch,
            env=settings.environment(),
            silence_logs="CRITICAL",
            preload=["executors.preload"],
        ) as cluster,
        distributed.Client(cluster) as client,
        _silent_once_interrupted(),
    ):
        yield client


@contextmanager
def _logging_restored() -> Iterator[None]:
    before = logging.root.manager.disable
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _silent_once_interrupted() -> Iterator[None]:
    """Log nothing while a cluster closes: tasks cut off in the middle fill pages with tracebacks.

    What becomes of their chunks is in the ledger.
    """
    try:
        yield
    except KeyboardInterrupt:
        logging.disable(logging.CRITICAL)
        raise


def _keep(shipment: Shipment) -> Shipment:
    return shipment


def _result(future: distributed.Future, value: Any, item: WorkItem) -> ChunkResult:
    """Result of a chunk, or the record of one that died with its worker."""
    if isinstance(value, ChunkResult):
        return value
    error = value[1] if isinstance(value, tuple) else value
    attempts = 1
    if isinstance(error, KilledWorker):
        attempts += error.allowed_failures
        error = RuntimeError(
            "a worker died each time it ran this chunk: killed, out of memory, or crashed"
        )
    elif not isinstance(error, BaseException):
        error = RuntimeError(f"the task ended as {future.status!r} without a result")
    return ChunkResult(failed_record(item, error, failure="lost", attempts=attempts), None)
