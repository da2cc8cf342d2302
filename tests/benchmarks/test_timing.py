"""Figures of photon times: parts that are measured one by one make one file."""

from __future__ import annotations

from contextlib import nullcontext
from threading import Barrier

import numpy as np
import pytest
import torch

from benchmarks import timing1d, timing_throughput
from benchmarks.timing import merged
from benchmarks.timing_throughput import CHUNKS, WAYS, Work, generate, measure
from flows.importers.normflows import import_normflows
from processors.timing.hits import photon_yield
from samples.timing.bar import Bar
from samples.timing.muons import cross, shoot


def test_a_part_replaces_its_own_figures_alone():
    before = {"rows": [{"name": "a", "rate": 1}, {"name": "b", "rate": 2}], "quality": 3, "x": 4}
    found = {"rows": [{"name": "b", "rate": 5}, {"name": "c", "rate": 6}], "x": 7}
    after = merged(before, found)
    rates = {row["name"]: row["rate"] for row in after.pop("rows")}
    assert rates == {"a": 1, "b": 5, "c": 6}
    assert after == {"quality": 3, "x": 7}
    assert merged({}, {"machine": 1}) == {"machine": 1, "rows": []}


def test_the_sample_has_a_hundred_photons_per_hit_and_sensor():
    rng, bar = np.random.default_rng(1), Bar(layers=timing_throughput.LAYERS)
    tracks = cross(shoot(timing_throughput.GUN, bar, 2_000, rng), bar, rng)
    ends = tracks.z - bar.low, bar.high - tracks.z
    mean = np.mean([photon_yield(tracks.energy, distance) for distance in ends])
    # the long tails of both distributions leave 1 % of 96,000 sensors' mean uncertain
    assert mean == pytest.approx(100.0, abs=5.0)
    assert len(tracks.z) > 0.95 * 2_000 * timing_throughput.GUN.number * timing_throughput.LAYERS


class Here:
    """A pool of this process alone: what spawned ones do, one after the other."""

    def map(self, function, numbers, chunksize):
        return [function(number) for number in numbers]


def test_both_ways_run_all_chunks_and_say_what_they_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(timing_throughput, "_pool", lambda *size: nullcontext(Here()))
    monkeypatch.setattr(timing_throughput, "_together", [Barrier(1)])
    weights = tmp_path / "run_1_3context_1flows_10hl_128hu.pth"
    torch.save(timing1d.model().state_dict(), weights)
    flow = import_normflows(weights, lever_arm=6.0, thickness=10.0)
    events = 5 * CHUNKS + 3
    sample = generate(tmp_path, events)
    assert generate(tmp_path, events) == sample
    found = measure(Work(sample, events, flow.save(tmp_path / "bundle"), True), 1)
    # 550 hits at two ends, whose means have a long tail
    assert found["photons_per_sensor"] == pytest.approx(100, rel=0.3)
    for way in WAYS:
        one = found[way]
        assert one["photons_per_second"] == pytest.approx(one["rounds"][0])
        assert sum(one["stages"].values()) == pytest.approx(1.0)
        assert min(one["stages"].values()) > 0
        assert one["cpu_ns_per_photon"] > 0
