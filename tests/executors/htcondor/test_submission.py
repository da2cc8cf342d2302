"""What becomes of a run when condor_submit fails, with jobs that are processes of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from executors.dask.cluster import open_pool
from executors.errors import ConfigurationError
from executors.htcondor import watch as watch_module
from executors.htcondor.sites import load_site
from executors.settings import ExecutorSettings
from tests.executors.htcondor.commands import Commands

pytestmark = pytest.mark.xdist_group("dask")
REFUSED = "condor_submit failed: ERROR: Failed to connect to local queue manager SECMAN:2007"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    made = Commands(tmp_path / "condor")
    monkeypatch.setenv("PATH", made.environment()["PATH"])
    yield made
    made.stop()


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(f"log_directory: {tmp_path}/logs\nmemory: 500 MB\n")
    return path


def settings(site, workers):
    return ExecutorSettings("htcondor", workers=workers, site=load_site(str(site)), insecure=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_pool_that_takes_no_job_is_one_sentence(commands, site, workers, capfd):
    commands.fail("all")
    with pytest.raises(ConfigurationError) as caught, open_pool(settings(site, workers)):
        pass
    assert str(caught.value) == f"{REFUSED}; --dry-run shows what it got"
    assert commands.tried == workers
    assert capfd.readouterr().err == ""


def test_a_job_that_was_not_submitted_is_submitted_again(commands, site, monkeypatch, capfd):
    monkeypatch.setattr(watch_module, "INTERVAL", 0.2)
    commands.fail(2, 3)
    with open_pool(settings(site, 2)) as (client, watch):
        client.wait_for_workers(2, timeout=60)
        assert watch.problem is None
    assert commands.tried == 4
    assert "Traceback" not in capfd.readouterr().err


def test_a_pool_that_takes_no_further_job_keeps_what_it_has(commands, site, monkeypatch):
    monkeypatch.setattr(watch_module, "INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "LONGEST", 0.05)
    commands.fail(*range(2, 200))
    with open_pool(settings(site, 2)) as (client, watch):
        tried, deadline = commands.tried, time.monotonic() + 30
        while commands.tried < tried + 2 * (watch_module.FIRST_CHANCES + 1):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.submit(sum, [1, 2]).result(20) == 3
        assert watch.problem is None


def test_a_run_that_is_stopped_among_failing_jobs_ends_clean(
    commands, site, repository, sample, tmp_path
):
    commands.fail(1)  # the other job never becomes a worker
    site.write_text(f"{site.read_text()}prologue: ['sleep 100']\n")
    processor = repository / "tests" / "executors" / "counting.py"
    command = [sys.executable, "run_processor.py", f"{processor}:Counting", str(sample[0])]
    command += ["--executor", "htcondor", "--workers", "2", "--site", str(site), "--insecure"]
    started = subprocess.Popen(
        [*command, "--output", str(tmp_path / "out")],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=commands.environment(),
    )
    while commands.tried < 2 and started.poll() is None:
        time.sleep(0.1)
    time.sleep(2)
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=30)
    assert started.returncode == 130, err
    assert REFUSED in err
    assert "Traceback" not in err
    assert "internal error" not in err
