"""A run over input behind a real web server."""

from __future__ import annotations

import json
import shutil

import uproot

from tests.executors.webserver import WebServer

LOCAL = ("--executor", "iterative", "--chunksize", 60)


def results(output):
    """Event numbers of all written events by file, and the bytes of the histograms."""
    found = {}
    for path in output.glob("events/*/*.root"):
        with uproot.open(path) as file:
            found[path.name] = file["Events"]["event"].array().tolist()
    return found, (output / "histograms.json").read_bytes()


def test_a_run_over_http_equals_the_run_over_the_files(flashbrew, processors, sample, tmp_path):
    for path in sample:
        shutil.copy(path, tmp_path)
    command = (f"{processors}:Writing", *LOCAL)
    assert flashbrew(*command, *sample, "--output", tmp_path / "near")[0] == 0
    with WebServer(tmp_path) as server:
        urls = [server.url(path.name) for path in sample]
        # files for the plan, then a busy server in the middle of the run
        server.answers = {12: 503}
        status, _, err = flashbrew(*command, *urls, "--output", tmp_path / "far")
    assert status == 0, err
    assert results(tmp_path / "far") == results(tmp_path / "near")
    data = json.loads((tmp_path / "far" / "report.json").read_text())["datasets"]["input"]
    assert (data["events"]["written"], data["chunks"]["retried"]) == (380, 1)
    assert "ClientResponseError" in data["recoveries"][0]["reason"]
