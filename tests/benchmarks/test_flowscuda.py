"""Rates on a device: what is measured there is measured on the processor, in small."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks import flows, flowscuda, timing1d
from benchmarks.flowscuda import PHOTON_TIMES, measure_photon_times


def check(row):
    assert row.name == PHOTON_TIMES == "timing-1d-cuda"
    assert row.peer.startswith("normflows ")
    assert row.ratio == pytest.approx(row.rate / row.peer_rate)
    assert row.max_abs_diff < 1e-4


def test_photon_times_have_a_row_on_any_device():
    row = measure_photon_times(time.perf_counter, "cpu", photons=2_000, batches=(50, 100))
    check(row)
    assert row.device == "cpu, compiled"
    # 100 photons share the networks of their context
    assert row.ratio > 3


def test_time_counts_per_photon():
    """A clock that ticks once per look: a call of either takes one tick."""
    ticks = iter(range(10_000))
    row = measure_photon_times(lambda: next(ticks), "cpu", photons=1_500, batches=(50, 100))
    assert row.rate == pytest.approx(1_500)
    assert row.peer_rate == pytest.approx(100)


def test_the_engines_call_is_that_of_the_processors_row(monkeypatch):
    asked = []
    drawing = timing1d.drawing
    monkeypatch.setattr(
        timing1d, "drawing", lambda *given: asked.append(given[1:]) or drawing(*given)
    )
    measure_photon_times(time.perf_counter, "cpu", photons=950, batches=(50,))
    assert asked == [(10, 100, "cpu")]


def test_rows_of_devices_are_offered_where_there_is_one(monkeypatch):
    assert (PHOTON_TIMES in flows.NAMES) == torch.cuda.is_available()
    row = object()
    monkeypatch.setattr(flowscuda, "measure_photon_times", lambda clock: row)
    assert flows._measured(PHOTON_TIMES, 1, time.perf_counter) == [row]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_photon_times_on_a_device():
    row = measure_photon_times(time.perf_counter, photons=20_000, batches=(1_000,))
    check(row)
    assert row.device.endswith(", torch")
