"""Bars: the photons of all particles in each at its ends, its signals, its row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from processors.counters import Counters
from processors.jagged import Flat, counts_to_offsets
from processors.timing.config import TimingConfig
from processors.timing.hits import BarHits
from processors.timing.ordering import in_time
from processors.timing.sensors import LOW_HIGH, Seen
from processors.timing.waveform import Signals, read_out

__all__ = ["COUNTERS", "Bars", "bars_of", "columns_of", "signals_of"]

COUNTERS = (
    "objects.Sensor.in",
    "objects.Sensor.out",
    "objects.Sensor.without_photons",
    "objects.Sensor.below_threshold",
    "objects.Photon.beyond_window",
)


class Bars(NamedTuple):
    """Bars with a particle in them, in order of event and cell id, ``(m,)``, and their photons.

    Attributes:
        counts: Bars per event.
        of_hit: Bar of each hit, among those of the block.
        first: Earliest hit of each bar.
        photons: Photons at both ends, ``(m, 2)``.
        times: Of the photons in order of bar, end, time, ns, ``(photons.sum(),)`` float32.
        hit: Of each of these photons, int32.
    """

    counts: np.ndarray
    of_hit: np.ndarray
    first: np.ndarray
    photons: np.ndarray
    times: np.ndarray
    hit: np.ndarray


def bars_of(hits: BarHits, seen: Seen) -> Bars:
    """Bars of the hits, which lie in their order.

    Arguments:
        hits: Particles in bars.
        seen: Their photons.
    """
    new = np.ones(len(hits.event), dtype=bool)
    new[1:] = (hits.event[1:] != hits.event[:-1]) | (hits.bar[1:] != hits.bar[:-1])
    of_hit = np.cumsum(new) - 1
    number, starts = int(new.sum()), np.flatnonzero(new)
    photons = [
        np.bincount(of_hit, seen.counts[:, end], minlength=number).astype(np.int64)
        for end in range(len(LOW_HIGH))
    ]
    found = in_time(seen.delays, seen.counts, starts, hits.time)
    return Bars(
        counts=np.bincount(hits.event[new], minlength=len(hits.counts)),
        of_hit=of_hit,
        first=np.lexsort((hits.time, of_hit))[starts],
        photons=np.stack(photons, axis=1),
        times=found.times,
        hit=found.hits,
    )


def signals_of(bars: Bars, config: TimingConfig, counters: Counters) -> Signals:
    """Signals of all sensors, ``(m, 2)`` each: low end, high end.

    Arguments:
        bars: With photons.
        config: Shape of the signals, thresholds.
        counters: :data:`COUNTERS` are added to.
    """
    found = read_out(bars.times, bars.photons.ravel(), config.readout)
    dark = bars.photons.ravel() == 0
    counters["objects.Sensor.in"] += len(dark)
    counters["objects.Sensor.out"] += int(np.isfinite(found.edge).sum())
    counters["objects.Sensor.without_photons"] += int(dark.sum())
    counters["objects.Sensor.below_threshold"] += int((np.isnan(found.edge) & ~dark).sum())
    counters["objects.Photon.beyond_window"] += int(found.beyond.sum())
    return Signals(*(column.reshape(-1, len(LOW_HIGH)) for column in found))


def columns_of(
    bars: Bars,
    hits: BarHits,
    signals: Signals,
    particles: Flat,
    source: np.ndarray,
    config: TimingConfig,
) -> dict[str, np.ndarray]:
    """A row per bar: what it is, what its sensors say, what was in it.

    Arguments:
        bars: Of the hits.
        hits: Particles in bars.
        signals: Of the sensors.
        particles: ``MCParticles`` of the input events.
        source: Input event of each output event.
        config: Fields of the cell ids.
    """
    cell = hits.bar[bars.first]
    columns: dict[str, np.ndarray] = {"cell": cell}
    for name in config.bar_fields:
        columns[name] = config.fields.value(cell, name).astype(np.int32)
    for number, end in enumerate(("Low", "High")):
        columns[f"n{end}"] = bars.photons[:, number].astype(np.int32)
        columns[f"charge{end}"] = signals.charge[:, number].astype(np.float32)
        columns[f"time{end}"] = signals.fraction[:, number].astype(np.float32)
        columns[f"edge{end}"] = signals.edge[:, number].astype(np.float32)
    columns["energy"] = np.bincount(bars.of_hit, hits.energy).astype(np.float32)
    hit_start = counts_to_offsets(hits.counts)[hits.event[bars.first]]
    columns["hitIdx"] = (bars.first - hit_start).astype(np.int32)
    columns["particleIdx"] = hits.particle[bars.first].astype(np.int32)
    columns["pdgId"] = hits.pdg[bars.first].astype(np.int32)
    for name in ("x", "y", "z"):
        columns[name] = getattr(hits, name)[bars.first].astype(np.float32)
    return columns | _origins(bars, hits, particles, source)


def _origins(
    bars: Bars, hits: BarHits, particles: Flat, source: np.ndarray
) -> dict[str, np.ndarray]:
    """The one generated particle that everything in a bar comes from."""
    starts = np.searchsorted(bars.of_hit, np.arange(len(bars.first)))
    origin = hits.origin[bars.first]
    if len(starts):
        lowest, highest = (
            ufunc.reduceat(hits.origin, starts) for ufunc in (np.minimum, np.maximum)
        )
        origin = np.where(lowest == highest, origin, -1)
    some = origin >= 0
    row = particles.offsets[source[hits.event[bars.first[some]]]] + origin[some]
    px, py, pz = (particles[f"momentum.{axis}"][row].astype(np.float64) for axis in "xyz")
    found = {
        "originP": np.sqrt(px**2 + py**2 + pz**2),
        "originTheta": np.degrees(np.arctan2(np.hypot(px, py), pz)),
        "originPhi": np.degrees(np.arctan2(py, px)),
    }
    columns = {
        "originIdx": origin.astype(np.int32),
        "originPdgId": np.zeros(len(origin), dtype=np.int32),
    }
    columns["originPdgId"][some] = particles["PDG"][row]
    for name, values in found.items():
        columns[name] = np.full(len(origin), np.nan, dtype=np.float32)
        columns[name][some] = values
    return columns
