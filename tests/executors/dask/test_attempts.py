"""Runs of chunks that the scheduler repeated by itself."""

from __future__ import annotations

import dataclasses

import pytest

from executors.dask.attempts import Attempts
from executors.ledger import ChunkRecord, ErrorLink

DONE = ChunkRecord("mc", "f", "u", "Events", 0, 1, "done")
LOST = ChunkRecord(
    "mc", "f", "u", "Events", 0, 1, "failed", errors=(ErrorLink("E", "m"),), failure="lost"
)


@pytest.fixture
def attempts():
    return Attempts()


def again(seconds):
    """Record of another run of the chunk."""
    return dataclasses.replace(DONE, seconds=seconds)


def test_an_undisturbed_chunk_keeps_its_record_however_often_it_is_told(attempts):
    for _ in range(2):
        attempts.ended(0, DONE, read_back=False)
    assert attempts.counted(0, DONE) is DONE


def test_a_worker_that_dies_spends_the_chunk_it_had_begun_not_the_one_that_waited(attempts):
    attempts.died(processing=[0, 1], begun={0, 5})
    counted = [attempts.counted(position, DONE) for position in range(3)]
    assert [record.attempts for record in counted] == [2, 1, 1]
    assert "worker process died" in counted[0].recovered
    assert not counted[1].recovered


@pytest.mark.parametrize(("threads", "spent"), [(1, [1, 2, 1, 1]), (2, [1, 2, 2, 1])])
def test_a_worker_that_dies_without_a_word_spends_what_it_had_to_begin_first(
    attempts, threads, spent
):
    attempts.ended(0, DONE, read_back=False)
    attempts.died(processing=[3, 0, 2, 1], begun=set(), threads=threads)
    assert [attempts.counted(position, DONE).attempts for position in range(4)] == spent


def test_a_result_that_is_computed_again_counts_and_one_that_is_read_back_does_not(attempts):
    for position in (0, 1):
        attempts.ended(position, DONE, read_back=False)
        attempts.ended(position, again(2.0), read_back=position == 1)
    assert [attempts.counted(position, DONE).attempts for position in range(2)] == [2, 1]


def test_a_result_that_died_before_it_was_told_counts_where_it_is_computed_again(attempts):
    attempts.died(processing=[], begun={0, 1}, lost=[0, 1])
    attempts.ended(0, DONE, read_back=False)
    attempts.ended(1, DONE, read_back=True)
    assert [attempts.counted(position, DONE).attempts for position in range(2)] == [2, 1]


def test_a_lost_chunk_was_tried_as_often_as_it_was_lost(attempts):
    assert attempts.counted(0, LOST).attempts == 1
    for _ in range(3):
        attempts.died(processing=[0], begun={0})
    assert attempts.counted(0, LOST).attempts == 3
    assert not attempts.counted(0, LOST).recovered


def test_own_attempts_of_the_task_add_up(attempts):
    attempts.died(processing=[0], begun={0})
    attempts.ended(0, DONE, read_back=False)
    third = ChunkRecord("mc", "f", "u", "Events", 0, 1, "done", attempts=2, recovered="slow disk")
    counted = attempts.counted(0, third)
    assert (counted.attempts, counted.recovered) == (3, "slow disk")


def test_what_is_forgotten_counts_no_more(attempts):
    attempts.died(processing=[0], begun={0})
    attempts.forget(0)
    assert attempts.counted(0, DONE) is DONE
