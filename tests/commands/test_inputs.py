"""What a run finds in its input before the first chunk, from the command line."""

from __future__ import annotations

import json
import os
import time

import pytest
from jsonschema import Draft202012Validator

from executors.report.build import SCHEMA

LOCAL = ("--executor", "iterative")


@pytest.fixture
def report(tmp_path):
    """Function that reads the report of a run, held against its schema."""

    def read():
        content = json.loads((tmp_path / "out" / "report.json").read_text())
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
        return content

    return read


def test_duplicates_are_reported_by_name(
    flashbrew, processors, sample, write_events, tmp_path, report
):
    again = write_events(tmp_path / "again.root", 40, first=230)
    command = (f"{processors}:Counting", *LOCAL, *sample, again)
    status, out, _ = flashbrew(*command, "--dry-run", "--check-duplicates")
    assert status == 0
    assert "40 of 420 events" in out
    assert flashbrew(*command, "--output", tmp_path / "out", "--check-duplicates")[0] == 0
    found = report()["duplicates"]
    assert found["columns"] == ["run", "luminosityBlock", "event"]
    section = found["datasets"]["input"]
    assert section["repeated"] == 40
    assert {pair["again"] for pair in section["pairs"]} == {str(again)}
    assert any("40 of 420 events" in note for note in report()["notes"])
    assert flashbrew(*command, "--output", tmp_path / "out")[0] == 0
    assert report()["duplicates"] is None


def test_files_are_opened_once_for_many_plans(
    flashbrew, processors, write_events, tmp_path, monkeypatch
):
    folder = tmp_path / "cache"
    monkeypatch.setenv("FLASHBREW_CACHE", str(folder))
    later = time.time() + 100
    monkeypatch.setattr("executors.inputs.facts_cache.time", lambda: later)
    path = write_events(tmp_path / "a.root", 50)
    command = (f"{processors}:Counting", *LOCAL, path, "--dry-run")
    assert "50 events" in flashbrew(*command)[1]
    kept = json.loads((folder / "files.json").read_text())
    # were it opened again, it would tell the truth
    kept["files"][f"{path}\nEvents"][1] = 40
    (folder / "files.json").write_text(json.dumps(kept))
    assert "40 events" in flashbrew(*command)[1]
    assert "50 events" in flashbrew(*command, "--look-again")[1]
    os.utime(path, (1, 1))
    assert "50 events" in flashbrew(*command)[1]


def test_a_processor_gets_files_of_the_format_it_reads(flashbrew, processors, sample, tmp_path):
    status, _, err = flashbrew(f"{processors}:Tabular", *LOCAL, sample[0], "--dry-run")
    assert status == 2
    assert f"{sample[0]} is a root file by its name, this processor reads parquet files" in err
    fileset = tmp_path / "fileset.json"
    fileset.write_text(json.dumps({"mc": [str(tmp_path / "a.parquet")]}))
    status, _, err = flashbrew(f"{processors}:Counting", *LOCAL, "--fileset", fileset, "--dry-run")
    assert (status, "reads root files" in err) == (2, True)
    status, _, err = flashbrew(f"{processors}:Tabular", *LOCAL, sample[0].parent, "--dry-run")
    assert "holds no *.parquet file" in err
