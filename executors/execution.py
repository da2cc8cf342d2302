"""A plan carried out: a processor over the plan's chunks, one record for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from coffea.processor import ProcessorABC

from executors.collect import Collector, Listener
from executors.errors import ConfigurationError
from executors.ledger import ChunkRecord, Ledger
from executors.local import ProcessExecutor, SerialExecutor
from executors.plan import Plan
from executors.results.state import StateStore
from executors.retry import RetryPolicy
from executors.settings import ExecutorSettings
from executors.task import Accumulator, PickledTask
from executors.work import ChunkWork

__all__ = ["RunResult", "Storage", "check_travels", "execute", "open_executor"]

logger = logging.getLogger(__name__)
Probe = Callable[[], str | None]


class Executor(Protocol):
    """Who hands out the chunks of a collector that have no record yet."""

    def run(self, work: ChunkWork) -> None:
        """Process every chunk; what fails, or dies with its worker, is recorded."""


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind.

    ``accumulator`` holds the merged results of the done chunks, empty where there are none;
    ``error`` what ended the run early, if anything did; ``seconds`` the wall time; ``unstored``
    why results of chunks could not be kept for a resume, with the number of chunks.
    """

    accumulator: Accumulator
    ledger: Ledger
    seconds: float
    interrupted: bool = False
    error: BaseException | None = None
    unstored: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def stopped(cls, plan: Plan, error: BaseException) -> RunResult:
        """Result of a run that ``error`` ended before its first chunk."""
        ledger = Ledger(Collector(plan.items).close(error), plan.unknown)
        return cls({}, ledger, 0.0, isinstance(error, KeyboardInterrupt), error)


@dataclass(frozen=True)
class Storage:
    """What is kept of a run while it goes on.

    Arguments:
        store: Results of finished chunks, None for nowhere.
        reusable: Records of stored chunks to take over, by position in the plan.
        journal: Hears of each chunk as it ends, after the listener.
    """

    store: StateStore | None = None
    reusable: Mapping[int, ChunkRecord] = field(default_factory=dict)
    journal: Listener | None = None


def execute(
    plan: Plan,
    processor: ProcessorABC,
    settings: ExecutorSettings,
    *,
    listener: Listener | None = None,
    probe: Probe | None = None,
    ready: Callable[[], object] | None = None,
    retry: RetryPolicy | None = None,
    storage: Storage | None = None,
    performance: Path | None = None,
    tell: Callable[[str], object] | None = None,
) -> RunResult:
    """Run a processor over every chunk of a plan.

    Failed chunks are recorded, an interrupt (Ctrl-C) ends the run with what is there; every
    planned chunk has a record afterwards. The processor's ``postprocess`` sees the merged result
    and may change it in place.

    Arguments:
        plan: Chunks and their order.
        processor: Returns ``{dataset: {"hists", "counters", "outputs"}}`` for a chunk; its
            attribute ``schema``, where it has one, interprets the file (default NanoAODSchema),
            ``input_format`` says what the files are: ``root`` (default) or ``parquet``.
        settings: Where to run.
        listener: Hears of each chunk as it ends.
        probe: Called on every Dask worker before the first chunk; returns a complaint or None.
        ready: Called once when the workers are there, before the first chunk.
        retry: How often to try a chunk and how long to wait; three times if None.
        storage: Where finished chunks are kept and which are there; None keeps nothing.
        performance: HTML file for Dask's performance report, None for none.
        tell: Takes what a user wants to know at the start: the address of Dask's dashboard.
    Raises: ConfigurationError for what stops a run before its first chunk.
    """
    storage = storage or Storage()
    collector = Collector(
        plan.items,
        listener,
        storage.journal,
        store=storage.store,
        retry=retry or RetryPolicy(),
    )
    started = time.monotonic()
    error: BaseException | None = None
    try:
        if len(storage.reusable) < len(plan.items):
            with open_executor(
                settings, collector, probe=probe, performance=performance, tell=tell
            ) as executor:
                _begin(ready, collector, storage)
                executor.run(ChunkWork.of(processor))
        else:
            _begin(ready, collector, storage)
            collector.advance()
        if collector.accumulator:
            processor.postprocess(collector.accumulator)
    except ConfigurationError:
        raise
    except (KeyboardInterrupt, Exception) as stopped:
        error = stopped
    try:
        records = collector.close(error)
    except KeyboardInterrupt as stopped:
        error = stopped
        records = collector.close(error)
    return RunResult(
        accumulator=collector.accumulator,
        ledger=Ledger(records, plan.unknown),
        seconds=time.monotonic() - started,
        interrupted=isinstance(error, KeyboardInterrupt),
        error=error,
        unstored=collector.unstored,
    )


def _begin(ready: Callable[[], object] | None, collector: Collector, storage: Storage) -> None:
    """Tell that chunks are about to run; take those that need not."""
    if ready is not None:
        ready()
    collector.reuse(storage.reusable)


def check_travels(processor: ProcessorABC, settings: ExecutorSettings) -> None:
    """Check that a processor can be sent to the workers.

    Raises: ConfigurationError where it cannot.
    """
    if settings.kind != "iterative":
        size = len(PickledTask.of(processor).payload)
        logger.debug("the processor travels as %d bytes", size)


@contextmanager
def open_executor(
    settings: ExecutorSettings,
    collector: Collector,
    *,
    probe: Probe | None = None,
    performance: Path | None = None,
    tell: Callable[[str], object] | None = None,
) -> Iterator[Executor]:
    """Start what ``settings`` ask for, yield who hands out chunks, shut it down in the end."""
    if settings.kind == "iterative":
        yield SerialExecutor(collector)
    elif settings.kind == "futures":
        yield ProcessExecutor(collector, settings.processes, settings.environment())
    else:
        # distributed takes a second to import: only those who use it pay
        from executors.dask.checks import Fitness, WorkerCheck, check_workers, lasting
        from executors.dask.cluster import ClusterExecutor, open_pool
        from executors.dask.performance import recorded

        watched = performance is not None
        with open_pool(settings, watched=watched) as (client, watch), lasting(probe) as later:
            say = tell or logger.info
            say(f"Dask dashboard: {client.dashboard_link}")
            check_workers(client, probe)
            if watch is not None:
                client.register_plugin(WorkerCheck(later))
            guest = settings.scheduler is not None
            if guest and not client.nthreads():
                say("waiting for workers (0 now)")
            with recorded(client, performance):
                yield ClusterExecutor(
                    collector, client, watch, Fitness.of(later) if guest else None
                )
