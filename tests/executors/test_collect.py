"""Merging in the order of the plan."""

from __future__ import annotations

import uuid

import pytest
from coffea.processor.executor import WorkItem
from hypothesis import given
from hypothesis import strategies as st

from executors.collect import Collector
from executors.ledger import ChunkRecord
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
