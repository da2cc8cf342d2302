"""Executor on Dask workers: a cluster of this machine, a scheduler that runs, or batch jobs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import dask
import distributed

from executors.collect import Collector
from executors.credentials import security_from_configuration, security_from_files
from executors.dask.address import check_scheduler
from executors.dask.admission import GuestTask
from executors.dask.casa import casa_security
from executors.dask.checks import Fitness
from executors.dask.dispatch import Dispatch
from executors.dask.guest import guest_workers
from executors.errors import ConfigurationError, first_line
from executors.self_watch import self_watch
from executors.settings import ExecutorSettings
from executors.task import PickledTask
from executors.work import ChunkWork

if TYPE_CHECKING:
    from executors.htcondor.watch import JobWatch

__all__ = [
    "ClusterExecutor",
    "Pool",
    "chunk_resources",
    "open_client",
    "open_pool",
]

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT = 20.0  # seconds until an address counts as wrong; chosen
# Dask gives up a dead worker that is not back after 15 s; importing takes longer on a busy machine
RESTART_TIMEOUT = "10 minutes"
# of workers with a chunk, until the scheduler gives it up; it blames each chunk that a worker had,
# so those are handed out again
DEATHS = 1
GPU = "GPU"
"""Resource that workers with a GPU announce, as many as they have reading threads."""


class Pool(NamedTuple):
    """A client, and who looks after its jobs where they are batch jobs."""

    client: distributed.Client
    watch: JobWatch | None = None


@dataclass(frozen=True)
class ClusterExecutor:
    """Chunks as Dask tasks, added where they are."""

    collector: Collector
    client: distributed.Client
    watch: JobWatch | None = None
    fitness: Fitness | None = None
    """What workers must prove that are not this run's own, None for its own."""

    def run(self, work: ChunkWork) -> None:
        """Process every chunk; what fails, or dies with its worker, is recorded."""
        task = self.collector.task(work)
        pickled = PickledTask.of(GuestTask(task, self.fitness) if self.fitness else task)
        resources = chunk_resources(self.client)
        with guest_workers(self.client, work.run) if self.fitness else nullcontext():
            Dispatch(self.client, self.collector, pickled, resources, self.watch).run()


def chunk_resources(client: distributed.Client) -> dict[str, int] | None:
    """What a chunk asks of its worker: a share of a GPU where workers announce one, else nothing.

    A worker announces as many as it has reading threads, so that all of them read: its GPU is
    one, but the calls of its threads are coalesced.
    """
    workers = client.scheduler_info()["workers"].values()
    return {GPU: 1} if any(worker["resources"].get(GPU) for worker in workers) else None


@contextmanager
def open_pool(settings: ExecutorSettings, *, watched: bool = False) -> Iterator[Pool]:
    """Connect to the scheduler of ``settings``, or start one that listens on 127.0.0.1 alone.

    Arguments:
        settings: Where.
        watched: Whether workers that are started sample all the time what they do.
    Raises: ConfigurationError where no scheduler answers, or no job can be submitted.
    """
    with _logging_restored():
        if settings.kind == "htcondor":
            # writes a file into the user's configuration when it is imported
            from executors.htcondor.pool import open_htcondor

            with (
                open_htcondor(settings, watched=watched) as (client, watch),
                _silent_end(client),
            ):
                yield Pool(client, watch)
        elif settings.scheduler is not None:
            security = _security(settings.scheduler, settings)
            with _connected(settings.scheduler, security) as client, _silent_end(client):
                yield Pool(client)
        else:
            with _local_client(settings, watched) as client, _silent_end(client):
                yield Pool(client)


@contextmanager
def open_client(settings: ExecutorSettings) -> Iterator[distributed.Client]:
    """Client of `open_pool`."""
    with open_pool(settings) as pool:
        yield pool.client


def _security(address: str, settings: ExecutorSettings) -> distributed.Security | None:
    """Credentials for an address, None for one without TLS.

    Raises: ConfigurationError where TLS has no certificates.
    """
    if not address.startswith("tls://"):
        return None
    if settings.kind == "casa":
        return casa_security(settings)
    if settings.tls is not None:
        return security_from_files(settings.tls)
    security = security_from_configuration()
    if security is None:
        msg = (
            f"--scheduler {address} needs certificates; name them with --tls-ca, --tls-cert and "
            "--tls-key, or in Dask's configuration (distributed.comm.tls)"
        )
        raise ConfigurationError(msg)
    return security


@contextmanager
def _connected(address: str, security: distributed.Security | None) -> Iterator[distributed.Client]:
    check_scheduler(address, security, CONNECT_TIMEOUT)
    try:
        client = distributed.Client(address, timeout=CONNECT_TIMEOUT, security=security)
    except (OSError, ValueError) as error:
        msg = f"the Dask scheduler at {address} was there and left ({first_line(error)}); try again"
        raise ConfigurationError(msg) from error
    with client:
        yield client


@contextmanager
def _local_client(settings: ExecutorSettings, watched: bool) -> Iterator[distributed.Client]:
    """Cluster of this machine."""
    with (
        dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": RESTART_TIMEOUT,
                "distributed.scheduler.allowed-failures": DEATHS,
                **self_watch(watched),
            }
        ),
        tempfile.TemporaryDirectory(prefix="flashbrew-dask-") as scratch,
        distributed.LocalCluster(
            n_workers=settings.processes,
            threads_per_worker=settings.readers,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            local_directory=scratch,
            env=settings.environment(),
            silence_logs="CRITICAL",
            preload=["executors.dask.preload"],
            resources={GPU: settings.readers} if settings.readers > 1 else None,
        ) as cluster,
        distributed.Client(cluster) as client,
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
def _silent_end(client: distributed.Client) -> Iterator[None]:
    """Log nothing while a cluster closes that was interrupted, or whose scheduler is gone.

    Tasks cut off in the middle fill pages with tracebacks; what becomes of their chunks is in the
    ledger.
    """
    try:
        yield
    except KeyboardInterrupt:
        logging.disable(logging.CRITICAL)
        raise
    finally:
        if client.status != "running":
            logging.disable(logging.CRITICAL)
