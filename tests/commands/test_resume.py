"""Runs that go on where an earlier one ended."""

from __future__ import annotations

import errno
import json

import pytest
import uproot
import yaml

from executors.dask.casa import SECRETS_VARIABLE
from executors.settings import CASA_VARIABLE

LOCAL = ("--executor", "iterative")


@pytest.fixture
def run(flashbrew, processors, sample, tmp_path):
    """Run the counting processor over five chunks; returns status, report, standard error."""

    def start(*arguments, output="out", processor=f"{processors}:Counting", where=LOCAL, **config):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"once": str(tmp_path)} | config))
        place = tmp_path / output
        command = (processor, *where, "--chunksize", 100, *sample, "--config", file)
        status, _, err = flashbrew(*command, "--output", place, *arguments)
        report = json.loads((place / "report.json").read_text()) if status != 2 else None
        return status, report, err

    return start


def content(output):
    """Bytes of the histograms and of all outputs."""
    files = [output / "histograms.json", *sorted((output / "events").rglob("*.root"))]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def sums(report):
    counters = report["datasets"]["input"]["counters"]
    weights = report["datasets"]["input"]["sum_genweight"]["read"]
    return counters["event numbers"], counters["objects.GenPart.in"], weights


def age_of(output):
    return {path.name: path.stat().st_mtime_ns for path in output.glob("events/*/*")}


@pytest.fixture
def whole(run, tmp_path):
    """A run that nothing disturbed."""
    status, report, _ = run(output="whole", fail_at=-1)
    assert status == 0
    return content(tmp_path / "whole"), sums(report)


@pytest.mark.parametrize("where", [LOCAL, ("--executor", "futures", "--workers", 2)], ids=str)
def test_an_interrupted_run_goes_on(run, whole, tmp_path, where):
    arguments = {"fail_at": 220, "action": "interrupt"}
    status, report, _ = run(**arguments)
    assert status == 130
    assert report["datasets"]["input"]["chunks"]["done"] == 2
    before = age_of(tmp_path / "out")
    assert len(before) == 2
    status, report, err = run("--resume", where=where, **arguments)
    assert status == 0, err
    chunks = report["datasets"]["input"]["chunks"]
    assert chunks == {"planned": 5, "done": 5, "reused": 2, "retried": 0, "failed": 0}
    assert report["resume"]["missing"] == 3
    assert (content(tmp_path / "out"), sums(report)) == whole
    after = age_of(tmp_path / "out")
    assert {name: after[name] for name in before} == before


def test_only_what_failed_is_computed_again(run, whole, tmp_path):
    status, report, _ = run("--retries", 0, fail_at=220)
    assert status == 3
    assert report["datasets"]["input"]["failures"][0]["attempts"] == 1
    status, report, _ = run("--resume", "--retries", 0, fail_at=220)
    assert status == 0
    assert report["datasets"]["input"]["chunks"]["reused"] == 4
    assert (content(tmp_path / "out"), sums(report)) == whole


def test_what_passes_is_retried_and_counted(run, whole, tmp_path):
    status, report, err = run(fail_at=[20, 220])
    assert status == 0
    data = report["datasets"]["input"]
    assert data["chunks"] == {"planned": 5, "done": 5, "reused": 0, "retried": 2, "failed": 0}
    assert [(place["start"], place["attempts"]) for place in data["recoveries"]] == [
        (0, 2),
        (200, 2),
    ]
    assert data["recoveries"][0]["reason"] == "OSError: the disk went away"
    assert (content(tmp_path / "out"), sums(report)) == whole
    assert "Traceback" not in err


def test_a_finished_run_is_not_computed_again(run, whole, tmp_path):
    before = age_of(tmp_path / "whole")
    status, report, _ = run("--resume", output="whole", fail_at=-1)
    assert status == 0
    assert report["datasets"]["input"]["chunks"]["reused"] == 5
    assert report["time"]["events_per_second"] == 0
    assert (content(tmp_path / "whole"), sums(report)) == whole
    assert age_of(tmp_path / "whole") == before


def test_damage_is_found_and_computed_again(run, whole, tmp_path):
    output = tmp_path / "whole"
    states = sorted((output / "state").glob("*.npz"))
    assert len(states) == 5
    states[0].write_bytes(states[0].read_bytes()[:-30])
    states[1].unlink()
    outputs = sorted(output.glob("events/*/*"))
    status, report, err = run("--resume", output="whole", fail_at=-1)
    assert status == 0
    counts = report["resume"]
    assert (counts["reused"], counts["damaged"], counts["missing"]) == (3, 1, 1)
    assert "1 chunks: their state files are damaged" in err
    outputs[2].write_bytes(b"")
    outputs[3].unlink()
    status, report, err = run("--resume", output="whole", fail_at=-1)
    assert (status, report["resume"]["reused"], report["resume"]["outputs_gone"]) == (0, 3, 2)
    assert (content(output), sums(report)) == whole


@pytest.mark.parametrize(
    ("arguments", "config", "why"),
    [
        (("--seed", 2), {}, "seed (1, now 2)"),
        (("--oversample", 2), {}, "oversample (1, now 2)"),
        ((), {"wait": 0.001}, "configuration"),
    ],
)
def test_results_of_another_run_are_not_used(run, whole, tmp_path, arguments, config, why):
    status, report, err = run("--resume", *arguments, output="whole", **{"fail_at": -1} | config)
    assert status == 0
    assert (report["resume"]["stale"], report["resume"]["reused"]) == (5, 0)
    assert report["datasets"]["input"]["chunks"]["reused"] == 0
    assert f"5 chunks: stored by a run with another {why}" in err


def test_changed_code_makes_results_stale(run, processors, tmp_path):
    file = tmp_path / "mine.py"
    with open(processors, encoding="utf-8") as source:
        file.write_text(source.read())
    assert run(processor=f"{file}:Counting", fail_at=-1)[0] == 0
    assert run("--resume", processor=f"{file}:Counting", fail_at=-1)[1]["resume"]["reused"] == 5
    file.write_text(file.read_text().replace("Reg(20, 0, 100", "Reg(25, 0, 100"))
    status, report, err = run("--resume", processor=f"{file}:Counting", fail_at=-1)
    assert status == 0
    assert report["resume"]["stale"] == 5
    assert "another code" in err


def test_another_bundle_makes_results_stale(run, tmp_path):
    bundle = tmp_path / "bundle"
    bundle.write_text("one")
    assert run("--bundle", bundle, fail_at=-1)[0] == 0
    moved = bundle.rename(tmp_path / "moved")
    assert run("--bundle", moved, "--resume", fail_at=-1)[1]["resume"]["reused"] == 5
    moved.write_text("two")
    assert "another bundles" in run("--bundle", moved, "--resume", fail_at=-1)[2]


def test_another_chunk_size_shares_nothing(run, whole):
    status, report, err = run("--resume", "--chunksize", 80, output="whole", fail_at=-1)
    assert status == 0
    assert report["resume"]["unused"] == 5
    assert report["resume"]["missing"] == report["datasets"]["input"]["chunks"]["planned"] == 6
    assert "5 stored results are of chunks that are not planned now" in err


def test_without_resume_everything_is_computed(run, whole, tmp_path):
    before = age_of(tmp_path / "whole")
    status, report, _ = run(output="whole", fail_at=-1)
    assert status == 0
    assert report["resume"] is None
    after = age_of(tmp_path / "whole")
    assert all(after[name] > before[name] for name in before)


def test_a_first_run_may_be_a_resumed_one(run, whole, tmp_path):
    status, report, _ = run("--resume", fail_at=-1)
    assert (status, report["resume"]["missing"]) == (0, 5)
    assert (content(tmp_path / "out"), sums(report)) == whole


def test_a_file_that_vanishes_midway(run, whole, sample, tmp_path):
    kept = sample[1].with_name("kept.root")
    kept.write_bytes(sample[1].read_bytes())
    try:
        status, report, err = run(fail_at=120, action="vanish", victim=str(sample[1]))
        assert status == 3
        failures = report["datasets"]["input"]["failures"]
        assert [(place["start"], place["kind"], place["attempts"]) for place in failures] == [
            (0, "permanent", 1),
            (100, "permanent", 1),
        ]
        assert "No such file" in failures[0]["reason"] or "not found" in failures[0]["reason"]
        assert str(sample[1]) in err
    finally:
        kept.rename(sample[1])
    arguments = {"fail_at": 120, "action": "vanish", "victim": str(sample[1])}
    status, report, _ = run("--resume", **arguments)
    assert (status, report["resume"]["reused"]) == (0, 3)
    assert (content(tmp_path / "out"), sums(report)) == whole


def test_storage_that_fails_now_and_then(run, whole, tmp_path, monkeypatch):
    real, calls = uproot.open, []

    def flaky(*arguments, **options):
        calls.append(None)
        if len(calls) % 2 == 0:
            raise OSError(errno.EIO, "input/output error")
        return real(*arguments, **options)

    monkeypatch.setattr(uproot, "open", flaky)
    status, report, _ = run("--look-again", fail_at=-1)
    assert status == 0
    assert report["datasets"]["input"]["chunks"]["retried"] >= 1
    assert "could only be opened at attempt 2" in report["notes"][0]
    assert (content(tmp_path / "out"), sums(report)) == whole


def test_a_worker_that_is_killed_costs_one_attempt(run, whole, tmp_path):
    where = ("--executor", "futures", "--workers", 2)
    status, report, _ = run(where=where, fail_at=220, action="die")
    assert status == 0
    data = report["datasets"]["input"]
    assert data["chunks"] == {"planned": 5, "done": 5, "reused": 0, "retried": 1, "failed": 0}
    assert "a worker process died" in data["recoveries"][0]["reason"]
    assert (content(tmp_path / "out"), sums(report)) == whole


@pytest.mark.xdist_group("dask")
def test_a_run_on_coffea_casa_is_shown_and_resumed(
    run, flashbrew, tmp_path, tls_scheduler, certificates, monkeypatch
):
    monkeypatch.setenv(CASA_VARIABLE, tls_scheduler)
    monkeypatch.setenv(SECRETS_VARIABLE, str(certificates.ca.parent))
    where = ("--executor", "casa")
    assert run(where=where)[0] == 0
    assert flashbrew("report", tmp_path / "out")[0] == 0
    status, report, err = run("--resume", where=where)
    assert status == 0, err
    assert report["executor"]["kind"] == "casa"
    assert report["datasets"]["input"]["chunks"]["reused"] == 5
