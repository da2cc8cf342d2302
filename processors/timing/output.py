"""Columns of the output: event, bars, particles in them, photons at their ends."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
import uproot

from processors.content import Content
from processors.identity import EventIds
from processors.jagged import Flat, counts_to_offsets
from processors.timing.hits import BarHits
from processors.timing.ordering import order_in_time
from processors.timing.sensors import LOW_HIGH, Seen

__all__ = ["Bars", "bars_of", "event_content", "read_times"]

TREE = "Events"


class Bars(NamedTuple):
    """Bars with a particle in them, in order of event and cell id, ``(m,)``.

    Attributes:
        counts: Bars per event.
        of_hit: Bar of each hit, among those of the block.
        cell: Cell ids.
        photons: Photons at both ends, ``(m, 2)``.
    """

    counts: np.ndarray
    of_hit: np.ndarray
    cell: np.ndarray
    photons: np.ndarray


def bars_of(hits: BarHits, seen: Seen) -> Bars:
    """Bars of the hits, which lie in their order."""
    new = np.ones(len(hits.event), dtype=bool)
    new[1:] = (hits.event[1:] != hits.event[:-1]) | (hits.bar[1:] != hits.bar[:-1])
    of_hit = np.cumsum(new) - 1
    number = int(new.sum())
    photons = [
        np.bincount(of_hit, seen.counts[:, end], minlength=number).astype(np.int64)
        for end in range(len(LOW_HIGH))
    ]
    counts = np.bincount(hits.event[new], minlength=len(hits.counts))
    return Bars(counts, of_hit, hits.bar[new], np.stack(photons, axis=1))


def event_content(hits: BarHits, seen: Seen, ids: EventIds, fold: np.ndarray) -> Content:
    """All columns of the output events.

    Photons lie in order of bar, sensor (low, high), time; ``Bar_nLow`` and ``Bar_nHigh`` cut
    them, :func:`read_times` does it. ``*Idx`` are positions within the event.

    Arguments:
        hits: Particles in bars; their events are rows of ``ids``.
        seen: Their photons.
        ids: Identity of the output events.
        fold: Oversampling copy of each event.
    """
    bars = bars_of(hits, seen)
    row = np.repeat(np.arange(seen.counts.size), seen.counts.ravel())
    hit, end = row >> 1, row & 1
    times = (hits.time[hit] + seen.delays).astype(np.float32)
    order = order_in_time(2 * bars.of_hit[hit] + end, times)
    hit_start = counts_to_offsets(hits.counts)[hits.event]
    bar_start = counts_to_offsets(bars.counts)[hits.event]
    place = np.arange(len(hits.event)) - hit_start
    photons = np.bincount(hits.event, seen.counts.sum(axis=1), minlength=len(hits.counts))
    return {
        "run": ids.run.astype(np.uint32),
        "luminosityBlock": ids.luminosity_block.astype(np.uint32),
        "event": ids.event.astype(np.uint64),
        "fold": fold.astype(np.uint16),
        "nOutside": _per_event(seen.outside.sum(axis=1), hits),
        "Bar": Flat(
            bars.counts,
            {
                "cell": bars.cell,
                "nLow": bars.photons[:, 0].astype(np.int32),
                "nHigh": bars.photons[:, 1].astype(np.int32),
                "energy": np.bincount(bars.of_hit, hits.energy).astype(np.float32),
            },
        ),
        "Hit": Flat(hits.counts, _hit_columns(hits, seen, bars.of_hit - bar_start)),
        "Photon": Flat(
            photons.astype(np.int64),
            {"time": times[order], "hitIdx": place[hit[order]].astype(np.int32)},
        ),
    }


def _hit_columns(hits: BarHits, seen: Seen, bar: np.ndarray) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {
        "barIdx": bar.astype(np.int32),
        "particleIdx": hits.particle.astype(np.int32),
        "pdgId": hits.pdg.astype(np.int32),
    }
    for name in ("z", "theta", "p", "energy"):
        columns[name] = getattr(hits, name).astype(np.float32)
    columns["time"] = hits.time.astype(np.float32)
    for number, end in enumerate(("Low", "High")):
        columns[f"mean{end}"] = seen.mean[:, number].astype(np.float32)
        columns[f"n{end}"] = seen.counts[:, number].astype(np.int32)
        columns[f"outside{end}"] = seen.outside[:, number].astype(np.uint8)
    return columns


def _per_event(values: np.ndarray, hits: BarHits) -> np.ndarray:
    return np.bincount(hits.event, values, minlength=len(hits.counts)).astype(np.int32)


def read_times(path: str | Path) -> ak.Array:
    """Times in ns of an output file: event → bar → sensor (low, high) → photons, rising.

    Arguments:
        path: ``.root`` or ``.parquet``.
    """
    names = ("Bar_nLow", "Bar_nHigh", "Photon_time")
    if Path(path).suffix == ".parquet":
        events = ak.from_parquet(path, columns=list(names))
    else:
        with uproot.open(path) as file:
            events = file[TREE].arrays(names)
    sensors = np.stack([ak.to_numpy(ak.flatten(events[name])) for name in names[:2]], axis=1)
    times = ak.unflatten(ak.flatten(events["Photon_time"]), sensors.ravel())
    both = ak.to_regular(ak.unflatten(times, np.full(len(sensors), len(LOW_HIGH))), axis=1)
    return ak.unflatten(both, ak.num(events["Bar_nLow"]))
