"""Figures of merged histograms tell what the report tells."""

from __future__ import annotations

import numpy as np
import pytest

from processors.histogramming import fill
from processors.timing.comparison import binned, distances, resolutions
from processors.timing.config import TimingConfig
from processors.timing.figures import figures
from processors.timing.validation import (
    CHARGE,
    EARLIEST,
    NUMBER,
    SIGNAL_TIMES,
    TIME,
    WALK,
    TimingValidation,
    context_bins,
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
    config, rng = TimingConfig(), np.random.default_rng(3)
    validation, bins = TimingValidation(config), context_bins(config)
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
                bins[axis.name].index(np.full(len(values), 0.5 * (axis[0][1] + axis[0][0])))
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
    assert set(rows) == set(COLUMNS) < set(drawn)
    for name, row in rows.items():
        (text,) = (t.get_text() for t in drawn[name]().axes[0].texts if "KS" in t.get_text())
        digits = 3 if row["ks_floor"] >= 0.001 else 4
        assert f"KS {row['ks']:.{digits}f} (noise {row['ks_floor']:.{digits}f})" in text, name
        assert f"W₁/σ {row['w1']:.3f} (noise {row['w1_floor']:.3f})" in text, name


def test_the_resolution_is_drawn_as_it_is_told(filled):
    drawn, rows = dict(figures(filled, "toy")), list(resolutions(filled))
    place = 0  # all are in the first bin
    for thing, names in (("photon", ("first", "second")), ("sensor", ("fraction", "edge"))):
        main, below = drawn[f"{thing}_resolution"]().axes
        assert below.get_xlabel() == "z [mm], sensor at 770 mm"
        for points, name in zip(main.containers, names, strict=True):
            (row,) = (r for r in rows if r.get(thing) == name and r["source"] == "flash")
            values = np.asarray(points.lines[0].get_ydata())
            assert np.flatnonzero(np.isfinite(values)).tolist() == [place]
            assert values[place] == pytest.approx(row["width"])


def test_the_bins_are_drawn_as_they_are_told(filled):
    (row,) = binned(filled)
    figure = dict(figures(filled, "toy"))["photon_bins"]()
    (text,) = (
        text.get_text() for plane in figure.axes for text in plane.texts if "\n" in text.get_text()
    )
    assert text == f"{row['ks']:.4f}\n({row['ks_floor']:.4f})"


def test_nothing_is_drawn_of_nothing():
    assert list(figures(TimingValidation(TimingConfig()).hists, "toy")) == []
    assert list(figures({}, "toy")) == []
