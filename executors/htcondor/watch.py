"""Jobs of a run watched: those that vanish are submitted again, as often as makes sense."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from executors.errors import first_line
from executors.htcondor.jobqueue import job_ids, submit_missing

__all__ = ["RUN_ATTRIBUTE", "JobState", "JobWatch", "read_queue"]

logger = logging.getLogger(__name__)
RUN_ATTRIBUTE = "FlashbrewRun"
"""Attribute that the jobs of one run share."""
INTERVAL = 5.0  # seconds between two looks at the queue; chosen, a schedd notices 1 s
FIRST_CHANCES = 3  # jobs that may fail for each job wanted before a run counts as hopeless; chosen
LONGEST = 300.0  # seconds between two tries of a condor_submit that fails; chosen
TIMEOUT = 60.0  # seconds that condor_q may take; chosen
_JOB = re.compile(r"(?P<job>\d+\.\d+)\s+(?P<status>\d+)\s+(?P<reason>.*)")
_HELD = 5  # HTCondor's JobStatus
_GONE = (3, 4)  # removed, completed


class JobState(NamedTuple):
    """A job as the queue shows it; ``reason`` says why it is held."""

    status: int
    reason: str


class JobWatch:
    """Context manager that keeps ``jobs`` jobs of a cluster in the queue.

    dask-jobqueue forgets jobs that end before they register, and does not replace workers. A job
    that is held, or gone without its worker having been seen since, is removed and submitted
    again. Where `FIRST_CHANCES` jobs for each wanted one failed in a row, ``problem`` says so and
    those who called `on_problem` hear of it.

    Arguments:
        cluster: A dask-jobqueue cluster whose jobs carry `RUN_ATTRIBUTE`.
        run: Value of that attribute.
        jobs: Number of jobs wanted.
        arguments: Further arguments of condor_q and condor_rm.
    """

    def __init__(self, cluster: Any, run: str, jobs: int, arguments: Sequence[str] = ()) -> None:
        self.jobs = jobs
        self.problem: str | None = None
        self.replaced = 0
        self._cluster, self._arguments = cluster, list(arguments)
        self._constraint = f'{RUN_ATTRIBUTE} == "{run}"'
        self._failures = self._refusals = 0
        self._not_before = 0.0
        self._listeners: list[Callable[[], None]] = []
        self._registered: set[str] = set()
        self._missing: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="flashbrew-jobs", daemon=True)

    def __enter__(self) -> JobWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def remove_jobs(self) -> None:
        """Remove every job of the run from the queue; there may be none."""
        command = ["condor_rm", *self._arguments, "-constraint", self._constraint]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = first_line(error)
        else:
            if done.returncode == 0 or self._none_left():
                return
            said = " ".join(f"{done.stdout} {done.stderr}".split())
        logger.warning(
            "condor_rm failed, jobs may be left: %s; remove them with: %s",
            said or f"status {done.returncode}",
            shlex.join(command),
        )

    def _none_left(self) -> bool:
        """Whether condor_rm failed for want of jobs alone."""
        queue = read_queue(self._constraint, self._arguments)
        return queue is not None and all(state.status in _GONE for state in queue.values())

    def on_problem(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` once the pool is hopeless, at once where it already is."""
        with self._lock:
            self._listeners.append(listener)
            known = self.problem is not None
        if known:
            listener()

    def look(self) -> None:
        """Compare the queue with what is wanted, once."""
        queue = read_queue(self._constraint, self._arguments)
        if queue is None:
            return
        names = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        if names - self._registered:
            self._failures = 0
        self._registered |= names
        mine = job_ids(self._cluster)
        lost = {
            name: _verdict(queue.get(job))
            for name, job in mine.items()
            if name not in names and job is not None and _verdict(queue.get(job)) is not None
        }
        # a job that was submitted while the queue was read is not there yet: look twice
        certain = {name: lost[name] for name in lost if name in self._missing}
        self._missing = set(lost) - set(certain)
        if certain:
            self._replace(certain)
        elif len(mine) < self.jobs or None in mine.values():
            self._refill()

    @property
    def _hopeless(self) -> bool:
        return self._failures > FIRST_CHANCES * self.jobs

    def _replace(self, lost: dict[str, str | None]) -> None:
        reasons = [reason for reason in lost.values() if reason]
        self._failures += sum(name not in self._registered for name in lost)
        for name, reason in lost.items():
            logger.warning("worker %s is gone: %s; submitting another job", name, reason)
        if self._hopeless:
            self._give_up(reasons[-1])
            return
        self.replaced += len(lost)
        self._refill(forget=list(lost))

    def _refill(self, forget: Sequence[str] = ()) -> None:
        """Submit until all jobs wanted are there; after a failure wait, longer each time.

        A condor_submit that fails ends no run that has jobs: they may be all that it gets.
        """
        if time.monotonic() < self._not_before and not forget:
            return
        said = submit_missing(self._cluster, self.jobs, forget)
        if said is None:
            self._refusals = 0
            return
        logger.warning("condor_submit failed: %s; trying again", said)
        self._refusals += 1
        self._not_before = time.monotonic() + min(INTERVAL * 2**self._refusals, LONGEST)
        jobs = job_ids(self._cluster).values()
        if any(job is not None for job in jobs):
            return
        self._failures += len(jobs)
        if self._hopeless:
            self._give_up(f"condor_submit failed: {said}")

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self.problem = (
                f"{self._failures} jobs ended without becoming a worker, the last: {reason}; "
                "see the log of a job (log_directory), and --dry-run for what was submitted"
            )
            listeners = list(self._listeners)
        for listener in listeners:
            listener()
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self.look()
            except Exception:
                logger.debug("looking at the queue failed", exc_info=True)


def read_queue(constraint: str, arguments: Sequence[str] = ()) -> dict[str, JobState] | None:
    """Jobs in the queue by their id ``cluster.process``; None where condor_q does not answer."""
    command = ["condor_q", *arguments, "-constraint", constraint]
    command += ["-af:jt", "JobStatus", "HoldReason"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("condor_q failed: %s", first_line(error))
        return None
    jobs: dict[str, JobState] = {}
    for line in done.stdout.splitlines():
        if found := _JOB.fullmatch(line):  # else the rest of a reason with line breaks
            jobs[found["job"]] = JobState(int(found["status"]), found["reason"].strip())
    return jobs


def _verdict(state: JobState | None) -> str | None:
    """Why a job will never be a worker; None where it still may."""
    if state is None or state.status in _GONE:
        return "it left the queue"
    if state.status == _HELD:
        return f"it is held: {state.reason}"
    return None
