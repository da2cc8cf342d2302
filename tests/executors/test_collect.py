"""Merging in the order of the plan."""

from __future__ import annotations

import signal
import sys
import uuid

import pytest
from coffea.processor.executor import WorkItem
from hypothesis import given
from hypothesis import strategies as st

from executors import collect
from executors.collect import Collector
from executors.ledger import ChunkRecord
from executors.results.state import RunIdentity, StateStore
from executors.retry import RetryPolicy
from executors.task import ChunkResult

ITEMS = [WorkItem("mc", "f", "Events", n, n + 1, uuid.UUID(int=9).bytes) for n in range(7)]
WEIGHTS = [1e16, 1.0, -1e16, 3.0, 1e-3, -7.0, 1e8]  # their sum depends on the order


def done(position):
    record = ChunkRecord("mc", "f", "u", "Events", position, position + 1, "done")
    content = {"hists": {}, "counters": {"w": WEIGHTS[position]}, "outputs": [str(position)]}
    return ChunkResult(record, {"mc": content})


@given(st.permutations(range(7)))
def test_any_order_of_arrival_gives_the_sum_of_the_plan(order):
    collector = Collector(ITEMS)
    for position in order:
        collector.add(position, done(position))
    collector.close()
    expected = WEIGHTS[0]
    for weight in WEIGHTS[1:]:
        expected += weight
    assert collector.accumulator["mc"]["counters"]["w"] == expected
    assert collector.accumulator["mc"]["outputs"] == [str(n) for n in range(7)]


@given(st.sets(st.integers(0, 6)))
def test_missing_chunks_are_recorded_and_the_rest_is_merged(present):
    collector = Collector(ITEMS)
    for position in sorted(present, reverse=True):
        collector.add(position, done(position))
    assert collector.complete is (len(present) == 7)
    records = collector.close(KeyboardInterrupt())
    assert [r.status == "done" for r in records] == [n in present for n in range(7)]
    assert {r.failure for r in records if r.status == "failed"} <= {"interrupted"}
    outputs = collector.accumulator.get("mc", {"outputs": []})["outputs"]
    assert outputs == [str(n) for n in sorted(present)]


def test_results_of_the_workers_are_not_changed():
    results = [done(position) for position in range(3)]
    collector = Collector(ITEMS[:3])
    for position, result in enumerate(results):
        collector.add(position, result)
    assert [r.accumulator["mc"]["counters"]["w"] for r in results] == WEIGHTS[:3]


def test_a_chunk_without_result_or_reason_is_lost():
    (record,) = Collector(ITEMS[:1]).close()
    assert record.failure == "lost"
    assert record.reason.startswith("RuntimeError: the executor returned no result")
    with pytest.raises(IndexError):
        Collector(ITEMS[:1]).add(1, done(1))


@pytest.fixture
def store(tmp_path):
    return StateStore(tmp_path, RunIdentity({"seed": "1"}))


def stored(store, position):
    result = done(position)
    result.accumulator["mc"]["outputs"] = []
    assert store.save(ITEMS[position], result.record, result.accumulator) == ""
    return result._replace(stored=True)


def test_results_that_wait_are_read_back(store, monkeypatch):
    monkeypatch.setattr(collect, "WAITING", 2)
    collector = Collector(ITEMS, store=store)
    for position in (6, 5, 4, 3, 2, 1):
        collector.add(position, stored(store, position))
    kept = [one for one in collector._ready.values() if not callable(one)]
    assert len(kept) == 2  # memory does not grow with what waits
    collector.add(0, stored(store, 0))
    expected = WEIGHTS[0]
    for weight in WEIGHTS[1:]:
        expected += weight
    assert collector.accumulator["mc"]["counters"]["w"] == expected


def test_a_stored_result_that_vanishes_fails_its_chunk(store, monkeypatch):
    monkeypatch.setattr(collect, "WAITING", 0)
    collector = Collector(ITEMS[:2], store=store)
    collector.add(1, stored(store, 1))
    store.path(ITEMS[1]).unlink()
    collector.add(0, stored(store, 0))
    records = collector.close()
    assert [record.status for record in records] == ["done", "failed"]
    assert "its stored result is gone" in records[1].reason


def test_reused_results_are_merged_in_their_place(store):
    for position in (1, 3):
        stored(store, position)
    collector = Collector(ITEMS[:4], store=store, retry=RetryPolicy())
    collector.reuse({n: done(n).record for n in (1, 3)})
    items = collector.hand_out()
    assert items == [ITEMS[0], ITEMS[2]]
    collector.add(1, done(2))
    collector.add(0, done(0))
    records = collector.close()
    assert [record.reused for record in records] == [False, True, False, True]
    expected = WEIGHTS[0] + WEIGHTS[1] + WEIGHTS[2] + WEIGHTS[3]
    assert collector.accumulator["mc"]["counters"]["w"] == expected


def interrupted_at(line):
    """Trace function that interrupts before the n-th line of the collector."""
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename != collect.__file__:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


@pytest.mark.parametrize("line", range(1, 60, 2))
def test_an_interrupt_at_any_line_loses_and_doubles_nothing(line):
    """What the records call done is in the sum, once."""
    collector = Collector(ITEMS[:4])
    results = [done(position) for position in range(4)]
    before = sys.gettrace()
    sys.settrace(interrupted_at(line))
    stopped = None
    try:
        for position in (1, 0, 2, 3):
            collector.add(position, results[position])
    except KeyboardInterrupt as caught:
        stopped = caught
    finally:
        sys.settrace(before)
    records = collector.close(stopped)
    there = [str(n) for n, record in enumerate(records) if record.status == "done"]
    assert collector.accumulator.get("mc", {"outputs": []})["outputs"] == there
    assert stopped is not None or len(there) == 4


def test_a_failed_sum_leaves_what_was_there():
    collector = Collector(ITEMS[:3])
    collector.add(0, done(0))
    wrong = done(1)
    wrong.accumulator["mc"] |= {"counters": {"w": 1.0}, "outputs": {"no": "list"}}
    collector.add(1, wrong)
    collector.add(2, done(2))
    assert [record.status for record in collector.close()] == ["done", "failed", "done"]
    assert collector.accumulator["mc"]["counters"]["w"] == WEIGHTS[0] + WEIGHTS[2]
