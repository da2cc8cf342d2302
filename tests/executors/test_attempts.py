"""Runs of chunks that the scheduler repeated by itself."""

from __future__ import annotations

import pytest

from executors.attempts import Attempts
from executors.ledger import ChunkRecord, ErrorLink

DONE = ChunkRecord("mc", "f", "u", "Events", 0, 1, "done")
LOST = ChunkRecord(
    "mc", "f", "u", "Events", 0, 1, "failed", errors=(ErrorLink("E", "m"),), failure="lost"
)


@pytest.fixture
def attempts():
    return Attempts()


def test_an_undisturbed_chunk_keeps_its_record(attempts):
    attempts.began(0, "a")
    attempts.ended(0, DONE, repeated=False)
    assert attempts.counted(0, DONE) is DONE


def test_a_worker_that_dies_spends_the_chunk_it_had_begun_not_the_one_that_waited(attempts):
    attempts.began(0, "a")
    attempts.began(2, "b")
    attempts.died("a", [0, 1])
    counted = [attempts.counted(position, DONE) for position in range(3)]
    assert [record.attempts for record in counted] == [2, 1, 1]
    assert "worker process died" in counted[0].recovered
    assert not counted[1].recovered


def test_a_worker_that_dies_without_a_word_spends_all_it_had(attempts):
    attempts.began(0, "b")
    attempts.ended(0, DONE, repeated=False)
    attempts.died("a", [0, 1, 2])
    assert [attempts.counted(position, DONE).attempts for position in range(3)] == [1, 2, 2]


def test_a_result_that_is_computed_again_counts_and_one_that_is_read_back_does_not(attempts):
    for position in (0, 1):
        attempts.ended(position, DONE, repeated=False)
        attempts.ended(position, DONE, repeated=position == 1)
    assert [attempts.counted(position, DONE).attempts for position in range(2)] == [2, 1]


def test_a_lost_chunk_was_tried_as_often_as_it_was_lost(attempts):
    assert attempts.counted(0, LOST).attempts == 1
    for _ in range(3):
        attempts.began(0, "a")
        attempts.died("a", [0])
    assert attempts.counted(0, LOST).attempts == 3
    assert not attempts.counted(0, LOST).recovered


def test_own_attempts_of_the_task_add_up(attempts):
    attempts.began(0, "a")
    attempts.died("a", [0])
    attempts.ended(0, DONE, repeated=False)
    third = ChunkRecord("mc", "f", "u", "Events", 0, 1, "done", attempts=2, recovered="slow disk")
    counted = attempts.counted(0, third)
    assert (counted.attempts, counted.recovered) == (3, "slow disk")
