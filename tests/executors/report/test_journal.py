"""The ledger of a run that goes on."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from executors.inputs.fileset import FileEntry, from_inputs
from executors.ledger import ChunkRecord
from executors.plan import plan_fileset
from executors.report.journal import NAME, Journal, read_progress
from executors.results.state import FOLDER


@pytest.fixture
def plan(sample):
    entries = [*from_inputs(sample), FileEntry("gone", "/absent.root")]
    return plan_fileset(entries, chunk_size=100)


def records(plan):
    for item in plan.items:
        yield ChunkRecord(
            item.dataset, item.filename, "u", "Events", item.entrystart, item.entrystop, "done"
        )


def test_where_a_run_stands(plan, tmp_path):
    first, second, third, *rest = records(plan)
    failed = dataclasses.replace(third, status="failed", errors=(("OSError", "gone"),))
    with Journal(tmp_path, plan) as journal:
        journal.heard(first)  # before the run has begun: nothing is written
        assert read_progress(tmp_path) is None
        journal.begin()
        standing = read_progress(tmp_path)
        assert (standing["input"].chunks, standing["input"].events) == (5, 380)
        assert (standing["gone"].chunks, standing["gone"].unknown) == (0, 1)
        journal.heard(dataclasses.replace(first, reused=True, attempts=2))
        journal.heard(dataclasses.replace(second, attempts=2))
        journal.heard(dataclasses.replace(failed, errors=()))
        one = read_progress(tmp_path)["input"]
        assert (one.done, one.reused, one.failed, one.retried) == (2, 1, 1, 1)
        assert (one.events_done, one.computed, one.events_failed) == (200, 100, 50)
        assert len(rest) == 2


def test_a_line_that_is_half_written_is_left_out(plan, tmp_path):
    with Journal(tmp_path, plan) as journal:
        journal.begin()
        for record in records(plan):
            journal.heard(record)
    path = tmp_path / FOLDER / NAME
    whole = path.read_bytes()
    counts = []
    for size in range(len(whole), len(whole) - 400, -7):
        path.write_bytes(whole[:size])
        counts.append(read_progress(tmp_path)["input"].done)
    assert counts[0] == 5
    assert counts == sorted(counts, reverse=True)
    path.write_bytes(b"")
    assert read_progress(tmp_path) is None


def test_a_full_disk_does_not_end_the_run(plan, tmp_path, monkeypatch, caplog):
    with Journal(tmp_path, plan) as journal, caplog.at_level(logging.WARNING):
        journal.begin()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(json, "dumps", full)
        for record in records(plan):
            journal.heard(record)
    assert caplog.text.count("No space left on device") == 1
