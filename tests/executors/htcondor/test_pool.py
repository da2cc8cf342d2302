"""A run over a real HTCondor pool of one machine; `make test-htcondor` starts it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.htcondor, pytest.mark.slow, pytest.mark.xdist_group("htcondor")]
HOME = "/home/brewer"
SAMPLE = "samples/data/ttbar.root"
AMOUNT = ("--max-chunks", "2", "--chunksize", "500", "--config", f"{HOME}/undrawn.yaml")


class Pool:
    """What tests do with the pool: run inside, look at the ordinary user's files."""

    def __init__(self, script):
        self.script = script
        root = Path(os.environ.get("MINICONDOR_ROOT", "/var/lib/flashbrew-minicondor"))
        self.home = root / HOME.lstrip("/")

    def start(self, *command):
        return subprocess.Popen(
            [self.script, "run", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command, status=0):
        process = self.start(*command)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == status, output
        return output

    def queue(self, *attributes):
        return [
            line.split() for line in self.run("condor_q", "-af:j", *attributes).splitlines() if line
        ]

    def report(self, name):
        return json.loads((self.home / name / "report.json").read_text())

    def events(self, name):
        """What was written, by the entries of the chunk; names hold a uuid that is the file's."""
        paths = sorted((self.home / name / "events").glob("*/*.root"))
        return {path.name: path for path in paths}


@pytest.fixture(scope="module")
def pool(repository):
    if not os.environ.get("FLASHBREW_HTCONDOR"):
        pytest.skip("no HTCondor pool; `make test-htcondor` starts one (needs root and a mirror)")
    script = repository / "condor" / "minicondor.sh"
    subprocess.run([script, "status"], check=True, capture_output=True)
    pool = Pool(script)
    # a hundred figures would take as long as everything else
    (pool.home / "undrawn.yaml").write_text("histograms: false\n")
    pool.run(
        "rm",
        "-rf",
        *(f"{HOME}/{name}" for name in ("pooled", "plain", "driving", "alone", "killed", "sleepy")),
    )
    yield pool
    assert pool.queue("JobStatus") == []


@pytest.fixture(scope="module")
def alone(pool):
    """The same events in one process."""
    command = ("python", "run_processor.py", "flashsim", SAMPLE, *AMOUNT)
    pool.run(*command, "--executor", "iterative", "--output", f"{HOME}/alone")
    return pool


def same_events(first, second):
    import numpy as np
    import uproot

    assert list(first) == list(second)
    assert len(first) == 2
    for name, path in first.items():
        with uproot.open(path) as one, uproot.open(second[name]) as other:
            left, right = one["Events"].arrays(library="np"), other["Events"].arrays(library="np")
        assert set(left) == set(right)
        for key, column in left.items():
            for a, b in zip(column, right[key], strict=True):
                np.testing.assert_array_equal(a, b, err_msg=key)


def test_a_run_over_the_pool_writes_the_same_events(alone):
    pool = alone
    command = ("python", "run_processor.py", "flashsim", SAMPLE, *AMOUNT, "--executor", "htcondor")
    pool.run(*command, "--workers", "2", "--output", f"{HOME}/pooled")
    report = pool.report("pooled")
    assert report["exit"]["status"] == 0
    assert report["executor"]["kind"] == "htcondor"
    same_events(pool.events("alone"), pool.events("pooled"))
    assert "exit status 0" in pool.run("python", "run_processor.py", "report", f"{HOME}/pooled")
    again = pool.run(*command, "--workers", "2", "--output", f"{HOME}/pooled", "--resume")
    assert "2 of 2 chunks are there already" in again
    assert pool.report("pooled")["executor"]["kind"] == "htcondor"
    # credentials of the run are gone, logs of both jobs are there
    assert list((pool.home / ".flashbrew").glob("run-*")) == []
    assert len(list((pool.home / ".flashbrew" / "logs").glob("worker-*.err"))) >= 2
    assert pool.queue("JobStatus") == []


def test_plain_jobs_write_the_same_events(alone, repository):
    pool = alone
    pool.run("mkdir", f"{HOME}/plain")
    (pool.home / "plain" / "files.txt").write_text(f"{repository / SAMPLE}\n")
    started = time.monotonic()
    python = pool.run("sh", "-c", "command -v python").strip()
    assignments = (f"home={repository}", f"python={python}", f"list={HOME}/plain/files.txt")
    more = (f"results={HOME}/plain", f"more={' '.join(AMOUNT)}")
    pool.run("condor_submit", *assignments, *more, "condor/files.sub")
    while pool.queue("JobStatus"):
        assert time.monotonic() < started + 150
        time.sleep(1)
    assert pool.report("plain/0")["exit"]["status"] == 0
    same_events(pool.events("alone"), pool.events("plain/0"))


def test_a_job_outlasts_the_lock_that_a_hard_kill_left(alone, repository):
    pool = alone
    results = pool.home / "killed"
    pool.run("mkdir", "-p", f"{HOME}/killed/0")
    (results / "files.txt").write_text(f"{repository / SAMPLE}\n")
    lock = results / "0" / ".flashbrew.lock"
    pool.run("sh", "-c", f"echo '{{}}' > {HOME}/killed/0/.flashbrew.lock")
    silent = time.time() - 50
    os.utime(lock, (silent, silent))
    python = pool.run("sh", "-c", "command -v python").strip()
    names = (f"home={repository}", f"python={python}", f"list={HOME}/killed/files.txt")
    more = (f"results={HOME}/killed", f"more={' '.join(AMOUNT)}")
    started = time.monotonic()
    pool.run("condor_submit", *names, *more, "condor/files.sub")
    while pool.queue("JobStatus"):
        assert time.monotonic() < started + 150
        time.sleep(1)
    assert pool.report("killed/0")["exit"]["status"] == 0
    same_events(pool.events("alone"), pool.events("killed/0"))


def test_a_run_that_is_a_job_itself_drives_its_pool(alone, repository):
    pool = alone
    pool.run("mkdir", f"{HOME}/driving")
    fileset = {"input": {"files": {str(repository / SAMPLE): "Events"}}}
    (pool.home / "driving" / "fileset.json").write_text(json.dumps(fileset))
    python = pool.run("sh", "-c", "command -v python").strip()
    names = (f"home={repository}", f"python={python}", f"inputs={HOME}/driving/fileset.json")
    more = (f"results={HOME}/driving/out", "workers=1", f"more={' '.join(AMOUNT)}")
    started = time.monotonic()
    pool.run("condor_submit", *names, *more, "condor/pool.sub")
    while pool.queue("JobStatus"):
        assert time.monotonic() < started + 200
        time.sleep(1)
    report = pool.report("driving/out")
    assert (report["exit"]["status"], report["executor"]["kind"]) == (0, "htcondor")
    same_events(pool.events("alone"), pool.events("driving/out"))


@pytest.mark.parametrize(
    ("given", "gpus", "device"), [((), "1", "cuda"), (("gpus=0",), "0", "cpu")]
)
def test_training_asks_for_the_gpu_that_it_uses(pool, repository, given, gpus, device):
    names = (f"home={repository}", "inputs=in.json", f"bundle={HOME}/bundle", *given)
    pool.run("condor_submit", "-dry-run", f"{HOME}/train.ad", *names, "condor/train.sub")
    ad = (pool.home / "train.ad").read_text()
    assert f"RequestGPUs={gpus}\n" in ad
    assert f"--device {device}" in ad


@pytest.mark.parametrize("name", ["files.sub", "pool.sub", "train.sub"])
def test_jobs_get_the_credentials_of_who_submits(pool, repository, name):
    given = ("X509_USER_PROXY=/home/me/.proxy", "BEARER_TOKEN_FILE=/home/me/token")
    pool.run("sh", "-c", f"echo a.root > {HOME}/list")
    names = (f"home={repository}", "inputs=in.json", f"list={HOME}/list")
    more = (f"bundle={HOME}/bundle", f"results={HOME}/results")
    dry = ("condor_submit", "-dry-run", f"{HOME}/credentials.ad", *names, *more)
    for variables in (given, ()):
        pool.run("env", *variables, *dry, f"condor/{name}")
        (line,) = (
            line
            for line in (pool.home / "credentials.ad").read_text().splitlines()
            if line.startswith("Environment=")
        )
        assert [text in line for text in given] == [bool(variables)] * 2
        assert variables or "X509_USER_PROXY" not in line


def sleepy(repository, write_events, pool, name, *more):
    """Start 20 chunks of one second each on two jobs."""
    path = write_events(pool.home / f"{name}.root", 200)
    path.chmod(0o644)
    processor = repository / "tests" / "executors" / "sleepy.py"
    command = ("python", "run_processor.py", f"{processor}:Sleepy", f"{HOME}/{name}.root")
    where = ("--executor", "htcondor", "--workers", "2", "--output", f"{HOME}/sleepy/{name}")
    return pool.start(*command, "--chunksize", "10", *where, *more)


def accounted_for(process, pool, name):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    data = pool.report(f"sleepy/{name}")["datasets"]["input"]
    assert data["events"]["planned"] == data["events"]["read"] == 200
    assert data["counters"]["event numbers"] == sum(range(200))
    assert pool.queue("JobStatus") == []


@pytest.mark.faults
def test_a_job_removed_in_the_middle_costs_no_event(pool, repository, write_events):
    process = sleepy(repository, write_events, pool, "removed")
    report = pool.home / "sleepy" / "removed" / "report.json"
    deadline = time.monotonic() + 60
    while not report.exists() or len(pool.queue("JobStatus")) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.5)
    time.sleep(3)  # chunks take a second: some are done, some run
    (first, _), *_ = pool.queue("JobStatus")
    pool.run("condor_rm", first)
    accounted_for(process, pool, "removed")


@pytest.mark.faults
def test_a_job_that_dies_before_it_registers_is_submitted_again(pool, repository, write_events):
    site = pool.home / "dies_once.yaml"
    # of all jobs one alone makes the folder, and ends there
    site.write_text(f"prologue: ['mkdir {HOME}/sleepy/once && exit 1']\n")
    process = sleepy(
        repository, write_events, pool, "died", "--site", f"{HOME}/dies_once.yaml", "-v"
    )
    accounted_for(process, pool, "died")
    assert (pool.home / "sleepy" / "once").is_dir()


@pytest.mark.faults
def test_a_pool_whose_jobs_all_die_is_one_sentence(pool, repository, write_events):
    site = pool.home / "dies.yaml"
    site.write_text("prologue: ['exit 1']\nlog_directory: ~/logs\n")
    process = sleepy(repository, write_events, pool, "hopeless", "--site", f"{HOME}/dies.yaml")
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 2, output
    assert "jobs ended without becoming a worker, the last: it left the queue" in output
    assert pool.queue("JobStatus") == []
