"""What workers say of chunks: several in one message."""

from __future__ import annotations

import time

import pytest
from distributed import get_worker

from executors.dask.notices import PAUSE, Notice, begun_topic, tell_soon, unpack
from executors.ledger import ChunkRecord

pytestmark = pytest.mark.xdist_group("dask")
RECORD = ChunkRecord("mc", "f", "u", "Events", 0, 1, "done")


def speak(topic, numbers):
    worker = get_worker()
    for number in numbers:
        tell_soon(worker, topic, Notice(number, RECORD, read_back=False, kept=True))
    return worker.address


def heard(client, topic, number):
    """Messages under a topic, once they hold so many notices."""
    deadline = time.monotonic() + 30
    while True:
        messages = [unpack(message["ended"]) for _, message in client.get_events(topic)]
        if sum(map(len, messages)) == number:
            return messages
        assert time.monotonic() < deadline
        time.sleep(PAUSE / 4)


def test_what_ends_at_the_same_time_is_told_in_one_message(scheduler):
    from distributed import Client

    with Client(scheduler) as client:
        client.submit(speak, "together", range(5), pure=False).result()
        (notices,) = heard(client, "together", 5)
        assert [notice.position for notice in notices] == [0, 1, 2, 3, 4]
        assert notices[0].record == RECORD
        client.submit(speak, "together", [7], pure=False).result()
        assert len(heard(client, "together", 6)) == 2


def test_each_worker_has_a_topic_for_what_it_begins():
    assert begun_topic("run", "tcp://a:1") != begun_topic("run", "tcp://a:2")
