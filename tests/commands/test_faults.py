"""Faults while a run goes on: in the end all events are there, as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import uproot
import yaml

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
DEADLINE = 120  # seconds until a run must have got somewhere


@pytest.fixture
def start(repository, processors, sample, tmp_path):
    """Start a run of its own over 13 chunks that each write their events."""
    processes = []

    def begin(*arguments, output, where, **config):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"once": str(tmp_path)} | config))
        command = [sys.executable, "run_processor.py", f"{processors}:Writing", *map(str, sample)]
        command += ["--chunksize", "30", "--config", str(file), "--output", str(output)]
        command += [*where, "--retry-delay", "0.05", *map(str, arguments)]
        processes.append(
            subprocess.Popen(
                command,
                cwd=repository,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def run(start):
    def finish(*arguments, output, where, **config):
        process = start(*arguments, output=output, where=where, **config)
        _, err = process.communicate(timeout=500)
        return process.returncode, json.loads((output / "report.json").read_text()), err

    return finish


LOCAL = ("--executor", "iterative")
POOL = ("--executor", "futures", "--workers", "2")
DASK = ("--executor", "dask", "--workers", "2")


def events(output):
    """Numbers and weights of all written events, in the order of the files' names."""
    found = []
    for path in output.rglob("events/**/*.root"):
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(["event", "genWeight"], library="np")
            found += zip(arrays["event"].tolist(), arrays["genWeight"].tolist(), strict=True)
    return sorted(found), (output / "histograms.json").read_bytes()


@pytest.fixture
def whole(run, tmp_path):
    status, _, err = run(output=tmp_path / "whole", where=LOCAL, fail_at=-1)
    assert status == 0, err
    return events(tmp_path / "whole")


def forget(output):
    """Let the lock of a killed run look old: nobody can know sooner than after 60 s."""
    then = time.time() - 70
    os.utime(output / ".flashbrew.lock", (then, then))


@pytest.mark.parametrize("where", [POOL, DASK], ids=["futures", "dask"])
def test_every_third_chunk_kills_its_worker(run, whole, tmp_path, where):
    output = tmp_path / "out"
    dying = [95, 185, 255, 345]
    status, report, err = run(output=output, where=where, fail_at=dying, action="die")
    assert status == 0, err
    chunks = report["datasets"]["input"]["chunks"]
    assert (chunks["done"], chunks["failed"]) == (14, 0)
    assert chunks["retried"] == 4
    assert events(output) == whole


@pytest.mark.parametrize("where", [POOL, DASK], ids=["futures", "dask"])
def test_a_chunk_that_always_kills_its_worker(run, whole, tmp_path, where):
    output = tmp_path / "out"
    gone = {"fail_at": 95, "action": "die", "once": None}
    status, report, err = run("--merge", "dataset", output=output, where=where, **gone)
    assert status == 3, err
    data = report["datasets"]["input"]
    assert (data["chunks"]["done"], data["events"]["failed"]) == (13, 30)
    (failure,) = data["failures"]
    assert (failure["start"], failure["kind"]) == (90, "lost")
    assert failure["attempts"] >= 3
    assert "worker" in failure["reason"]
    assert data["merged"]["events"] == 350


def test_a_worker_killed_from_outside(start, whole, tmp_path):
    import psutil

    output = tmp_path / "out"
    # every one of the three deaths may meet the same chunk
    process = start("--retries", 3, output=output, where=POOL, fail_at=-1, wait=0.3)
    deadline = time.monotonic() + DEADLINE
    killed = 0
    while process.poll() is None and killed < 3:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        if len(list(output.glob("state/*.npz"))) > 2 * killed:
            children = psutil.Process(process.pid).children(recursive=True)
            commands = {child: " ".join(child.cmdline()) for child in children}
            workers = [child for child, said in commands.items() if "popen_loky" in said]
            if workers:
                workers[0].kill()
                killed += 1
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert killed >= 1
    assert events(output) == whole


@pytest.mark.parametrize("where", [LOCAL, POOL, DASK], ids=["iterative", "futures", "dask"])
@pytest.mark.parametrize("merge", ["none", "dataset"])
def test_a_client_that_is_killed(start, run, whole, tmp_path, where, merge):
    output = tmp_path / "out"
    options = {"output": output, "where": where, "fail_at": -1, "wait": 0.2}
    process = start("--merge", merge, **options)
    deadline = time.monotonic() + DEADLINE
    while len(list(output.glob("state/*.npz"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stored = len(list(output.glob("state/*.npz")))
    forget(output)
    status, report, err = run("--merge", merge, "--resume", **options)
    assert status == 0, err
    # what was stored is used: no more is lost than the chunks in flight
    assert report["resume"]["reused"] >= stored - report["resume"]["damaged"]
    assert report["resume"]["damaged"] == 0
    assert events(output) == whole


def test_a_worker_over_its_memory_limit(run, whole, tmp_path, monkeypatch):
    """Dask's nanny kills it; the chunk runs again somewhere."""
    import dask.system
    import psutil
    from distributed.system import MEMORY_LIMIT

    assert psutil.virtual_memory().total >= MEMORY_LIMIT
    each = MEMORY_LIMIT / dask.system.CPU_COUNT  # what LocalCluster gives a worker of one thread
    # above what a worker needs, far below what the machine has
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE", str(1.2e9 / each))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE", "false")
    output = tmp_path / "out"
    greedy = {"fail_at": 95, "action": "eat", "appetite": 2_000_000_000}
    status, report, err = run(output=output, where=DASK, **greedy)
    assert status == 0, err
    chunks = report["datasets"]["input"]["chunks"]
    assert (chunks["done"], chunks["failed"]) == (14, 0)
    assert chunks["retried"] >= 1
    assert events(output) == whole


@pytest.fixture
def scheduler(repository, tmp_path):
    """Function that starts a scheduler with two workers; it is killed by killing its group."""
    processes = []

    def begin():
        place = tmp_path / f"scheduler{len(processes)}.json"
        local = ["--scheduler-file", str(place)]
        python = [sys.executable, "-m"]
        commands = [
            [
                *python,
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
                *local,
            ],
            [
                *python,
                "distributed.cli.dask_worker",
                "--nworkers",
                "2",
                "--nthreads",
                "1",
                "--no-dashboard",
                *local,
            ],
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.extend(
            subprocess.Popen(command, cwd=repository, start_new_session=True, **quiet)
            for command in commands
        )
        deadline = time.monotonic() + DEADLINE
        while not place.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return json.loads(place.read_text())["address"], processes[-2:]

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_scheduler_that_is_lost(start, run, whole, scheduler, tmp_path):
    output = tmp_path / "out"
    address, processes = scheduler()
    options = {"output": output, "fail_at": -1, "wait": 0.3}
    running = start(where=("--executor", "dask", "--scheduler", address), **options)
    deadline = time.monotonic() + DEADLINE
    while len(list(output.glob("state/*.npz"))) < 5:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
    _, err = running.communicate(timeout=DEADLINE)
    assert running.returncode in (1, 3, 4), err
    assert "Traceback" not in err
    report = json.loads((output / "report.json").read_text())
    counted = report["datasets"]["input"]["events"]
    assert counted["read"] + counted["failed"] == counted["planned"] == 380
    stored = len(list(output.glob("state/*.npz")))
    address, _ = scheduler()
    status, report, err = run(
        "--resume", where=("--executor", "dask", "--scheduler", address), **options
    )
    assert status == 0, err
    assert report["resume"]["reused"] == stored
    assert events(output) == whole


def test_a_full_disk(run, whole, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        status, report, err = run(output=output, where=LOCAL, fail_at=-1)
        assert status in (1, 3)
        assert "No space left on device" in err
        assert "Traceback" not in err
        assert not list(output.rglob("*.part"))
        for path in output.rglob("events/**/*.root"):  # no half file
            with uproot.open(path) as file:
                assert file["Events"].num_entries > 0
        subprocess.run(["mount", "-o", "remount,size=8m", str(output)], check=True)
        status, report, err = run("--resume", output=output, where=LOCAL, fail_at=-1)
        assert status == 0, err
        assert report["resume"]["reused"] >= 1
        assert events(output) == whole
    finally:
        subprocess.run(["umount", str(output)], check=True)
