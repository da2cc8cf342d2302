"""Histograms of photons: bars wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from processors.counters import Counters
from processors.timing.bars import bars_of, signals_of
from processors.timing.comparison import resolutions
from processors.timing.config import TimingConfig
from processors.timing.figures import figures
from processors.timing.hits import bar_hits
from processors.timing.reading import read_detector
from processors.timing.sensors import contexts
from processors.timing.validation import TimingValidation, reference


@pytest.fixture(scope="module")
def photons(stack, open_bars):
    """Hits of the stack of bars, its photons; whole mm of z, which no displacement rounds."""
    config, counters = TimingConfig(), Counters()
    found = read_detector(open_bars(stack), config.hits, counters)
    hits = bar_hits(found.hits, config, counters)
    where = contexts(hits, 0.0, config)
    where[..., 0] = np.rint(where[..., 0])
    return hits, reference(found, hits, config, where, counters)


def compared(photons, shift):
    """Histograms of both sources in bars that lie ``shift`` mm farther along z."""
    hits, seen = photons
    config = TimingConfig(bar_low=-735.0 + shift, bar_high=770.0 + shift)
    validation, moved = TimingValidation(config), seen._replace(contexts=seen.contexts.copy())
    moved.contexts[..., 0] += shift
    bars = bars_of(hits, moved)
    signals = signals_of(bars, config, Counters())
    for source in ("full", "flash"):
        validation.add(source, hits, moved, 1.0)
        validation.add_signals(source, bars, hits, moved, signals, 1.0)
    return validation.hists


def test_bars_elsewhere_are_compared_as_those_here(photons):
    here, there = compared(photons, 0.0), compared(photons, 1000.0)
    for name, one in here.items():
        assert one.view(flow=True).tobytes() == there[name].view(flow=True).tobytes(), name
    rows, others = (
        [{key: value for key, value in row.items() if key != "bin"} for row in resolutions(one)]
        for one in (here, there)
    )
    assert rows == others
    assert len(rows) > 0
    for hists, place in ((here, 770), (there, 1770)):
        _, below = dict(figures(hists, "toy"))["photon_resolution"]().axes
        assert below.get_xlabel() == f"z [mm], sensor at {place} mm"
        assert below.get_xlim()[1] == pytest.approx(place)
