"""What a worker makes of one chunk."""

from __future__ import annotations

import math
import re
import sys
import threading
import uuid
from collections import Counter

import numpy as np
import pytest
from coffea.processor.executor import WorkItem

from executors.errors import ConfigurationError
from executors.retry import RetryPolicy
from executors.task import ChunkTask, PickledTask, failed_record, run_pickled

ITEM = WorkItem("mc", "f.root", "Events", 10, 30, uuid.UUID(int=5).bytes)
GOOD = {"hists": {}, "counters": {"n": 1}, "outputs": []}


def returning(value):
    return lambda item: value


def test_a_good_chunk_is_done():
    record, accumulator, *_ = ChunkTask(returning({"mc": GOOD}))(ITEM)
    assert (record.status, record.events, record.uuid) == ("done", 20, str(uuid.UUID(int=5)))
    assert record.seconds >= 0
    assert accumulator == {"mc": GOOD}


def test_counters_are_made_addable():
    content = GOOD | {"counters": Counter({"sum": -3.5, "zero": 0})}
    accumulator = ChunkTask(returning({"mc": content}))(ITEM).accumulator
    assert type(accumulator["mc"]["counters"]) is dict
    assert accumulator["mc"]["counters"] == {"sum": -3.5, "zero": 0}


def test_a_cut_flow_becomes_counters():
    cuts = {"cutflow": {"all": np.int64(10), "two": {"muons": 3.5}}, "found": True}
    accumulator = ChunkTask(returning({"mc": GOOD | {"counters": cuts}}))(ITEM).accumulator
    expected = {"cutflow.all": 10, "cutflow.two.muons": 3.5, "found": 1}
    assert accumulator["mc"]["counters"] == expected


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        ({"cutflow": [3]}, "TypeError: .* numbers as counters, 'cutflow' is list"),
        ({"a": {"b": None}}, "TypeError: .* numbers as counters, 'a.b' is NoneType"),
        ({"n": 1 + 2j}, "TypeError: .* 'n' is complex"),
        ({"a.b": 1, "a": {"b": 2}}, "ValueError: process\\(\\) returned the counter 'a.b' twice"),
        ({"events.read": math.nan}, "ValueError: .* count events in 'events.read', found nan"),
        ({"events.written": -1}, "ValueError: .* count events in 'events.written', found -1"),
    ],
)
def test_what_a_report_could_not_hold_is_a_failed_chunk(counters, said):
    record = ChunkTask(returning({"mc": GOOD | {"counters": counters}}))(ITEM).record
    assert record.status == "failed"
    assert re.fullmatch(f"{said}.*", record.reason)


def test_an_exit_is_a_failed_chunk():
    def leave(item):
        sys.exit("no such column")

    record = ChunkTask(leave, RetryPolicy(attempts=3, delay=0.0))(ITEM).record
    assert (record.status, record.failure, record.attempts) == ("failed", "permanent", 1)
    assert record.reason == "SystemExit: no such column"


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        {},
        {"other": GOOD},
        {"mc": GOOD, "more": GOOD},
        {"mc": 1},
        {"mc": {"hists": {}, "counters": {}}},
        {"mc": GOOD | {"outputs": "a.root"}},
        {"mc": GOOD | {"hists": [1]}},
    ],
)
def test_another_structure_is_a_failed_chunk(value):
    record, accumulator, *_ = ChunkTask(returning(value))(ITEM)
    assert accumulator is None
    assert record.status == "failed"
    assert record.reason.startswith("TypeError: process() must return")


def raised(*chain):
    try:
        try:
            raise chain[-1]
        except Exception as inner:
            if len(chain) == 1:
                raise
            raise chain[0] from inner
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("chain", "failure"),
    [
        ([ValueError("no")], "permanent"),
        ([OSError("read error")], "transient"),
        ([ValueError("no file"), TimeoutError("late")], "transient"),
        ([ValueError("no file"), FileNotFoundError("gone")], "permanent"),
        ([ValueError("bad"), PermissionError("no")], "permanent"),
    ],
)
def test_the_chain_decides_the_kind(chain, failure):
    record = failed_record(ITEM, raised(*chain))
    assert record.failure == failure
    assert record.errors[-1].type == type(chain[-1]).__name__


def test_long_messages_are_cut():
    assert len(failed_record(ITEM, ValueError("x" * 10**5)).errors[0].message) == 2_000


def test_an_interrupt_is_not_swallowed():
    def interrupted(item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ChunkTask(interrupted)(ITEM)


class Witness:
    made = 0

    def __init__(self):
        self.value = 1

    def __setstate__(self, state):
        type(self).made += 1
        self.__dict__.update(state)

    def __call__(self, item, spent=0):
        return ChunkTask(returning({"mc": GOOD}))(item)


def test_a_pickled_task_is_unpacked_once_by_many_threads():
    pickled = PickledTask.of(Witness())
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_pickled(ITEM, pickled)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.record.status for result in results} == {"done"}
    assert len({id(pickled.unpack()) for _ in range(3)}) == 1
    assert type(pickled.unpack()).made == 1


def test_a_task_that_cannot_be_unpacked_is_a_failed_chunk():
    record, *_ = run_pickled(ITEM, PickledTask(b"nonsense", "0"))
    assert record.status == "failed"


def test_what_cannot_travel_is_refused():
    with pytest.raises(ConfigurationError, match="keep open files, locks and models out"):
        PickledTask.of(threading.Lock())
