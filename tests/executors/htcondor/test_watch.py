"""The jobs of a run, with a queue that the test writes."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import pytest

from executors.htcondor import watch as module
from executors.htcondor.watch import FIRST_CHANCES, JobState, JobWatch, read_queue


class Job:
    def __init__(self, number):
        self.job_id, self.closed = f"{number}.0", False

    async def close(self):
        self.closed = True


class Cluster:
    """As much of a dask-jobqueue cluster as the watch uses."""

    def __init__(self, jobs):
        self.workers, self.worker_spec, self.submitted = {}, {}, 0
        self.scheduler_info = {"workers": {}}
        while len(self.worker_spec) < jobs:
            self.worker_spec.update(self.new_worker_spec())
        asyncio.run(self._correct_state())

    def new_worker_spec(self):
        return {f"w{self.submitted + len(self.worker_spec)}": {}}

    async def _correct_state(self):
        for name in set(self.worker_spec) - set(self.workers):
            self.submitted += 1
            self.workers[name] = Job(self.submitted)

    def sync(self, function):
        return asyncio.run(function())

    def register(self, *names):
        self.scheduler_info["workers"] |= {f"tcp://{name}": {"name": name} for name in names}


@pytest.fixture
def queue(monkeypatch):
    state = SimpleNamespace(jobs={})
    monkeypatch.setattr(module, "read_queue", lambda *_: state.jobs)
    return state


def running(cluster):
    return {job.job_id: JobState(2, "undefined") for job in cluster.workers.values()}


def test_jobs_that_wait_or_run_are_left_alone(queue):
    cluster = Cluster(2)
    watch = JobWatch(cluster, "run", 2)
    queue.jobs = running(cluster)
    for _ in range(3):
        watch.look()
    assert (cluster.submitted, watch.replaced, watch.problem) == (2, 0, None)


def test_a_job_that_left_the_queue_is_submitted_again_on_second_sight(queue):
    cluster = Cluster(2)
    watch = JobWatch(cluster, "run", 2)
    first = next(iter(cluster.workers))
    gone = cluster.workers[first]
    queue.jobs = running(cluster)
    del queue.jobs[gone.job_id]
    watch.look()
    assert cluster.submitted == 2
    watch.look()
    assert cluster.submitted == 3
    assert gone.closed
    assert first not in cluster.workers
    assert len(cluster.workers) == 2


def test_a_held_job_is_removed_and_replaced(queue):
    cluster = Cluster(1)
    watch = JobWatch(cluster, "run", 1)
    (job,) = cluster.workers.values()
    queue.jobs = {job.job_id: JobState(5, "no such image")}
    watch.look()
    watch.look()
    assert job.closed
    assert cluster.submitted == 2


def test_a_queue_that_does_not_answer_changes_nothing(queue):
    cluster = Cluster(1)
    watch = JobWatch(cluster, "run", 1)
    queue.jobs = None
    for _ in range(5):
        watch.look()
    assert (cluster.submitted, watch.problem) == (1, None)


def test_a_pool_that_never_gives_a_worker_is_given_up(queue):
    cluster, heard = Cluster(1), []
    watch = JobWatch(cluster, "run", 1)
    watch.on_problem(lambda: heard.append(1))
    queue.jobs = {}
    for _ in range(2 * (FIRST_CHANCES + 2)):
        watch.look()
    assert "jobs ended without becoming a worker, the last: it left the queue" in watch.problem
    assert heard[:1] == [1]
    assert cluster.submitted == 1 + FIRST_CHANCES
    watch.on_problem(lambda: heard.append("late"))
    assert heard[-1] == "late"


def test_a_worker_in_between_makes_up_for_failures(queue):
    cluster = Cluster(1)
    watch = JobWatch(cluster, "run", 1)
    for number in range(3 * FIRST_CHANCES):
        queue.jobs = {}
        watch.look()
        watch.look()
        if number % 2:
            (name,) = cluster.workers
            cluster.register(name)
            queue.jobs = running(cluster)
            watch.look()
            cluster.scheduler_info["workers"].clear()
    assert watch.problem is None
    assert watch.replaced == 3 * FIRST_CHANCES


@pytest.mark.parametrize(
    ("removed", "queue", "warned"),
    [
        ("exit 0", "exit 1", False),
        ("echo no such job; exit 1", "exit 0", False),
        ("echo no such job; exit 1", "printf '7.0\\t3\\tundefined\\n'", False),
        ("echo ask for a schedd >&2; exit 1", "printf '7.0\\t1\\tundefined\\n'", True),
        ("echo ask for a schedd >&2; exit 1", "exit 1", True),
    ],
)
def test_jobs_that_cannot_be_removed_are_told_of(
    tmp_path, monkeypatch, caplog, removed, queue, warned
):
    for name, text in (("condor_rm", removed), ("condor_q", queue)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    JobWatch(Cluster(0), "run", 1, ["-name", "one"]).remove_jobs()
    told = (
        "condor_rm failed, jobs may be left: ask for a schedd; remove them with: "
        "condor_rm -name one -constraint 'FlashbrewRun == \"run\"'"
    )
    assert caplog.messages == [told] * warned


def test_what_condor_q_prints_is_read(tmp_path, monkeypatch):
    script = tmp_path / "condor_q"
    script.write_text(
        f"#!{sys.executable}\n"
        "print('7.0\\t2\\tundefined')\n"
        "print('8.0\\t5\\tError from slot1: no such file\\nor directory')\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_queue("true") == {
        "7.0": JobState(2, "undefined"),
        "8.0": JobState(5, "Error from slot1: no such file"),
    }
    script.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    assert read_queue("true") is None
