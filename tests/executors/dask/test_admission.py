"""Workers that join somebody else's scheduler while a run goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time

import distributed
import pytest

from executors.dask import admission
from executors.execution import execute
from executors.inputs.fileset import from_inputs
from executors.plan import plan_fileset
from executors.retry import RetryPolicy
from executors.settings import ExecutorSettings

pytestmark = [pytest.mark.xdist_group("dask"), pytest.mark.faults]
ELSEWHERE = "FLASHBREW_TEST_ELSEWHERE"


class Pool:
    """A scheduler without workers, and workers that are started one by one."""

    def __init__(self, client, repository):
        self.client, self.repository = client, repository
        self.address = client.scheduler.address
        self.processes = []

    def join(self, code=None, **environment):
        """Start a worker with the code of a folder, wait until it is there; its process id."""
        wanted = len(self.client.nthreads()) + 1
        path = os.pathsep.join(map(str, (code or self.repository, self.repository)))
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address]
        command += ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--host", "127.0.0.1"]
        process = subprocess.Popen(
            command,
            cwd=code or self.repository,
            env=os.environ | {"PYTHONPATH": path} | environment,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        self.client.wait_for_workers(wanted, timeout=90)
        return process.pid


@pytest.fixture
def pool(repository):
    with (
        distributed.LocalCluster(
            n_workers=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        made = Pool(client, repository)
        yield made
        for process in made.processes:
            process.kill()
            process.wait()


@pytest.fixture
def other_code(repository, tmp_path):
    """A copy of the package with one file changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    for room in ("executors", "flows", "processors"):
        shutil.copytree(repository / room, tmp_path / "code" / room, ignore=ignored)
    with (tmp_path / "code" / "executors" / "errors.py").open("a") as file:
        file.write("CHANGED = True\n")
    return tmp_path / "code"


def run(pool, sample, counting, ready=None, **options):
    plan = plan_fileset(from_inputs(sample), chunk_size=20)
    settings = ExecutorSettings("dask", scheduler=pool.address)
    return execute(plan, counting(wait=0.2), settings, ready=ready, **options)


def computed(result):
    """Ids of the processes that computed chunks."""
    counters = result.accumulator["input"]["counters"]
    return {int(name.split(".")[1]) for name in counters if name.startswith("copies.")}


def test_a_worker_with_other_code_that_comes_later_computes_nothing(
    pool, sample, counting, other_code, caplog
):
    first, joined = pool.join(), []
    result = run(pool, sample, counting, lambda: joined.append(pool.join(other_code)))
    assert result.ledger.tally()[:6] == (20, 20, 0, 0, 380, 380)
    assert joined
    assert computed(result) == {first}
    assert {record.attempts for record in result.ledger.records} == {1}
    refused = [line for line in caplog.messages if "gets no chunks: it has code of flash" in line]
    assert len(refused) == 1


@pytest.mark.parametrize("size", [1000, 20])
def test_what_a_worker_refused_another_one_computes(
    size, pool, sample, counting, other_code, caplog
):
    """A worker that does not fit is alone at first: it is given all there is, and refuses it.

    Chunks have one attempt: a refusal costs none.
    """
    plan = plan_fileset(from_inputs(sample), chunk_size=size)
    settings = ExecutorSettings("dask", scheduler=pool.address)
    fit = []
    later = threading.Timer(5.0, lambda: fit.append(pool.join()))

    def ready():
        pool.join(other_code)
        later.start()

    result = execute(plan, counting(), settings, ready=ready, retry=RetryPolicy(attempts=1))
    later.join()
    tally = result.ledger.tally()
    assert (tally.chunks_done, tally.events_done) == (len(plan.items), 380)
    assert "gets no chunks: it has code of flash" in caplog.text
    assert computed(result) == set(fit)
    assert {record.attempts for record in result.ledger.records} == {1}


def test_a_worker_that_fits_and_comes_later_computes(pool, sample, counting):
    first, joined = pool.join(), []
    result = run(pool, sample, counting, lambda: joined.append(pool.join()))
    assert result.ledger.tally()[:6] == (20, 20, 0, 0, 380, 380)
    assert computed(result) == {first, *joined}


def test_a_worker_that_comes_later_proves_that_it_sees_the_output(pool, sample, counting, caplog):
    def probe(name=ELSEWHERE):
        import os

        return "it writes to another disk" if name in os.environ else None

    first = pool.join()

    def later():
        pool.join(**{ELSEWHERE: "1"})

    result = run(pool, sample, counting, later, probe=probe)
    assert result.ledger.tally()[:6] == (20, 20, 0, 0, 380, 380)
    assert computed(result) == {first}
    assert "gets no chunks: it writes to another disk" in caplog.text


def test_a_run_that_no_worker_fits_says_so(pool, sample, counting, other_code, monkeypatch):
    monkeypatch.setattr(admission, "PATIENCE", 2.0)
    told = []
    started = time.monotonic()
    result = run(pool, sample, counting, lambda: pool.join(other_code), tell=told.append)
    assert time.monotonic() - started < 120
    assert "waiting for workers (0 now)" in told
    assert result.ledger.tally().chunks_failed == 20
    (reason,) = {record.reason for record in result.ledger.failed}
    assert "no worker may run chunks; tcp://" in reason
    assert "has code of flashbrew" in reason
    # the worker is as it was
    assert pool.client.submit(sum, [1, 2]).result(20) == 3
