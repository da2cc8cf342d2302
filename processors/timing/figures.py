"""Figures of drawn photons and signals beside those of the input, from merged histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product

import hist
import numpy as np
from matplotlib.figure import Figure

from processors.distances import from_histograms
from processors.histogramming import SOURCES
from processors.plots.columns import plot_column
from processors.plots.grids import Axis, plot_grid
from processors.plots.widths import Widths, plot_widths
from processors.timing.comparison import BinDistance, distances_of_bins, resolution, whole
from processors.timing.conditions import CONTEXT

__all__ = ["figures"]

DRAWN_BINS = {
    "photon_time": 4,
    "photon_first": 4,
    "photon_second": 4,
    "sensor_charge": 2,
    "sensor_edge": 5,
    "sensor_fraction": 4,
    "sensor_walk": 4,
}
"""Bins drawn as one."""
DRAWN_WIDTHS = {
    "photon": {"first": "first photon", "second": "second photon"},
    "sensor": {"fraction": "constant fraction", "edge": "leading edge"},
}
"""Times whose widths one figure shows, with their names in its legend."""


def figures(
    hists: Mapping[str, hist.Hist], dataset: str
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """All figures of a dataset with anything in them: file name, function that draws it."""
    for name, one in hists.items():
        shape = whole(one)
        if shape["flash", :].sum(flow=True).value > 0:
            yield name, partial(_column, name, shape, dataset)
    for thing, names in DRAWN_WIDTHS.items():
        given = {what: hists.get(f"{thing}_{name}") for name, what in names.items()}
        known = {what: one for what, one in given.items() if one is not None}
        widths = {what: _widths(one) for what, one in known.items()}
        if any(np.isfinite(one.flash).any() for one in widths.values()):
            edges = next(iter(known.values())).axes["z"].edges
            yield f"{thing}_resolution", partial(_resolution_figure, widths, edges, dataset)
    found = list(distances_of_bins(hists))
    if found:
        axes = [hists["photon_time"].axes[name] for name in CONTEXT]
        shown = [Axis(axis.label, axis.edges) for axis in axes]
        yield "photon_bins", partial(_grid, found, shown, dataset)


def _column(name: str, shape: hist.Hist, dataset: str) -> Figure:
    """Show the bins from the first filled one to the last, with one beside them.

    The distances are those of the report, of bins that are not merged yet.
    """
    one = shape[:, :: hist.rebin(DRAWN_BINS.get(name, 1))]
    counted = "photons" if name == "photon_time" else "sensors"
    found = from_histograms(shape["full", :], shape["flash", :])
    figure = plot_column(one, dataset=dataset, counted=counted, found=found)
    filled = np.flatnonzero(one.values().sum(axis=0))
    if len(filled):
        edges = one.axes[-1].edges
        low, high = max(filled[0] - 1, 0), min(filled[-1] + 2, len(edges) - 1)
        for axes in figure.axes:
            axes.set_xlim(edges[low], edges[high])
    return figure


def _widths(one: hist.Hist) -> Widths:
    """Widths of a time in bins of z."""
    columns = np.full((len(SOURCES), 2, len(one.axes["z"])), np.nan)
    for (code, source), place in product(enumerate(SOURCES), range(columns.shape[-1])):
        found = resolution(one[source, place, :])
        if found is not None:
            columns[code, :, place] = found.width, found.width_error
    return Widths(*columns.reshape(4, -1))


def _resolution_figure(widths: Mapping[str, Widths], edges: np.ndarray, dataset: str) -> Figure:
    against, of = f"z [mm], sensor at {edges[-1]:g} mm", "width of the time [ns]"
    return plot_widths(widths, edges, dataset=dataset, against=against, of=of)


def _grid(bins: list[BinDistance], axes: list[Axis], dataset: str) -> Figure:
    ks, floor = np.full((2, *(len(axis.edges) - 1 for axis in axes)), np.nan)
    for one in bins:
        ks[one.place], floor[one.place] = one.distance.ks, one.distance.ks_floor
    z, theta, p = axes
    return plot_grid(ks, floor, (z, theta, p), dataset=dataset)
