"""Particles in bars: the deposits of one particle in one bar of one event, summed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from processors.counters import Counters
from processors.jagged import Flat, local_index, spans
from processors.timing.config import TimingConfig
from processors.timing.reading import OPTICAL

__all__ = ["COUNTERS", "BarHits", "bar_hits", "photon_yield", "portions"]

PHOTONS_PER_KEV = 10.0
"""Photons of the scintillator; RowanKell/work_eic, process_root_file.py."""
QUANTUM_EFFICIENCY = 0.5
COLLECTION = (494.98, 9.9733, 0.16796)
"""Per cent of the photons that reach a sensor at distance d mm: a / (d + b) − c; same source."""
COUNTERS = (
    "objects.Hit.in",
    "objects.Hit.out",
    "objects.Hit.not_finite",
    "objects.Hit.beyond_clock",
    "objects.Hit.outside_bar",
    "objects.Hit.without_energy",
    "objects.Hit.not_muon",
)
MUON = 13
CLOCK = 1e15
"""ns from 0, eleven days: later, doubles no longer tell tenths of a ns apart, nor samples."""
PHOTONS = 1 << 21
"""In memory at a time, but for an event that has more; chosen."""


class BarHits(NamedTuple):
    """One row per event, bar, particle, in that order, ``(n,)``.

    Attributes:
        counts: Rows per event, ``(n_events,)``.
        event: Of each row.
        index: Position among all of the event, before any was left out.
        bar: Cell id, with the bits that do not tell a bar zero.
        particle: Position among the particles of the event, −1 for none.
        pdg: Its kind.
        origin: Position of the generated particle it is or comes from, −1 for none.
        energy: Deposited in the bar, GeV.
        time: Of its first deposit, ns.
        x: Of that deposit, mm.
        y: Of that deposit, mm.
        z: Along the bar there, mm.
        theta: Of its direction there, degrees.
        p: Its momentum there, GeV.
    """

    counts: np.ndarray
    event: np.ndarray
    index: np.ndarray
    bar: np.ndarray
    particle: np.ndarray
    pdg: np.ndarray
    origin: np.ndarray
    energy: np.ndarray
    time: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    theta: np.ndarray
    p: np.ndarray

    def take(self, rows: np.ndarray, event: np.ndarray, events: int) -> BarHits:
        """Rows in a new order that belong to ``event``, of ``events``."""
        columns = {name: getattr(self, name)[rows] for name in self._fields[2:]}
        return BarHits(np.bincount(event, minlength=events), event, **columns)

    def between(self, first: int, stop: int) -> BarHits:
        """Rows of the events ``first`` to ``stop``, which are counted from 0."""
        rows = slice(*np.searchsorted(self.event, [first, stop]))
        columns = {name: getattr(self, name)[rows] for name in self._fields[2:]}
        return BarHits(self.counts[first:stop], self.event[rows] - first, **columns)


def bar_hits(hits: Flat, config: TimingConfig, counters: Counters) -> BarHits:
    """Sum deposits; leave out, counted, what no photon can come from.

    Arguments:
        hits: As :func:`processors.timing.reading.read_detector` gives them.
        config: Geometry.
        counters: :data:`COUNTERS` are added to.
    """
    every = _sums(hits, config)
    in_bar = (every.z >= config.bar_low) & (every.z <= config.bar_high)
    finite = np.logical_and.reduce(
        [np.isfinite(getattr(every, name)) for name in ("energy", "time", "z", "theta", "p")]
    )
    fails = {
        "not_finite": ~finite,
        "beyond_clock": np.abs(every.time) > CLOCK,
        "outside_bar": ~in_bar,
        "without_energy": ~(every.energy > 0),
    }
    good = np.ones(len(every.event), dtype=bool)
    for name, failed in fails.items():
        counters[f"objects.Hit.{name}"] += int((good & failed).sum())
        good &= ~failed
    kept = every.take(np.flatnonzero(good), every.event[good], len(hits.counts))
    counters["objects.Hit.in"] += len(every.event)
    counters["objects.Hit.out"] += len(kept.event)
    counters["objects.Hit.not_muon"] += int((np.abs(kept.pdg) != MUON).sum())
    return kept


def _sums(hits: Flat, config: TimingConfig) -> BarHits:
    deposits = hits.select(hits["pdg"] != OPTICAL)
    bar = deposits["cellID"].astype(np.uint64) & config.fields.mask(config.bar_fields)
    event = deposits.event
    order = np.lexsort((deposits["time"], deposits["particle"], bar, event))
    columns: dict[str, Any] = {
        "event": event[order],
        "bar": bar[order],
        "particle": deposits["particle"][order],
    }
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([values[1:] != values[:-1] for values in columns.values()])
    starts = np.flatnonzero(new)
    first = order[starts]
    energy = deposits["EDep"][order].astype(np.float64)
    total = np.add.reduceat(energy, starts) if len(starts) else energy
    px, py, pz = (deposits[f"momentum.{axis}"][first].astype(np.float64) for axis in "xyz")
    with np.errstate(invalid="ignore"):
        momentum = np.sqrt(px**2 + py**2 + pz**2)
        theta = np.where(momentum > 0, np.degrees(np.arctan2(np.hypot(px, py), pz)), np.nan)
    counts = np.bincount(columns["event"][starts], minlength=len(hits.counts))
    return BarHits(
        counts,
        columns["event"][starts],
        local_index(counts),
        columns["bar"][starts],
        columns["particle"][starts],
        deposits["pdg"][first],
        deposits["origin"][first],
        total,
        deposits["time"][first].astype(np.float64),
        *(deposits[f"position.{axis}"][first].astype(np.float64) for axis in "xyz"),
        theta,
        momentum,
    )


def portions(hits: BarHits, config: TimingConfig, copies: int) -> Iterator[tuple[int, int]]:
    """Ranges of events with about :data:`PHOTONS` photons, so that memory has a bound.

    Arguments:
        hits: Particles in bars.
        config: Geometry.
        copies: Of every event.
    """
    ends = hits.z - config.bar_low, config.bar_high - hits.z
    expected = sum(photon_yield(hits.energy, distance) for distance in ends)
    yield from spans(copies * np.bincount(hits.event, expected, len(hits.counts)), PHOTONS)


def photon_yield(energy: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Mean number of photons that a sensor sees.

    Arguments:
        energy: Deposited, GeV.
        distance: From the deposit to the sensor, mm, at least 0.

    Example:
        >>> float(photon_yield(np.array(0.002), np.array(770.0)).round(1))
        46.7
    """
    a, b, c = COLLECTION
    share = QUANTUM_EFFICIENCY * (a / (distance + b) - c) / 100.0
    return PHOTONS_PER_KEV * 1e6 * energy * np.maximum(share, 0.0)
