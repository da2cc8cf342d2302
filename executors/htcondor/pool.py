"""A pool of HTCondor jobs that lasts for one run, each a Dask worker."""

from __future__ import annotations

import logging
import secrets
import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import distributed
from distributed import Security

from executors.credentials import check_proxy, check_token, run_credentials
from executors.errors import ConfigurationError, first_line
from executors.htcondor.job import WorkerJob, host_of, job_options, packaged_defaults, site_of
from executors.htcondor.jobqueue import HTCondorCluster, job_ids, submit_missing
from executors.htcondor.sites import SiteSettings
from executors.htcondor.watch import JobWatch
from executors.self_watch import self_watch
from executors.settings import ExecutorSettings

__all__ = ["open_htcondor"]

logger = logging.getLogger(__name__)
# a nanny restarts a dead worker; jobs that are gone are the watch's business
RESTART_TIMEOUT = "10 minutes"
_LOST = "distributed.deploy.lost-worker-timeout"
POLL = 0.5  # seconds between two looks at whether a worker is there


class WorkerCluster(HTCondorCluster):  # type: ignore[misc]  # dask-jobqueue is not typed
    """Scheduler in this process, workers as jobs that find their credentials in files."""

    job_cls = WorkerJob

    def __init__(self, *, worker_security: Security | None, **others: Any) -> None:
        self._worker_security = worker_security
        super().__init__(**others)

    def _get_worker_security(self, security: Security | None) -> Security | None:
        """Paths as the worker sees them; dask-jobqueue would write files of its own."""
        del security
        return self._worker_security


@contextmanager
def open_htcondor(
    settings: ExecutorSettings, *, watched: bool = False
) -> Iterator[tuple[distributed.Client, JobWatch]]:
    """Start a scheduler here and workers as jobs, wait for the first; stop everything at the end.

    Jobs that vanish are submitted again, see `JobWatch`.

    Arguments:
        settings: Where.
        watched: Whether scheduler and workers sample all the time what they do.
    Raises: ConfigurationError where nothing can be submitted, or no worker comes.
    """
    site = site_of(settings)
    _check_site(site)
    run = secrets.token_hex(6)
    with ExitStack() as stack:
        stack.enter_context(packaged_defaults())
        stack.enter_context(dask.config.set({_LOST: RESTART_TIMEOUT, **self_watch(watched)}))
        security, files = None, None
        if not settings.insecure:
            directory = Path(site.shared_directory)
            security, files = stack.enter_context(run_credentials(directory))
        options = job_options(settings, files, run, watched=watched)
        if site.log_directory is not None:
            _make_logs(Path(site.log_directory))
        cluster = stack.enter_context(
            WorkerCluster(
                worker_security=options.pop("security"),
                security=security,
                scheduler_options=_scheduler_options(site),
                silence_logs="CRITICAL",
                **options,
            )
        )
        client = stack.enter_context(distributed.Client(cluster))
        watch = JobWatch(cluster, run, settings.processes, site.cancel_arguments)
        stack.callback(watch.remove_jobs)
        _submit(cluster, settings.processes)
        stack.enter_context(watch)
        _await_worker(client, watch, site)
        yield client, watch


def _check_site(site: SiteSettings) -> None:
    """Look for what a run would miss after hours in the queue."""
    if site.bare_python:
        msg = (
            f"jobs at {site.preset} would start {site.python} of a bare node, without flashbrew: "
            "name an image in the site's YAML file, or a python that all nodes see "
            "(condor/README.md)"
        )
        raise ConfigurationError(msg)
    if site.loses_jobs:
        msg = (
            f"jobs at {site.preset} would go to a schedd that condor_q and condor_rm do not ask: "
            "name one schedd in the site's YAML file, submit_arguments: [-name, SCHEDD] and "
            "cancel_arguments: [-name, SCHEDD] (condor/README.md)"
        )
        raise ConfigurationError(msg)
    if shutil.which("condor_submit") is None:
        msg = (
            "condor_submit is not on the PATH; run on a machine that submits to the pool, or see "
            "docs/pools.md"
        )
        raise ConfigurationError(msg)
    if site.proxy_path is not None:
        check_proxy(site.proxy_path, site.credential_lifetime)
    if site.token is not None:
        check_token(Path(site.token), site.credential_lifetime)


def _make_logs(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"log_directory {directory} cannot be made ({error.strerror}); set another one"
        raise ConfigurationError(msg) from error


def _scheduler_options(site: SiteSettings) -> dict[str, Any]:
    host = host_of(site)
    return {
        "host": host,
        "port": _free_port(host, site.scheduler_port),
        "dashboard_address": site.dashboard_address,
    }


def _free_port(host: str, ports: str) -> int:
    """First port of a range that nothing listens on.

    Raises: ConfigurationError where the host is not this machine, or every port is taken.
    """
    first, _, last = ports.partition(":")
    for port in range(int(first), int(last or first) + 1):
        try:
            with socket.create_server((host, port)):
                return port
        except OSError as error:
            reason = error.strerror or first_line(error)
    msg = f"no scheduler can listen on {host}, port {ports} ({reason}); set scheduler_host or _port"
    raise ConfigurationError(msg)


def _submit(cluster: WorkerCluster, jobs: int) -> None:
    """Submit the first jobs; where some of them fail, the watch submits those again.

    Raises: ConfigurationError where none could be submitted.
    """
    said = submit_missing(cluster, jobs)
    if said is None:
        return
    submitted = sum(job is not None for job in job_ids(cluster).values())
    if not submitted:
        msg = f"condor_submit failed: {said}; --dry-run shows what it got"
        raise ConfigurationError(msg)
    logger.warning(
        "%d of %d jobs are not submitted yet, condor_submit failed: %s; trying again",
        jobs - submitted,
        jobs,
        said,
    )


def _await_worker(client: distributed.Client, watch: JobWatch, site: SiteSettings) -> None:
    """Wait until a worker is there.

    Raises: ConfigurationError where the jobs fail, or none starts for ``death_timeout``.
    """
    deadline = time.monotonic() + site.death_timeout.total_seconds()
    logger.info("waiting for the first of %d jobs", watch.jobs)
    while not client.scheduler_info()["workers"]:
        if watch.problem is not None:
            raise ConfigurationError(watch.problem)
        if time.monotonic() > deadline:
            minutes = int(site.death_timeout.total_seconds() // 60)
            hint = f"; their logs are in {site.log_directory}" if site.log_directory else ""
            command = " ".join(["condor_q", *map(shlex.quote, site.cancel_arguments)])
            msg = (
                f"no job became a worker within {minutes} min (death_timeout); {command} shows "
                f"whether they wait or run, a running one must reach {client.scheduler.address}"
                f"{hint}"
            )
            raise ConfigurationError(msg)
        time.sleep(POLL)
