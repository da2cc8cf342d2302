"""Drawn photons and signals against those of the input, from merged histograms, in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import Any, NamedTuple

import hist
import numpy as np

from processors.distances import Distance, effective_entries, from_histograms
from processors.histogramming import SOURCES
from processors.timing.conditions import CONTEXT
from processors.timing.validation import EARLIEST, SIGNAL_TIMES

__all__ = [
    "BinDistance",
    "Resolution",
    "binned",
    "distances",
    "distances_of_bins",
    "resolution",
    "resolutions",
    "whole",
]

LEAST_ENTRIES = 1000.0
"""Photons of either source in a bin that is compared: the noise floor of KS is 0.04; chosen."""
LEAST_MUONS = 50.0
"""First photons in a bin whose width is given: known to 10 % at best; chosen."""


def distances(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Distance of drawn photons from those of the input: whole columns, times in bins of z.

    An input without any photon is not compared: its sensors are not dark, but unknown.
    """
    times = hists.get("photon_time")
    if times is None or not times.project("source")["full"].value:
        return
    for name, one in hists.items():
        thing, _, variable = name.partition("_")
        yield from _row(thing.capitalize(), variable, whole(one))
    along = times.project("source", "z", "time")
    for place, label in enumerate(_labels(along.axes["z"])):
        yield from _row("Photon", f"time, {label}", along[:, place, :])


def binned(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Distance of the times in every bin of z, θ, p that holds enough photons."""
    for one in distances_of_bins(hists):
        labels = [_labels(hists["photon_time"].axes[name]) for name in CONTEXT]
        names = ", ".join(of[number] for of, number in zip(labels, one.place, strict=True))
        found = one.distance._asdict()
        yield {"object": "Photon", "variable": names, **found, "photons": one.photons}


def resolutions(hists: Mapping[str, hist.Hist]) -> Iterator[dict[str, Any]]:
    """Mean and width in ns of the earliest photons, of the signals' times, in bins of z.

    The error of the mean is σ / √N, that of the width σ √((κ − 1) / 4N), κ being the fourth central
    moment over σ⁴: 3 for a normal distribution, 4 to 15 for first photons. It follows from the
    variance of s², (μ₄ − σ⁴) / N for large N (Particle Data Group, Review of Particle Physics,
    Statistics: estimators of mean and variance). All moments are of the bins inside the axis;
    ``beyond`` is the share of sensors whose time lies outside and enters none.
    """
    named = [("photon", name) for name in EARLIEST] + [("sensor", name) for name in SIGNAL_TIMES]
    for (thing, name), source in product(named, SOURCES):
        one = hists.get(f"{thing}_{name}")
        for place, label in enumerate(_labels(one.axes["z"]) if one is not None else ()):
            found = resolution(one[source, place, :])
            if found is not None:
                yield {thing: name, "source": source, "bin": label, **found._asdict()}


class Resolution(NamedTuple):
    """Moments of a time inside its axis, ns; see :func:`resolutions`."""

    sensors: float
    beyond: float
    mean: float
    mean_error: float
    width: float
    width_error: float


def resolution(one: hist.Hist) -> Resolution | None:
    """Moments of a histogram; None where it holds too little."""
    inside, every = one.values().sum(), one.values(flow=True).sum()
    number = effective_entries(one) * inside / max(every, 1e-30)
    if number < LEAST_MUONS:
        return None
    share, centres = one.values() / inside, one.axes[0].centers
    mean = float((share * centres).sum())
    width = float(np.sqrt((share * (centres - mean) ** 2).sum()))
    fourth = float((share * (centres - mean) ** 4).sum())
    return Resolution(
        sensors=number,
        beyond=float(1.0 - inside / every),
        mean=mean,
        mean_error=width / number**0.5,
        width=width,
        width_error=_width_error(width, fourth, number),
    )


def _width_error(width: float, fourth: float, number: float) -> float:
    """Error of a width whose distribution has this fourth central moment; 0 without a width."""
    if width <= 0:
        return 0.0
    kurtosis = max(fourth / width**4, 1.0)  # never below 1 but by rounding
    return float(width * ((kurtosis - 1.0) / (4.0 * number)) ** 0.5)


class BinDistance(NamedTuple):
    """Distance of the times in one bin of z, θ, p.

    Attributes:
        place: Number of the bin in each of the three.
        photons: Of full simulation.
        distance: Of flash from full simulation.
    """

    place: tuple[int, ...]
    photons: float
    distance: Distance


def distances_of_bins(hists: Mapping[str, hist.Hist]) -> Iterator[BinDistance]:
    """Distances of the times in the bins that hold enough photons."""
    if "photon_time" not in hists:
        return
    axes = hists["photon_time"].axes
    for place in product(*(range(len(axes[name])) for name in CONTEXT)):
        chosen = hists["photon_time"][(slice(None), *place, slice(None))]
        found = _compared(chosen)
        if found is not None:
            yield BinDistance(place, effective_entries(chosen["full", :]), found)


def _row(thing: str, variable: str, one: hist.Hist) -> Iterator[dict[str, Any]]:
    found = _compared(one)
    if found is not None:
        yield {"object": thing, "variable": variable, **found._asdict()}


def _compared(one: hist.Hist) -> Distance | None:
    """Distance of flash from full simulation; None where either holds too little."""
    full, flash = one["full", :], one["flash", :]
    least = 1.0 if one.axes[-1].name != "time" else LEAST_ENTRIES
    if min(effective_entries(full), effective_entries(flash)) < least:
        return None
    return from_histograms(full, flash)


def _labels(axis: Any) -> list[str]:
    return [f"{axis.name} {low:.3g} to {high:.3g}" for low, high in pairwise(axis.edges)]


def whole(one: hist.Hist) -> hist.Hist:
    """Histogram of the source and the variable, summed over z, θ, p."""
    return one.project("source", one.axes[-1].name)
