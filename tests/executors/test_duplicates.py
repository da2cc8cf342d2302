"""Events and files that an input holds twice, looked for on request."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import uproot
from jsonschema import Draft202012Validator

from executors.duplicates import PAIRS, check_duplicates
from executors.inputs.fileset import FileEntry, from_inputs
from executors.plan import plan_fileset
from executors.report.build import SCHEMA

COLUMNS = ("run", "luminosityBlock", "event")


def checked(entries, **options):
    """What a check finds, held against the schema, and what it adds to the notes."""
    plan = plan_fileset(entries, chunk_size=70)
    after = check_duplicates(plan, options.pop("columns", COLUMNS), **options)
    schema = json.loads(SCHEMA.read_text())["properties"]["duplicates"]
    Draft202012Validator(schema).validate(after.duplicates)
    assert after.items == plan.items
    assert after.notes[: len(plan.notes)] == plan.notes
    return after.duplicates, after.notes[len(plan.notes) :]


def test_different_events_are_no_duplicates(sample):
    told = []
    found, notes = checked(from_inputs(sample), looked=lambda *pair: told.append(pair))
    assert found == {
        "columns": list(COLUMNS),
        "files": [],
        "datasets": {
            "input": {
                "events": 380, "repeated": 0, "pairs": [], "pairs_left_out": 0, "unread": []
            }
        },
    }  # fmt: skip
    assert not notes
    assert told == [(1, 2), (2, 2)]


def test_events_in_two_files_are_counted_with_their_names(sample, write_events, tmp_path):
    again = write_events(tmp_path / "again.root", 40, first=230)  # 20 of each of the two files
    found, notes = checked(from_inputs([*sample, again]))
    section = found["datasets"]["input"]
    assert (section["events"], section["repeated"]) == (420, 40)
    assert section["pairs"] == [
        {"first": str(sample[0]), "again": str(again), "events": 20, "example": [1, 1, 230]},
        {"first": str(sample[1]), "again": str(again), "events": 20, "example": [1, 1, 250]},
    ]
    assert f"40 of 420 events have the (run, luminosityBlock, event) of another, 20 of them in {sample[0]} and again in {again} (such as 1:1:230)" in notes[0]  # fmt: skip # noqa: E501


def test_an_event_that_comes_three_times_counts_twice(tmp_path):
    path = tmp_path / "a.root"
    large = 2**63 + 5  # event numbers use all 64 bits
    content = {
        "run": np.array([1, 2, 1, 1], np.uint32),
        "luminosityBlock": np.array([9, 9, 9, 9], np.uint32),
        "event": np.array([large] * 4, np.uint64),
    }
    with uproot.recreate(path) as file:
        file.mktree("Events", content)
    found, notes = checked(from_inputs([path]))
    section = found["datasets"]["input"]
    assert section["repeated"] == 2
    (pair,) = section["pairs"]
    assert (pair["first"], pair["again"], pair["events"]) == (str(path), str(path), 2)
    assert pair["example"] == [1, 9, large]
    assert "within" in notes[0]


def test_datasets_are_apart_but_one_file_in_two_is_named(sample, tmp_path):
    copy = str(shutil.copy(sample[0], tmp_path / "copy.root"))
    name = str(sample[0])
    found, notes = checked([FileEntry("one", name), FileEntry("two", copy)])
    assert [section["repeated"] for section in found["datasets"].values()] == [0, 0]
    (file,) = found["files"]
    assert file["places"] == [["one", name], ["two", copy]]
    assert "one file under several names" in notes[0]
    found, _ = checked([FileEntry("one", name), FileEntry("one", copy)])
    assert found["files"][0]["places"] == [["one", name], ["one", copy]]
    assert found["datasets"]["one"]["events"] == 250  # the copy is not planned


def test_only_what_is_planned_is_compared(sample, write_events, tmp_path):
    again = write_events(tmp_path / "again.root", 40, first=230)
    entries = [FileEntry("mc", str(sample[0]), steps=((0, 235),)), FileEntry("mc", str(again))]
    found, _ = checked(entries)
    assert found["datasets"]["mc"]["repeated"] == 5


def test_a_file_that_cannot_be_searched_is_named(sample, tmp_path):
    path = tmp_path / "bare.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"event": np.arange(3)})
    found, notes = checked(from_inputs([path, *sample]))
    section = found["datasets"]["input"]
    assert section["events"] == 380
    assert [file["file"] for file in section["unread"]] == [str(path)]
    assert "run" in section["unread"][0]["reason"]
    assert f"{path} was not searched" in notes[0]
    alone, _ = checked(from_inputs([path]))
    assert alone["datasets"]["input"]["events"] == 0


def test_nothing_planned_is_nothing_found():
    found, notes = checked(from_inputs(["/absent.root"]))
    assert (found["datasets"], notes) == ({}, ())


@pytest.mark.parametrize("more", [0, 3])
def test_named_pairs_are_limited(write_events, tmp_path, monkeypatch, more):
    monkeypatch.setattr("executors.duplicates.PAIRS", 2)
    assert PAIRS >= 2
    paths = [write_events(tmp_path / f"{n}.root", 5) for n in range(3 + more)]
    section = checked(from_inputs(paths))[0]["datasets"]["input"]
    assert section["repeated"] == 5 * (2 + more)
    assert (len(section["pairs"]), section["pairs_left_out"]) == (2, more)
