"""What is told of merged histograms, and that figures tell the same."""

from __future__ import annotations

import numpy as np
import pytest

from processors.histogramming import fill
from processors.timing.summary import distances, figures
from processors.timing.validation import (
    CHARGE,
    CONTEXT_BINS,
    EARLIEST,
    NUMBER,
    SIGNAL_TIMES,
    TIME,
    WALK,
    TimingValidation,
)

COLUMNS = {
    "photon_time": TIME,
    **{f"photon_{name}": binning for name, binning in (*EARLIEST.items(), ("number", NUMBER))},
    "sensor_charge": CHARGE,
    **{f"sensor_{name}": binning for name, binning in (*SIGNAL_TIMES.items(), ("walk", WALK))},
}


@pytest.fixture(scope="module")
def filled():
    """All histograms with steep distributions: merged bins hide most of what sets them apart."""
    validation, rng = TimingValidation(), np.random.default_rng(3)
    for name, binning in COLUMNS.items():
        for code, shift in enumerate((0.02, 0.03)):
            share = shift + rng.exponential(0.03, 5_000)
            span = np.log(binning.high / binning.low) if binning.geometric else 0.0
            values = (
                binning.low * np.exp(share * span)
                if binning.geometric
                else binning.low + share * (binning.high - binning.low)
            )
            one = validation.hists[name]
            places = [
                CONTEXT_BINS[axis.name].index(np.full(len(values), 0.5 * (axis[0][1] + axis[0][0])))
                for axis in one.axes[1:-1]
            ]
            fill(one, [code], [*places, binning.index(values)], 1.0)
    return validation.hists


def test_figures_show_the_distances_of_the_report(filled):
    rows = {
        f"{row['object'].lower()}_{row['variable']}": row
        for row in distances(filled)
        if " " not in row["variable"]
    }
    drawn = dict(figures(filled, "toy"))
    assert set(rows) == set(COLUMNS)
    for name, row in rows.items():
        (text,) = (t.get_text() for t in drawn[name]().axes[0].texts if "KS" in t.get_text())
        assert f"KS {row['ks']:.3f} (noise {row['ks_floor']:.3f})" in text, name
        assert f"W₁/σ {row['w1']:.3f} (noise {row['w1_floor']:.3f})" in text, name
