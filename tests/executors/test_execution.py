"""The same plan on every executor."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from executors.errors import ConfigurationError
from executors.execution import check_travels, execute
from executors.inputs.fileset import FileEntry, from_inputs
from executors.plan import plan_fileset
from executors.retry import RetryPolicy
from executors.settings import ExecutorSettings

ITERATIVE = ExecutorSettings("iterative")
QUICK = RetryPolicy(attempts=3, delay=0.01)
FUTURES = ExecutorSettings("futures", workers=2)


class Ears:
    def __init__(self):
        self.records = []

    def heard(self, record):
        self.records.append(record)


def spectra(result):
    return {name: h.values(flow=True) for name, h in result.accumulator["input"]["hists"].items()}


def sums(result):
    """Counters that depend on events, not on chunks or processes."""
    counters = result.accumulator["input"]["counters"]
    keep = ("events.read", "event numbers", "objects.GenPart.in")
    return {name: counters[name] for name in keep}


def planned(sample, size=77):
    return plan_fileset(from_inputs(sample), chunk_size=size)


@pytest.fixture(scope="module")
def clean(sample, counting):
    return execute(planned(sample), counting(), ITERATIVE)


@pytest.fixture(scope="module")
def iterative(sample, counting):
    return execute(planned(sample), counting(fail_at=80), ITERATIVE, retry=QUICK)


@pytest.fixture(scope="module")
def futures(sample, counting):
    return execute(planned(sample), counting(fail_at=80), FUTURES, retry=QUICK)


@pytest.fixture(scope="module")
def dask(sample, counting, scheduler):
    settings = ExecutorSettings("dask", scheduler=scheduler)
    return execute(planned(sample), counting(fail_at=80), settings, retry=QUICK)


def test_all_events_are_accounted_for(clean):
    assert clean.error is None
    assert clean.ledger.tally()[:6] == (6, 6, 0, 0, 380, 380)
    assert sums(clean) == {
        "events.read": 380,
        "event numbers": sum(range(380)),
        "objects.GenPart.in": 3 * 380,
    }


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize("name", ["iterative", "futures", "dask"])
def test_a_failing_chunk_is_recorded_and_the_others_are_done(name, request):
    result = request.getfixturevalue(name)
    (failed,) = result.ledger.failed
    assert (failed.start, failed.stop, failed.failure) == (77, 154, "transient")
    assert [link.type for link in failed.errors] == ["ValueError", "OSError"]
    assert failed.reason == "OSError: the disk went away"
    assert failed.host
    assert sums(result)["events.read"] == 380 - 77
    assert sums(result)["event numbers"] == sum(range(380)) - sum(range(77, 154))


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_executors_agree_to_the_last_bit(iterative, name, request):
    other = request.getfixturevalue(name)
    assert sums(other) == sums(iterative)
    for key, values in spectra(iterative).items():
        np.testing.assert_array_equal(spectra(other)[key], values)
    weights = "sum_genweight.read"
    read = [result.accumulator["input"]["counters"][weights] for result in (iterative, other)]
    assert read[0] == read[1]
    chunks = [[(r.key, r.status) for r in result.ledger.records] for result in (iterative, other)]
    assert chunks[0] == chunks[1]


@pytest.mark.xdist_group("dask")
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_the_processor_is_unpacked_once_per_process(name, request):
    result = request.getfixturevalue(name)
    counters = result.accumulator["input"]["counters"]
    copies = [key.split(".")[1:] for key in counters if key.startswith("copies.")]
    processes = {process for process, _ in copies}
    assert len(copies) == len(processes) <= 2
    assert str(os.getpid()) not in processes


def test_workers_get_their_threads(futures):
    threads = FUTURES.threads_per_worker
    assert futures.accumulator["input"]["counters"][f"threads.{threads}"] == 5


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_chunk_sizes_change_no_count(sample, counting, clean, size, write_events):
    if size == 1:
        sample, expected = [write_events(sample[0].with_name("few.root"), 5)], None
    else:
        expected = sums(clean)
    result = execute(planned(sample, size), counting(), ITERATIVE)
    whole = execute(planned(sample, 10**7), counting(), ITERATIVE)
    assert sums(result) == (expected or sums(whole))
    counts, other = spectra(result)["counts"], spectra(whole)["counts"]
    np.testing.assert_array_equal(counts, other)
    # sums of the same terms in another order: as many roundings as terms, at most
    np.testing.assert_allclose(spectra(result)["weighted"], spectra(whole)["weighted"], rtol=1e-12)


def test_negative_weights_survive_the_merge(sample, counting):
    chunks = execute(planned(sample, 1 + 380 // 7), counting(), ITERATIVE)
    whole = execute(planned(sample, 10**6), counting(), ITERATIVE)
    values = [r.accumulator["input"]["counters"]["sum_genweight.read"] for r in (chunks, whole)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_a_listener_hears_of_every_chunk(sample, counting):
    ears = Ears()
    result = execute(planned(sample), counting(fail_at=80), ITERATIVE, listener=ears, retry=QUICK)
    assert tuple(ears.records) == result.ledger.records


def test_a_worker_that_dies_leaves_a_record_for_every_chunk(sample, counting):
    alone = ExecutorSettings("futures", workers=1)
    twice = RetryPolicy(attempts=2, delay=0.01)
    result = execute(planned(sample), counting(fail_at=300, action="die"), alone, retry=twice)
    tally = result.ledger.tally()
    assert tally.events_planned == 380 == tally.events_done + tally.events_failed
    assert tally.chunks_failed >= 1
    assert {record.failure for record in result.ledger.failed} == {"lost"}
    assert "worker process died" in result.ledger.failed[0].reason
    assert result.error is None


def test_an_interrupt_keeps_what_is_done(sample, counting):
    result = execute(
        planned(sample), counting(fail_at=200, action="interrupt"), ITERATIVE, retry=QUICK
    )
    assert result.interrupted
    assert [record.status for record in result.ledger.records] == ["done"] * 2 + ["failed"] * 4
    assert {record.failure for record in result.ledger.failed} == {"interrupted"}
    assert sums(result)["events.read"] == 154


def test_nothing_done_is_a_result_not_an_exception(sample, load):
    careless = load("Careless")
    result = execute(planned(sample), careless(), ITERATIVE)
    assert result.error is None
    assert result.accumulator == {}
    assert "process() must return {'input': {...}}" in result.ledger.failed[0].reason
    nothing = plan_fileset([FileEntry("mc", "/absent.root")])
    assert execute(nothing, careless(), ITERATIVE).ledger.tally().files_unknown == 1


def test_a_chunk_that_does_not_add_fails_alone(sample, load):
    growing = load("Growing")
    result = execute(planned(sample), growing(fail_at=80), ITERATIVE)
    (failed,) = result.ledger.failed
    assert failed.start == 77
    assert "does not add" in failed.reason
    assert result.accumulator["input"]["counters"]["events.read"] == 380 - 77


def test_a_processor_that_cannot_travel_is_refused_before_the_first_chunk(sample, load):
    homesick = load("Homesick")()
    with pytest.raises(ConfigurationError, match="cannot be sent to workers"):
        check_travels(homesick, FUTURES)
    check_travels(homesick, ITERATIVE)


@pytest.mark.xdist_group("dask")
def test_a_complaining_worker_stops_the_run(sample, counting, scheduler):
    settings = ExecutorSettings("dask", scheduler=scheduler)
    with pytest.raises(ConfigurationError, match=r"worker tcp.*no space here"):
        execute(planned(sample), counting(), settings, probe=lambda: "no space here")


def test_no_scheduler_is_one_sentence(sample, counting, monkeypatch):
    monkeypatch.setattr("executors.dask.cluster.CONNECT_TIMEOUT", 0.5)
    settings = ExecutorSettings("dask", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="no Dask scheduler answers at tcp://127"):
        execute(planned(sample), counting(), settings)


@pytest.mark.xdist_group("dask")
def test_the_cluster_listens_on_loopback_alone(scheduler):
    import psutil

    here = psutil.Process()
    processes = [here, *here.children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}


def test_importing_the_room_loads_neither_torch_nor_a_cluster(repository):
    code = (
        "import sys, executors.execution, executors.plan\n"
        "import executors.report.build, executors.report.summary\n"
        "print([m for m in ('torch', 'distributed', 'processors', 'flows') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_plain_processor_runs_on_real_files(real_data, load):
    names = ["nano/nano_tt_v12_200", "edge/nano_dy_empty", "edge/missing_luminosityBlock"]
    plan = plan_fileset(from_inputs([real_data / f"{name}.root" for name in names]))
    result = execute(plan, load("Physicist")(), ITERATIVE)
    assert [record.status for record in result.ledger.records] == ["done", "done", "failed"]
    assert result.accumulator["input"]["counters"]["events.read"] == 200
    assert result.accumulator["input"]["counters"]["muons"] > 100
    assert "luminosityBlock" in result.ledger.failed[0].reason
