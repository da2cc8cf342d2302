"""Results copied to a real XRootD server."""

from __future__ import annotations

import json
import os

import pytest
from jsonschema import Draft202012Validator

from executors.report.build import SCHEMA

LOCAL = ("--executor", "iterative", "--chunksize", 100)


def files(folder):
    """Content of all files below a folder that are for people, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "state" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture
def run(flashbrew, processors, sample, tmp_path):
    """Function that runs with output on disk and a copy elsewhere."""

    def finish(*arguments):
        output = tmp_path / "out"
        command = (f"{processors}:Drawing", *LOCAL, *sample, "--output", output, *arguments)
        status, out, err = flashbrew(*command)
        path = output / "report.json"
        report = json.loads(path.read_text()) if path.exists() else None
        if report is not None:
            Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
        return status, report, out + err

    return finish


def test_everything_for_people_arrives(run, xrootd, tmp_path):
    target = xrootd.url("store/mine")
    (xrootd.data / "store").mkdir(mode=0o777)
    (xrootd.data / "store").chmod(0o777)
    for _ in range(2):  # the second run replaces what the first one copied
        status, report, said = run("--copy-to", target)
        assert status == 0, said
        here, there = files(tmp_path / "out"), files(xrootd.data / "store" / "mine")
        assert here == there
        assert {"report.json", "histograms.json", "plots/theirs.png"} < set(there)
        assert report["copied"] == {
            "to": target,
            "files": len(here) - 1,
            "bytes": sum(map(len, here.values())) - len(here["report.json"]),
            "failed": [],
        }
        assert not list(xrootd.data.rglob(".*"))


def test_what_cannot_be_copied_is_named(run, xrootd, tmp_path):
    place = xrootd.data / "mine" / "histograms.json"
    (place / "in_the_way").mkdir(parents=True)  # a directory where a file should go
    for path in (place.parent, place):
        path.chmod(0o777)
    status, report, said = run("--copy-to", xrootd.url("mine"), "--retry-delay", "0.01")
    assert status == report["exit"]["status"] == 1, said
    (failure,) = report["copied"]["failed"]
    assert failure["file"] == "histograms.json"
    assert "1 files were not copied" in said
    there = files(place.parent)
    assert json.loads(there["report.json"]) == report
    (place / "in_the_way").rmdir()
    place.rmdir()
    status, report, said = run("--copy-to", xrootd.url("mine"), "--resume")
    assert (status, report["resume"]["missing"]) == (0, 0), said
    assert files(place.parent) == files(tmp_path / "out")


def test_a_place_that_cannot_be_written_ends_a_run_before_it_begins(run, xrootd, tmp_path):
    closed = xrootd.data / "closed"
    closed.mkdir(mode=0o500)
    os.chown(closed, os.geteuid(), os.getegid())
    if os.geteuid() != 0:
        pytest.skip("the server runs as this user, who may write what is his")
    status, report, said = run("--copy-to", xrootd.url("closed/mine"), "--retries", "0")
    assert (status, report) == (2, None)
    assert f"--copy-to {xrootd.url('closed/mine')} cannot be written" in said


@pytest.mark.parametrize("url", ["/tmp/x", "https://host/x", "root://", "root://host//"])
def test_other_places_are_refused(run, url):
    status, report, said = run("--copy-to", url)
    assert (status, report) == (2, None)
    assert "--copy-to must look like root://HOST//DIRECTORY" in said


def test_output_stays_on_disk(flashbrew, processors, sample):
    output = "root://host.example//store"
    status, _, err = flashbrew(f"{processors}:Counting", *LOCAL, *sample, "--output", output)
    assert status == 2
    assert "--copy-to root://HOST//DIRECTORY" in err
