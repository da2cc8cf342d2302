"""Runs over input behind a real XRootD server, and what becomes of them when it goes away."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import awkward as ak
import pytest
import uproot
import yaml

DEADLINE = 120  # seconds until a run must have got somewhere
LOCAL = ("--executor", "iterative")
POOL = ("--executor", "futures", "--workers", "2")
DASK = ("--executor", "dask", "--workers", "2")


def results(output):
    """Numbers and weights of all written events by file, and the bytes of the histograms."""
    found = {}
    for path in output.glob("events/*/*.root"):
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(["event", "genWeight"], library="np")
            found[path.name] = [arrays["event"].tolist(), arrays["genWeight"].tolist()]
    return found, (output / "histograms.json").read_bytes()


def test_a_run_over_xrootd_equals_the_run_over_the_files(
    flashbrew, processors, sample, xrootd, tmp_path
):
    for path in sample:
        xrootd.add(path, f"store/{path.name}")
    command = (f"{processors}:Writing", *LOCAL, "--chunksize", 60)
    assert flashbrew(*command, *sample, "--output", tmp_path / "near")[0] == 0
    status, _, err = flashbrew(*command, xrootd.url("store"), "--output", tmp_path / "far")
    assert status == 0, err
    assert results(tmp_path / "far") == results(tmp_path / "near")
    data = json.loads((tmp_path / "far" / "report.json").read_text())["datasets"]["input"]
    assert data["events"]["written"] == 380
    assert data["chunks"]["retried"] == 0


def test_the_reader_of_the_flash_simulation_reads_what_uproot_reads(sample, xrootd):
    """It asks for baskets itself; the client refuses positions that are NumPy integers."""
    from processors.baskets import read_branch

    with uproot.open({xrootd.add(sample[0]): None}) as far, uproot.open(sample[0]) as near:
        for name in ("event", "genWeight", "GenPart_pt"):
            read = read_branch(far["Events"][name], 20, 90)
            assert ak.to_list(read) == near["Events"][name].array()[20:90].tolist()


@pytest.fixture
def start(repository, processors, tmp_path):
    """Start a run of its own in chunks of 30 events that each take a moment."""
    processes = []
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"wait": 0.2}))

    def begin(*arguments, output):
        command = [sys.executable, "run_processor.py", f"{processors}:Writing"]
        command += ["--chunksize", "30", "--config", str(file), "--output", str(output)]
        command += map(str, arguments)
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(command, cwd=repository, stdout=pipe, stderr=pipe, text=True)
        )
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ended(process, output):
    """Exit status, section of the dataset, standard error."""
    _, err = process.communicate(timeout=DEADLINE)
    assert "Traceback" not in err
    report = json.loads((output / "report.json").read_text())
    return process.returncode, report["datasets"]["input"], err


def wait_for(process, output, chunks):
    """Wait until so many chunks are done."""
    deadline = time.monotonic() + DEADLINE
    while len(list(output.glob("state/*.npz"))) < chunks:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def whole(flashbrew, processors, sample, tmp_path):
    """Results of an undisturbed run over the same files on disk."""
    output = tmp_path / "whole"
    options = (*LOCAL, "--chunksize", 30, "--output", output)
    assert flashbrew(f"{processors}:Writing", *sample, *options)[0] == 0
    return results(output)


@pytest.mark.faults
@pytest.mark.parametrize("where", [LOCAL, POOL, DASK], ids=["iterative", "futures", "dask"])
def test_a_server_that_is_restarted(start, whole, sample, xrootd, tmp_path, where):
    urls = [xrootd.add(path) for path in sample]
    output = tmp_path / "out"
    # three attempts: the last one comes 2.2 s after the first or later, see RetryPolicy.pause
    process = start(*urls, *where, "--retry-delay", "1.5", output=output)
    wait_for(process, output, 3)
    xrootd.stop()
    time.sleep(1.0)
    xrootd.start()
    status, data, err = ended(process, output)
    assert status == 0, err
    assert (data["chunks"]["done"], data["chunks"]["failed"]) == (14, 0)
    assert data["chunks"]["retried"] >= 1
    assert all("rror" in one["reason"] for one in data["recoveries"])
    assert results(output) == whole


@pytest.mark.faults
@pytest.mark.parametrize("where", [LOCAL, POOL], ids=["iterative", "futures"])
def test_a_server_that_is_gone(start, whole, sample, xrootd, tmp_path, where):
    url = xrootd.add(sample[0])
    output = tmp_path / "out"
    files = (url, sample[1])  # the second is on disk
    options = (*where, "--retries", "1", "--retry-delay", "0.1")
    process = start(*files, *options, output=output)
    wait_for(process, output, 3)
    xrootd.stop()
    status, data, err = ended(process, output)
    assert status == 3, err
    assert data["events"]["planned"] == data["events"]["read"] + data["events"]["failed"] == 380
    assert data["failures"]
    for failure in data["failures"]:
        assert (failure["file"], failure["kind"], failure["attempts"]) == (url, "transient", 2)
        assert "Connection error" in failure["reason"]
    assert f"[{url} entries" in err
    xrootd.start()
    status, data, err = ended(start(*files, *options, "--resume", output=output), output)
    assert status == 0, err
    assert results(output) == whole


@pytest.mark.faults
def test_a_server_that_was_never_there(start, sample, xrootd, tmp_path):
    url = xrootd.add(sample[0])
    xrootd.stop()
    output = tmp_path / "out"
    options = (*LOCAL, "--retries", "1", "--retry-delay", "0.1")
    status, data, err = ended(start(url, sample[1], *options, output=output), output)
    assert status == 3, err
    (file,) = data["unknown_files"]
    assert file["file"] == url
    assert f"{url} could not be opened (OSError:" in err
    assert data["events"] | {"unknown": None} == data["events"]
    assert data["events"]["written"] == 130
    assert not data["normalisation_complete"]
