"""Dask-jobqueue as this project uses it: what the rest of the package need not know of its inside.

Importing dask-jobqueue replaces the handler of SIGINT by one that raises SystemExit: a run stopped
by Ctrl-C would end without its report. Here the handler stays what it was.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection
from typing import Any

_before = signal.getsignal(signal.SIGINT)
try:
    import dask_jobqueue
    from dask_jobqueue import HTCondorCluster
    from dask_jobqueue.htcondor import HTCondorJob
finally:
    signal.signal(signal.SIGINT, _before)

__all__ = ["HTCondorCluster", "HTCondorJob", "dask_jobqueue", "job_ids", "submit_missing"]


def job_ids(cluster: Any) -> dict[str, str | None]:
    """Id ``cluster.process`` of each job by the name of its worker, None where it has none."""
    return {str(name): job.job_id for name, job in dict(cluster.workers).items()}


def submit_missing(cluster: Any, jobs: int, forget: Collection[str] = ()) -> str | None:
    """Submit until there are ``jobs`` jobs; jobs that got no id before are submitted again.

    dask-jobqueue's own ``scale`` leaves errors to the event loop: nobody would hear of them.

    Arguments:
        cluster: A dask-jobqueue cluster.
        jobs: Number wanted.
        forget: Names of workers whose jobs are removed first.
    Returns: What condor_submit said where it failed, None where every job is submitted.
    """

    async def submit() -> None:
        for name, job in list(cluster.workers.items()):
            if str(name) in forget or job.job_id is None:
                del cluster.workers[name]
                cluster.worker_spec.pop(name, None)
                await job.close()
        while len(cluster.worker_spec) < jobs:
            cluster.worker_spec.update(cluster.new_worker_spec())
        # an interrupt leaves the jobs to the end of the cluster, which knows them only afterwards
        await asyncio.shield(cluster._correct_state())

    try:
        cluster.sync(submit)
    except (RuntimeError, OSError, ValueError) as error:
        return _complaint(error)
    return None


def _complaint(error: BaseException) -> str:
    """Why condor_submit failed, in one line, of an error that holds all it printed.

    Example:
        >>> _complaint(RuntimeError("Exit code: 1\\nstderr:\\n\\nERROR: no such\\n pool\\n"))
        'ERROR: no such pool'
        >>> _complaint(RuntimeError("Exit code: 1\\nstderr:\\nCannot connect to schedd\\n"))
        'Cannot connect to schedd'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line not in ("stdout:", "stderr:")]
    for number, line in enumerate(said):
        if "ERROR" in line:
            return " ".join(said[number:])
    return said[-1] if said else type(error).__name__
