"""Arithmetic of the ledger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.ledger import ChunkRecord, ErrorLink, Ledger, UnknownFile


def record(start, stop, *, status="done", dataset="mc", attempts=1):
    failure = None if status == "done" else "permanent"
    return ChunkRecord(
        dataset, "f.root", "u", "Events", start, stop, status, attempts, failure=failure
    )


@st.composite
def ledgers(draw):
    lengths = draw(st.lists(st.integers(0, 100), max_size=12))
    records, start = [], 0
    for length in lengths:
        status = draw(st.sampled_from(["done", "failed"]))
        dataset, attempts = draw(st.sampled_from("ab")), draw(st.integers(1, 3))
        records.append(
            record(start, start + length + 1, status=status, dataset=dataset, attempts=attempts)
        )
        start += length + 1
    unknown = [UnknownFile("c", str(n), "Events", "gone") for n in range(draw(st.integers(0, 3)))]
    return Ledger(tuple(records), tuple(unknown))


@given(ledgers())
def test_planned_is_done_plus_failed_and_datasets_add_up(ledger):
    tally = ledger.tally()
    assert tally.chunks_planned == tally.chunks_done + tally.chunks_failed
    assert tally.events_planned == tally.events_done + tally.events_failed
    parts = [ledger.of(name).tally() for name in ledger.datasets]
    assert tuple(map(sum, zip(*parts, strict=True))) == tuple(tally) or not parts


@given(ledgers(), st.integers(0, 12))
def test_ledgers_add(ledger, cut):
    first = Ledger(ledger.records[:cut], ledger.unknown)
    assert first + Ledger(ledger.records[cut:]) == Ledger(ledger.records, ledger.unknown)


def test_a_chunk_recorded_twice_is_refused():
    with pytest.raises(ValueError, match="recorded twice"):
        Ledger((record(0, 10),)) + Ledger((record(0, 10, status="failed"),))


def test_an_unknown_file_counts_as_one_missing_chunk():
    ledger = Ledger(
        (record(0, 9), record(9, 10, status="failed")), (UnknownFile("b", "x", "E", ""),)
    )
    assert ledger.failed_fraction() == pytest.approx(2 / 3)
    assert Ledger().failed_fraction() == 0


def test_the_reason_is_the_root_cause_in_one_line():
    errors = (ErrorLink("ValueError", "outer"), ErrorLink("OSError", "disk\nfull"))
    failed = ChunkRecord("mc", "f", "u", "E", 0, 1, "failed", errors=errors)
    assert failed.reason == "OSError: disk"
    assert record(0, 1).reason == ""
