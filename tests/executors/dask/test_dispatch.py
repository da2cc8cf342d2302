"""Sums on Dask workers, whatever happens to workers, chunks and the run."""

from __future__ import annotations

import pickle

import distributed
import numpy as np
import pytest

from executors import reduction
from executors.collect import Collector
from executors.dask.notices import Notice
from executors.dask.remote_chunks import RemoteChunks
from executors.execution import Storage, execute
from executors.inputs.fileset import from_inputs
from executors.ledger import ChunkRecord
from executors.plan import plan_fileset
from executors.results.state import RunIdentity, StateStore
from executors.retry import RetryPolicy
from executors.settings import ExecutorSettings
from executors.task import PickledTask
from executors.work import ChunkWork

pytestmark = pytest.mark.xdist_group("dask")
ITERATIVE = ExecutorSettings("iterative")
QUICK = RetryPolicy(attempts=3, delay=0.01)


class Ears:
    def __init__(self, stop_after=None):
        self.records, self.stop_after = [], stop_after

    def heard(self, record):
        self.records.append(record)
        if len(self.records) == self.stop_after:
            raise KeyboardInterrupt


def planned(sample, size=10):
    return plan_fileset(from_inputs(sample), chunk_size=size)


def agree(one, other):
    """Whether merged results agree to the last bit, those of processes left out."""
    found, expected = (result.accumulator["input"] for result in (one, other))
    for name, histogram in expected["hists"].items():
        for numbers in ("values", "variances"):
            mine, theirs = (
                getattr(h, numbers)(flow=True) for h in (found["hists"][name], histogram)
            )
            np.testing.assert_array_equal(mine, theirs)
    names = ("events.read", "event numbers", "sum_genweight.read")
    assert [found["counters"][n] for n in names] == [expected["counters"][n] for n in names]


@pytest.fixture(scope="module")
def clean(sample, counting):
    return execute(planned(sample), counting(), ITERATIVE)


def storage(folder, **others):
    folder.mkdir(exist_ok=True)
    return Storage(StateStore(folder, RunIdentity({"seed": "1"})), **others)


@pytest.fixture(scope="module")
def mortal():
    """Address of a scheduler of our own whose workers may die."""
    from executors.dask.cluster import open_client

    with open_client(ExecutorSettings("dask", workers=2)) as client:
        yield client.scheduler.address


@pytest.mark.parametrize("kept", [True, False], ids=["stored", "not stored"])
def test_a_dead_worker_takes_results_with_it(sample, counting, clean, mortal, tmp_path, kept):
    here, ears = ExecutorSettings("dask", scheduler=mortal), Ears()
    with distributed.Client(mortal, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    # a worker that was started again imports first: the other one would have all results
    execute(planned(sample), counting(), here)
    (tmp_path / "once").mkdir()
    dying = counting(fail_at=145, action="die", once=str(tmp_path / "once"), wait=0.02)
    result = execute(
        planned(sample),
        dying,
        here,
        retry=QUICK,
        listener=ears,
        storage=storage(tmp_path / "out") if kept else None,
    )
    assert result.error is None
    agree(result, clean)
    tally = result.ledger.tally()
    assert (tally.chunks_done, tally.events_done) == (38, 380)
    retried = [record.start for record in result.ledger.records if record.attempts > 1]
    # chunks 0-15 are one group, added and gone before the first results of the second are lost;
    # those are read back where they are stored, else computed again, and counted
    assert 140 in retried
    assert len(retried) == 1 if kept else 1 < len(retried) <= 16
    assert len(ears.records) == 38
    assert all(
        "worker process died" in r.recovered for r in result.ledger.records if r.attempts > 1
    )


def test_failed_chunks_are_holes(sample, counting, scheduler):
    bad = counting(fail_at=[5, 155, 375])
    here = ExecutorSettings("dask", scheduler=scheduler)
    results = [execute(planned(sample), bad, where, retry=QUICK) for where in (here, ITERATIVE)]
    agree(*results)
    for result in results:
        assert [record.start for record in result.ledger.failed] == [0, 150, 120]


def test_a_chunk_that_does_not_add_fails_alone_in_any_group(sample, load, scheduler):
    here = ExecutorSettings("dask", scheduler=scheduler)
    # the first of the second group: the others of the group do not fit it
    growing = load("Growing")(fail_at=165)
    for where in (here, ITERATIVE):
        result = execute(planned(sample), growing, where)
        assert [record.start for record in result.ledger.failed] == [160]
        assert "does not add" in result.ledger.failed[0].reason
        assert result.accumulator["input"]["counters"]["events.read"] == 370


def test_an_interrupt_keeps_what_is_done(sample, counting, scheduler):
    here, ears = ExecutorSettings("dask", scheduler=scheduler), Ears(stop_after=20)
    result = execute(planned(sample), counting(wait=0.05), here, listener=ears)
    assert result.interrupted
    done = [record for record in result.ledger.records if record.status == "done"]
    assert len(done) >= 19  # the last one told of may be given up before its result is there
    assert result.accumulator["input"]["counters"]["events.read"] == 10 * len(done)
    assert {record.failure for record in result.ledger.failed} == {"interrupted"}


def test_results_of_an_earlier_run_are_read_by_workers(
    sample, counting, clean, scheduler, tmp_path
):
    plan, here = planned(sample), ExecutorSettings("dask", scheduler=scheduler)
    first = execute(plan, counting(), here, storage=storage(tmp_path / "out"))
    agree(first, clean)
    records = dict(enumerate(first.ledger.records))
    for position in (3, 20):  # one group in part, one without this, one from disk altogether
        del records[position]
    again = execute(plan, counting(), here, storage=storage(tmp_path / "out", reusable=records))
    agree(again, clean)
    assert again.ledger.tally().chunks_reused == 36


def test_a_stored_result_that_vanishes_fails_its_chunk(sample, counting, scheduler, tmp_path):
    plan, here = planned(sample), ExecutorSettings("dask", scheduler=scheduler)
    kept = storage(tmp_path / "out")
    first = execute(plan, counting(), here, storage=kept)
    records = dict(enumerate(first.ledger.records))
    del records[0]
    kept.store.path(plan.items[7]).unlink()
    again = execute(plan, counting(), here, storage=storage(tmp_path / "out", reusable=records))
    (failed,) = again.ledger.failed
    assert "its stored result is gone" in failed.reason
    assert again.accumulator["input"]["counters"]["events.read"] == 370


def test_the_client_gets_a_sum_for_each_group_and_no_result_of_a_chunk(
    sample, counting, clean, scheduler, monkeypatch
):
    from executors.dask.remote_chunks import RemoteChunks

    fetched = []
    monkeypatch.setattr(RemoteChunks, "fetch", lambda *_: fetched.append(1))
    result = execute(planned(sample), counting(), ExecutorSettings("dask", scheduler=scheduler))
    agree(result, clean)
    assert not fetched
    assert len(planned(sample).items) > 2 * reduction.GROUP


def test_what_a_worker_stored_and_could_not_tell_is_found(sample, counting, scheduler, tmp_path):
    from distributed import Client

    from executors.collect import Collector
    from executors.dask.remote_chunks import RemoteChunks
    from executors.task import PickledTask
    from executors.work import ChunkWork

    items = planned(sample).items
    kept = storage(tmp_path / "out").store
    collector = Collector(items, store=kept)
    work = ChunkWork.of(counting())
    result = collector.task(work)(items[3])
    work.end()
    with Client(scheduler, set_as_default=False) as client:
        chunks = RemoteChunks(client, collector, PickledTask.of("nothing runs"))
        found = chunks.fetch(3)
        assert (found.record, found.accumulator) == (result.record, result.accumulator)
        with pytest.raises(RuntimeError, match="with a worker that is gone"):
            chunks.fetch(4)


@pytest.mark.parametrize("kept", [True, False])
def test_a_result_that_is_nowhere_any_more_is_computed_again(
    kept, sample, counting, scheduler, tmp_path
):
    """A worker told that a chunk ended, and died with the result: was it stored?"""
    items = planned(sample).items
    collector = Collector(items, store=storage(tmp_path).store)
    with distributed.Client(scheduler, set_as_default=False) as client:
        task = PickledTask.of(collector.task(ChunkWork.of(counting())))
        chunks = RemoteChunks(client, collector, task)
        chunks.futures[0] = client.submit(max, [])  # a result that never comes
        distributed.wait(chunks.futures[0])
        record = ChunkRecord("mc", "f", "u", "Events", 0, 10, "done")
        ended = pickle.dumps([Notice(0, record, read_back=False, kept=kept)])
        chunks._hear({"ended": ended})
        assert chunks._unfinished([0]) == ([] if kept else [0])
