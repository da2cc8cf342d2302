"""Several threads of a worker that read for one device."""

from __future__ import annotations

import threading

import distributed
import pytest

from executors.dask.cluster import chunk_resources, open_client
from executors.execution import execute
from executors.inputs.fileset import from_inputs
from executors.loading import load_class
from executors.plan import plan_fileset
from executors.settings import ExecutorSettings


@pytest.mark.xdist_group("dask")
def test_calls_of_several_readers_are_coalesced(sample, repository):
    reading = load_class(f"{repository}/tests/executors/reading.py:Reading", {})
    plan = plan_fileset(from_inputs(sample), chunk_size=20)
    settings = ExecutorSettings("dask", workers=1, readers=4)
    result = execute(plan, reading(), settings)
    assert result.error is None
    counters = result.accumulator["input"]["counters"]
    assert counters["events.read"] == 380
    batches = max(int(name.split(".")[1]) for name in counters if name.startswith("batches."))
    calls = len(plan.items)
    # four threads wait for each other's micro-batch: 4 calls in each once all of them read
    assert calls / batches > 1.5


@pytest.mark.xdist_group("dask")
def test_chunks_share_a_gpu_and_other_tasks_ask_for_nothing():
    with open_client(ExecutorSettings("dask", workers=1, readers=2)) as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["resources"] == {"GPU": 2}
        assert worker["nthreads"] == 2
        resources = chunk_resources(client)
        assert resources == {"GPU": 1}

        def meet(expected):
            barrier = distributed.get_worker().__dict__.setdefault(
                "barrier", threading.Barrier(expected)
            )
            barrier.wait(20)
            return True

        # both tasks run at once, or the barrier breaks
        futures = client.map(meet, [2, 2], pure=False, resources=resources)
        assert client.gather(futures) == [True, True]


@pytest.mark.xdist_group("dask")
def test_nothing_is_asked_where_nothing_is_announced(scheduler):
    with distributed.Client(scheduler, set_as_default=False) as client:
        assert chunk_resources(client) is None
