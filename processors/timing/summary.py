"""What is made once from the merged histograms of photon times: distances, resolutions, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import hist
import numpy as np
from matplotlib.figure import Figure

from processors.base import Result
from processors.distances import effective_entries, from_histograms
from processors.duplicates import repeated_events
from processors.folders import dataset_folder
from processors.histogramming import SOURCES
from processors.plots.columns import plot_column
from processors.timing.reading import has_content
from processors.timing.validation import CONTEXT_BINS, EARLIEST, SIGNAL_TIMES

__all__ = ["binned", "distances", "figures", "finish", "resolutions"]

LEAST_ENTRIES = 1000.0
"""Photons of either source in a bin that is compared: the noise floor of KS is 0.04; chosen."""
LEAST_MUONS = 50.0
"""First photons in a bin whose width is given: 10 % of itself; chosen."""
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


def finish(accumulator: Result, output_dir: Path) -> dict[str, Any]:
    """Write the figures of every dataset to ``plots/``, return distances and resolutions.

    Returns: ``distances`` of whole columns and in bins of z; ``bins`` of time in z, θ, p;
        ``resolutions`` of the first and second photon; ``plots``; ``repeated_events``.
    """
    rows: dict[str, list[Any]] = {"distances": [], "bins": [], "resolutions": [], "plots": []}
    again: dict[str, int | None] = {}
    for dataset, result in accumulator.items():
        hists, named = result["hists"], {"dataset": dataset}
        for name in ("distances", "bins", "resolutions"):
            found = {"distances": distances, "bins": binned, "resolutions": resolutions}[name]
            rows[name] += [named | row for row in found(hists)]
        folder = output_dir / "plots"
        if len(accumulator) > 1:
            folder /= dataset_folder(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in figures(hists, dataset):
            path = folder / f"{name}.png"
            draw().savefig(path)
            rows["plots"].append(str(path.relative_to(output_dir)))
        again[dataset] = repeated_events(
            (output_dir / path for path in result["outputs"]), has_content
        )
        if again[dataset] is not None:
            result.setdefault("counters", {})["events.repeated"] = again[dataset]
    return {**rows, "repeated_events": again}


def figures(
    hists: Mapping[str, hist.Hist], dataset: str
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """All figures of a dataset with anything in them: file name, function that draws it."""
    for name, one in _drawn(hists):
        counted = "photons" if name == "photon_time" else "sensors"
        yield name, partial(_figure, one, dataset, counted)


def distances(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Distance of drawn photons from those of the input: whole columns, times in bins of z."""
    for name, one in hists.items():
        thing, _, variable = name.partition("_")
        yield from _row(thing.capitalize(), variable, _shape(one))
    if "photon_time" in hists:
        times = hists["photon_time"].project("source", "z", "time")
        for place, label in enumerate(_labels("z")):
            yield from _row("Photon", f"time, {label}", times[:, place, :])


def binned(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Distance of the times in every bin of z, θ, p that holds enough photons."""
    if "photon_time" not in hists:
        return
    labels = [list(enumerate(_labels(name))) for name in CONTEXT_BINS]
    for bins in product(*labels):
        places, names = zip(*bins, strict=True)
        chosen = hists["photon_time"][(slice(None), *places, slice(None))]
        photons = effective_entries(chosen["full", :])
        for row in _row("Photon", ", ".join(names), chosen):
            yield row | {"photons": photons}


def resolutions(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Mean and width in ns of the earliest photons, of the signals' times, in bins of z.

    Errors of the width are those of a normal distribution; ``beyond`` is the share of sensors whose
    time lies outside the axis and enters neither.
    """
    named = [("photon", name) for name in EARLIEST] + [("sensor", name) for name in SIGNAL_TIMES]
    for (thing, name), source in product(named, SOURCES):
        one = hists.get(f"{thing}_{name}")
        for place, label in enumerate(_labels("z") if one is not None else ()):
            chosen = one[source, place, :]
            inside, every = chosen.values().sum(), chosen.values(flow=True).sum()
            number = effective_entries(chosen) * inside / max(every, 1e-30)
            if number < LEAST_MUONS:
                continue
            share = chosen.values() / inside
            centres = chosen.axes[0].centers
            mean = float((share * centres).sum())
            width = float(np.sqrt((share * (centres - mean) ** 2).sum()))
            yield {
                thing: name,
                "source": source,
                "bin": label,
                "sensors": number,
                "beyond": float(1.0 - inside / every),
                "mean": mean,
                "mean_error": width / number**0.5,
                "width": width,
                "width_error": width / (2.0 * number) ** 0.5,
            }


def _row(thing: str, variable: str, one: hist.Hist) -> Iterator[dict[str, Any]]:
    full, flash = one["full", :], one["flash", :]
    photons = effective_entries(full)
    least = 1.0 if one.axes[-1].name != "time" else LEAST_ENTRIES
    if min(photons, effective_entries(flash)) >= least:
        found = from_histograms(full, flash)
        yield {"object": thing, "variable": variable, **found._asdict()}


def _labels(name: str) -> list[str]:
    edges = CONTEXT_BINS[name].axis(name).edges
    return [f"{name} {low:.3g} to {high:.3g}" for low, high in pairwise(edges)]


def _shape(one: hist.Hist) -> hist.Hist:
    return one.project("source", one.axes[-1].name)


def _drawn(hists: Mapping[str, hist.Hist]) -> Iterator[tuple[str, hist.Hist]]:
    for name, one in hists.items():
        shape = _shape(one)
        if shape["flash", :].sum(flow=True).value > 0:
            yield name, shape[:, :: hist.rebin(DRAWN_BINS.get(name, 1))]


def _figure(one: hist.Hist, dataset: str, counted: str) -> Figure:
    """Show the bins from the first filled one to the last, with one beside them."""
    figure = plot_column(one, dataset=dataset, counted=counted)
    filled = np.flatnonzero(one.values().sum(axis=0))
    if len(filled):
        edges = one.axes[-1].edges
        low, high = max(filled[0] - 1, 0), min(filled[-1] + 2, len(edges) - 1)
        for axes in figure.axes:
            axes.set_xlim(edges[low], edges[high])
    return figure
