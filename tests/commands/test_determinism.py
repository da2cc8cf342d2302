"""The shipped models give the same events for every chunk size on every executor."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from executors.dask.casa import SECRETS_VARIABLE
from executors.execution import execute
from executors.inputs.fileset_json import parse_fileset
from executors.loading import load_class
from executors.plan import Limits, plan_fileset
from executors.report.models import models_section
from executors.settings import CASA_VARIABLE, ExecutorSettings
from flows.resident import forget
from processors.flashsim.processor import FlashSim

EVENTS = 900
"""Enough for chunks of 100 and 777 to differ; chosen small for the sake of time."""
RUNS = [
    *product((100, 777, 10**6), ("iterative",)),
    *product((100,), ("futures", "dask", "casa")),
    (777, "dask"),
]
"""Sizes of chunks in one process, then where chunks run: all are compared with the same run.

The pool of ``htcondor`` is compared in ``tests/executors/htcondor/test_pool.py``.
"""
TELEMETRY = "seconds.", "micro_batches.", "models.", "processes."
"""Counters of what a run cost, which results do not depend on."""
WATCHED = str(Path(__file__).with_name("watched.py"))
pytestmark = pytest.mark.xdist_group("determinism")


def settings(kind: str, request: pytest.FixtureRequest) -> ExecutorSettings:
    if kind not in ("dask", "casa"):
        return ExecutorSettings(kind, workers=2 if kind == "futures" else None)
    # one cluster for both: its workers load the models once
    scheduler, files = map(request.getfixturevalue, ("tls_scheduler", "certificates"))
    if kind == "dask":
        return ExecutorSettings("dask", scheduler=scheduler, tls=files)
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv(CASA_VARIABLE, scheduler)
    patch.setenv(SECRETS_VARIABLE, str(files.ca.parent))
    return ExecutorSettings("casa")


def simulate(chunk_size: int, where: ExecutorSettings, output: Path):
    """Run; return the written events in order, histograms, event-wise counters."""
    sample = FlashSim.default_inputs()[0]
    fileset = {"ttbar": {"files": {str(sample): {"object_path": "Events", "steps": [[0, EVENTS]]}}}}
    plan = plan_fileset(parse_fileset(fileset), chunk_size=chunk_size)
    watched = load_class(f"{WATCHED}:Watched", {})
    processor = watched.from_options({"output": output, "seed": 5})
    result = execute(plan, processor, where)
    assert not result.ledger.failed, [record.reason for record in result.ledger.failed]
    found = result.accumulator["ttbar"]
    files = sorted(found["outputs"], key=lambda path: int(path.split("_")[-1].split("-")[0]))
    assert len(files) == -(-EVENTS // chunk_size)
    events = ak.concatenate([uproot.open(output / path)["Events"].arrays() for path in files])
    return events, found["hists"], found["counters"]


@pytest.fixture(scope="module")
def met() -> set[str]:
    """Processes that ran chunks of this module before, so that have the models already."""
    return set()


@pytest.fixture(scope="module")
def reference(tmp_path_factory, met):
    output = tmp_path_factory.mktemp("reference")
    forget()
    events, hists, counters = simulate(EVENTS, ExecutorSettings("iterative"), output)
    check_work(counters, met, chunks=1, alone=True)
    return events, hists, counters


def check_work(counters: dict[str, float], met: set[str], *, chunks: int, alone: bool) -> None:
    """Compare the work of the models with the objects that passed, the loads with the processes.

    Processes that are not ``alone`` may have met the models in tests of other modules.
    """
    told = {name.split(".")[1]: n for name, n in counters.items() if name.startswith("processes.")}
    assert sum(told.values()) == chunks
    models = models_section([], [{"counters": counters}])
    assert len(models) == 2
    rows = {"efficiency": 0, "generate": 0}
    for model in models:
        new = len(set(told) - met)
        assert model["loads"] == new if alone else model["loads"] <= new
        for stage, work in model["stages"].items():
            rows[stage] += work["rows"]
            assert work["calls"] >= chunks
            assert 1 <= work["batches"] <= work["calls"] + work["rows"] // 1024
            assert work["rows"] + work["padded"] == 1024 * work["batches"]
            assert 0 < work["fill"] <= 1
            assert work["samples"] == work["rows"]
            assert work["samples_per_second"] > 0
    met |= set(told)

    def objects(name: str) -> float:
        return sum(counters[f"objects.{c}.{name}"] for c in ("Muon", "Jet"))

    assert rows["efficiency"] == objects("in")
    assert rows["generate"] == objects("in") - objects("not_reconstructed") + objects("resampled")
    assert counters["micro_batches.1024"] == sum(
        work["batches"] for model in models for work in model["stages"].values()
    )


@pytest.mark.parametrize(("chunk_size", "kind"), RUNS)
def test_events_and_histograms_are_those_of_any_other_run(
    chunk_size, kind, reference, met, request, tmp_path
):
    events, hists, counters = simulate(chunk_size, settings(kind, request), tmp_path)
    expected, expected_hists, expected_counters = reference
    alone = kind not in ("dask", "casa")
    check_work(counters, met, chunks=-(-EVENTS // chunk_size), alone=alone)
    assert set(events.fields) == set(expected.fields)
    for name in events.fields:
        one, two = ak.flatten(events[name], axis=None), ak.flatten(expected[name], axis=None)
        assert ak.to_numpy(one).tobytes() == ak.to_numpy(two).tobytes(), name
    for name, histogram in hists.items():
        values, wanted = histogram.view(flow=True), expected_hists[name].view(flow=True)
        # ttbar weights are all one, so weighted sums are integers: exact in float64 in any order
        assert np.array_equal(values["value"], wanted["value"]), name
        assert np.array_equal(values["variance"], wanted["variance"]), name
    for name, value in expected_counters.items():
        if not name.startswith(TELEMETRY):
            assert counters[name] == value, name


def test_another_seed_gives_other_events(reference, tmp_path):
    sample = FlashSim.default_inputs()[0]
    fileset = parse_fileset({"ttbar": {"files": {str(sample): "Events"}}})
    plan = plan_fileset(fileset, chunk_size=100, limits=Limits(max_chunks=1))
    processor = FlashSim.from_options({"output": tmp_path, "seed": 6})
    result = execute(plan, processor, ExecutorSettings("iterative"))
    (path,) = result.accumulator["ttbar"]["outputs"]
    jets = uproot.open(tmp_path / path)["Events"]["Jet_pt"].array()
    assert ak.to_list(jets) != ak.to_list(reference[0].Jet_pt[: len(jets)])
