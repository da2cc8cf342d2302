"""Histograms that compare the photons of the input with those drawn, filled block by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hist
import numpy as np

from processors.counters import Counters
from processors.histogramming import SOURCES, Binning, category_axis, fill, fill_rows, make
from processors.timing.bars import Bars
from processors.timing.config import BarConfig, TimingConfig
from processors.timing.hits import BarHits
from processors.timing.ordering import earliest_two
from processors.timing.reading import OPTICAL, Detector
from processors.timing.sensors import LOW_HIGH, Seen
from processors.timing.waveform import Signals

__all__ = ["EARLIEST", "SIGNAL_TIMES", "SPEED", "TimingValidation", "context_bins", "reference"]

SPEED = 190.0
"""mm/ns, c/n of polystyrene: light in a bar is not faster."""
LEAST_PHOTONS = 10
"""At a sensor, for its first and second photon to count; RowanKell/work_eic."""
TIME = Binning(400, -1.0, 39.0, "photon time after the hit [ns]")
EARLIEST: Mapping[str, Binning] = {
    "first": Binning(500, -2.0, 8.0, "first photon after the shortest way of light [ns]"),
    "second": Binning(500, -2.0, 8.0, "second photon after the shortest way of light [ns]"),
}
SIGNAL_TIMES: Mapping[str, Binning] = {
    "fraction": Binning(
        500, -2.0, 8.0, "constant-fraction time after the shortest way of light [ns]"
    ),
    "edge": Binning(550, -3.0, 8.0, "leading-edge time after the shortest way of light [ns]"),
}
CHARGE = Binning(75, 10.0, 1e6, "charge of a sensor [photon height · ns]", geometric=True)
WALK = Binning(140, -2.0, 5.0, "constant-fraction minus leading-edge time [ns]")
NUMBER = Binning(60, 0.8, 1.2e4, "photons at a sensor", geometric=True)


def context_bins(config: BarConfig) -> dict[str, Binning]:
    """Bins of the particle in the bar, or of its mirror image for the sensor at low z.

    Those of z go from end to end: the last edge is where the sensor is.
    """
    return {
        "z": Binning(6, config.bar_low, config.bar_high, "z [mm]"),
        "theta": Binning(6, 0.0, 180.0, r"$\theta$ [deg]"),
        "p": Binning(4, 0.1, 10.0, "p [GeV]", geometric=True),
    }


class TimingValidation:
    """All histograms of a run.

    Arguments:
        config: Where the bars end; whether histograms are wanted.
    """

    def __init__(self, config: TimingConfig) -> None:
        self.hists: dict[str, hist.Hist] = {}
        self.bins = context_bins(config)
        if not config.histograms:
            return
        source = category_axis(SOURCES, "source")
        dense = list(self.bins.items())
        self.hists["photon_time"] = make([source], [*dense, ("time", TIME)])
        for name, binning in (*EARLIEST.items(), ("number", NUMBER)):
            self.hists[f"photon_{name}"] = make([source], [dense[0], (name, binning)])
        for name, binning in (("charge", CHARGE), *SIGNAL_TIMES.items(), ("walk", WALK)):
            self.hists[f"sensor_{name}"] = make([source], [dense[0], (name, binning)])

    def add(self, source: str, hits: BarHits, seen: Seen, weight: float) -> None:
        """Fill the photons of a block.

        Arguments:
            source: ``full`` or ``flash``.
            hits: Particles in bars.
            seen: Their photons.
            weight: Of each.
        """
        if len(hits.event) == 0:
            return
        code = SOURCES.index(source)
        contexts, counts = seen.contexts.reshape(-1, 3), seen.counts.ravel()
        bins = [one.index(contexts[:, i]) for i, one in enumerate(self.bins.values())]
        times = (TIME, seen.delays)
        fill_rows(self.hists["photon_time"], [code], bins, counts, times, weight)
        fill(self.hists["photon_number"], [code], [bins[0], NUMBER.index(counts)], weight)
        lit = counts >= LEAST_PHOTONS
        way = self._way(contexts[lit, 0])
        earliest = earliest_two(seen.delays, counts)
        for times, (name, binning) in zip(earliest, EARLIEST.items(), strict=True):
            late = binning.index(times[lit] - way)
            fill(self.hists[f"photon_{name}"], [code], [bins[0][lit], late], weight)

    def add_signals(
        self,
        source: str,
        bars: Bars,
        hits: BarHits,
        seen: Seen,
        signals: Signals,
        weight: float,
    ) -> None:
        """Fill the signals of the sensors of a block that have photons.

        z and the time before which there is no light are those of the earliest particle in the bar.

        Arguments:
            source: ``full`` or ``flash``.
            bars: With photons.
            hits: Particles in them.
            seen: Their photons.
            signals: Of the sensors.
            weight: Of each.
        """
        code = SOURCES.index(source)
        lit = np.flatnonzero(bars.photons.ravel())
        z = seen.contexts[bars.first, :, 0].ravel()[lit]
        place = self.bins["z"].index(z)
        begin = hits.time[bars.first][lit // len(LOW_HIGH)] + self._way(z)
        charge, fraction, edge, _ = (column.ravel()[lit] for column in signals)
        charges = [place, CHARGE.index(charge)]
        fill(self.hists["sensor_charge"], [code], charges, weight)
        high = np.isfinite(edge)
        times = {"fraction": fraction - begin, "edge": edge - begin, "walk": fraction - edge}
        for name, binning in (*SIGNAL_TIMES.items(), ("walk", WALK)):
            indices = [place[high], binning.index(times[name][high])]
            fill(self.hists[f"sensor_{name}"], [code], indices, weight)

    def _way(self, z: np.ndarray) -> np.ndarray:
        """Shortest time of light from z, mm, to the sensor, ns."""
        way: np.ndarray = np.maximum(self.bins["z"].high - z, 0.0) / SPEED
        return way


def reference(
    found: Detector,
    hits: BarHits,
    config: TimingConfig,
    contexts: np.ndarray,
    counters: Counters,
) -> Seen:
    """Photons of the input, as those of the hits that made them.

    A photon belongs to its parent's hit in its bar; where the file tells no parents, to the one
    hit in its bar. ``photons.full.in`` counts them, ``photons.full.unmatched`` and
    ``photons.full.not_finite`` (time or place) those of them that are left out.

    Arguments:
        found: Particles and hits of the input.
        hits: Particles in bars.
        config: Geometry.
        contexts: Of the hits, ``(n, 2, 3)``.
    """
    every = np.flatnonzero(found.hits["pdg"] == OPTICAL)
    optical = every[
        np.isfinite(found.hits["time"][every]) & np.isfinite(found.hits["position.z"][every])
    ]
    columns = {name: found.hits[name][optical] for name in ("cellID", "time", "position.z")}
    event = found.hits.event[optical]
    bar = columns["cellID"].astype(np.uint64) & config.fields.mask(config.bar_fields)
    parent = found.hits["parent"][optical] if found.parents else None
    owner = _owner(hits, event, bar, parent)
    matched = np.flatnonzero(owner >= 0)
    counters["photons.full.in"] += len(every)
    counters["photons.full.not_finite"] += len(every) - len(optical)
    counters["photons.full.unmatched"] += len(optical) - len(matched)
    owner = owner[matched]
    high = columns["position.z"][matched] > 0.5 * (config.bar_low + config.bar_high)
    row = len(LOW_HIGH) * owner + high
    delays = columns["time"][matched].astype(np.float64) - hits.time[owner]
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=len(LOW_HIGH) * len(hits.event))
    shape = (len(hits.event), len(LOW_HIGH))
    return Seen(
        mean=np.zeros(shape),
        counts=counts.reshape(shape),
        outside=np.zeros(shape, dtype=bool),
        contexts=contexts,
        delays=delays[order].astype(np.float32),
    )


def _owner(
    hits: BarHits, event: np.ndarray, bar: np.ndarray, parent: np.ndarray | None
) -> np.ndarray:
    """Hit of every photon, −1 for none, ``(n,)``."""
    cells, code = np.unique(np.concatenate([hits.bar, bar]), return_inverse=True)
    mine, theirs = np.split(code, [len(hits.bar)])
    keys: np.ndarray = hits.event * len(cells) + mine
    wanted: Any = event * len(cells) + theirs
    if parent is not None:
        most = max(int(hits.particle.max(initial=-1)), int(parent.max(initial=-1))) + 2
        keys, wanted = keys * most + hits.particle + 1, wanted * most + parent + 1
    first = np.searchsorted(keys, wanted)
    last = np.searchsorted(keys, wanted, side="right")
    owner = np.where(last - first == 1, first, -1)
    return owner if parent is None else np.where(parent >= 0, owner, -1)
