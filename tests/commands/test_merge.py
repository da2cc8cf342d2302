"""Joined output files from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uproot
import yaml

LOCAL = ("--executor", "iterative")
CHUNK = "????????-*_*-*.root"


@pytest.fixture
def run(flashbrew, processors, sample, tmp_path):
    def start(*arguments, **config):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"once": str(tmp_path)} | config))
        command = (f"{processors}:Writing", *LOCAL, "--chunksize", 100, "--retries", 0, *sample)
        place = ("--config", file, "--output", tmp_path / "out")
        status, _, err = flashbrew(*command, *place, *arguments)
        return status, json.loads((tmp_path / "out" / "report.json").read_text()), err

    return start


@pytest.fixture
def events(tmp_path):
    return tmp_path / "out" / "events"


def read(path):
    """Event numbers, sums of Runs."""
    with uproot.open(path) as file:
        runs = file["Runs"]["sum"].array().tolist() if "Runs" in file else []
        return file["Events"]["event"].array().tolist(), runs


def test_one_file_per_dataset(run, events):
    status, report, err = run("--merge", "dataset")
    assert status == 0, err
    assert [path.name for path in events.rglob("*.root")] == ["input.root"]
    assert read(events / "input.root") == (list(range(380)), [7.5, 7.5])
    data = report["datasets"]["input"]
    assert data["outputs"] == ["events/input.root"]
    assert data["merged"] == {"files": 1, "events": 380, "chunks": 5}
    with uproot.open(events / "input.root") as file:
        sources = json.loads(file["flashbrew"])["sources"]
    assert sorted(sources.values()) == [[[0, 130]], [[0, 250]]]


def test_one_file_per_input(run, events):
    status, report, _ = run("--merge", "file")
    assert status == 0
    first, second = sorted(events.rglob("*.root"))
    assert first.name.startswith("a_")
    assert read(first) == (list(range(250)), [7.5])
    assert read(second) == (list(range(250, 380)), [7.5])
    assert report["datasets"]["input"]["merged"]["files"] == 2


def test_a_joined_run_is_resumed_from_its_joined_file(run, events):
    status, report, _ = run("--merge", "dataset", fail_at=120)
    assert status == 3
    assert read(events / "input.root")[0] == [*range(100), *range(200, 380)]
    assert report["datasets"]["input"]["merged"] == {"files": 1, "events": 280, "chunks": 4}
    status, report, err = run("--merge", "dataset", "--resume", fail_at=120)
    assert status == 0, err
    assert report["resume"]["reused"] == 4
    assert report["datasets"]["input"]["merged"] == {"files": 1, "events": 380, "chunks": 5}
    assert read(events / "input.root") == (list(range(380)), [7.5, 7.5])
    before = (events / "input.root").stat().st_mtime_ns
    status, report, _ = run("--merge", "dataset", "--resume", fail_at=120)
    assert (status, report["resume"]["reused"]) == (0, 5)
    assert (events / "input.root").stat().st_mtime_ns == before


def test_another_way_of_joining_needs_no_chunk_again(run, events):
    assert run("--merge", "dataset")[0] == 0
    status, report, _ = run("--merge", "file", "--resume")
    assert (status, report["resume"]["reused"]) == (0, 5)
    assert [read(path)[0][0] for path in sorted(events.rglob("*.root"))] == [0, 250]
    status, report, _ = run("--merge", "none", "--resume")
    assert (status, report["resume"]["reused"]) == (0, 5)
    assert len(report["datasets"]["input"]["outputs"]) == 2
    assert report["datasets"]["input"]["merged"] is None


def test_without_merge_a_joined_file_stays_as_it_is(run, events):
    assert run("--merge", "dataset", fail_at=120)[0] == 3
    status, report, _ = run("--resume", fail_at=120)
    assert (status, report["resume"]["reused"]) == (0, 4)
    outputs = report["datasets"]["input"]["outputs"]
    assert outputs[0] == "events/input.root"
    found = [number for path in outputs for number in read(events.parent / path)[0]]
    assert sorted(found) == list(range(380))


def test_what_cannot_be_joined_again_is_computed_again(run, events):
    assert run("--merge", "dataset")[0] == 0
    sorted(events.parent.glob("state/*.npz"))[0].unlink()
    status, report, _ = run("--resume")  # nothing would take the old chunk out of the joined file
    assert status == 0
    assert (report["resume"]["reused"], report["resume"]["outputs_gone"]) == (0, 4)
    assert len(report["datasets"]["input"]["outputs"]) == 5
    assert not (events / "input.root").exists()
    assert len(list(events.glob(f"input/{CHUNK}"))) == 5


def test_a_joined_file_that_is_cut_short_is_made_again(run, events):
    assert run("--merge", "dataset")[0] == 0
    whole = (events / "input.root").read_bytes()
    (events / "input.root").write_bytes(whole[:-10])
    status, report, _ = run("--merge", "dataset", "--resume")
    assert (status, report["resume"]["outputs_gone"]) == (0, 5)
    assert read(events / "input.root") == (list(range(380)), [7.5, 7.5])


def test_nothing_of_a_joined_run_is_left(run, events):
    assert run("--merge", "dataset")[0] == 0
    assert run()[0] == 0
    assert not (events / "input.root").exists()
    assert len(list(events.rglob("*.root"))) == 5
    assert not list(events.parent.glob("state/merged-*"))


@pytest.mark.parametrize("more", [(), ("--merge", "dataset"), ("--merge", "file")])
def test_an_interrupt_between_joining_and_removing_doubles_no_event(run, events, monkeypatch, more):
    removed = []
    unlink = Path.unlink

    def stopped(path, **options):
        if path.parent.name == "input" and (events / "input.root").exists():
            removed.append(path)
            if len(removed) == 2:
                raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", stopped)
        status, report, _ = run("--merge", "dataset")
    assert status == 130
    assert report["datasets"]["input"]["outputs"] == ["events/input.root"]
    assert len(list(events.rglob("*.root"))) == 5  # the joined one, four of its five parts
    status, report, err = run("--resume", *more)
    assert (status, report["resume"]["reused"]) == (0, 5), err
    written = sorted(str(path.relative_to(events.parent)) for path in events.rglob("*.root"))
    assert written == report["datasets"]["input"]["outputs"]
    assert sorted(n for path in events.rglob("*.root") for n in read(path)[0]) == list(range(380))


def test_what_fails_while_joining_keeps_the_chunks(run, events, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("executors.results.merging.join", fail)
        status, report, err = run("--merge", "dataset")
    assert status == 1
    assert "joining files (--resume --merge dataset does it again) failed: OSError" in err
    assert len(report["datasets"]["input"]["outputs"]) == 5
    status, report, _ = run("--merge", "dataset", "--resume")
    assert (status, report["resume"]["reused"]) == (0, 5)
    assert read(events / "input.root")[0] == list(range(380))


def test_an_interrupted_run_is_joined_when_it_ends(run, events):
    status, report, _ = run("--merge", "dataset", fail_at=120, action="interrupt")
    assert status == 130
    assert report["datasets"]["input"]["merged"] is None
    assert run("--merge", "dataset", "--resume", fail_at=120, action="interrupt")[0] == 0
    assert read(events / "input.root") == (list(range(380)), [7.5, 7.5])
