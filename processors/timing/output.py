"""Columns of the output: event, bars, particles in them, photons at their ends."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import uproot

from processors.content import Content
from processors.identity import EventIds
from processors.jagged import Flat, counts_to_offsets
from processors.timing.bars import Bars
from processors.timing.hits import BarHits
from processors.timing.sensors import LOW_HIGH, Seen

__all__ = ["column_names", "event_content", "read_columns", "read_times"]

TREE = "Events"


def event_content(
    hits: BarHits,
    seen: Seen,
    bars: Bars,
    rows: dict[str, np.ndarray],
    ids: EventIds,
    fold: np.ndarray,
) -> Content:
    """All columns of the output events.

    Photons lie in order of bar, sensor (low, high), time; ``Bar_nLow`` and ``Bar_nHigh`` cut
    them, :func:`read_times` does it. ``*Idx`` are positions within the event.

    Arguments:
        hits: Particles in bars; their events are rows of ``ids``.
        seen: Their photons.
        bars: The same by bars.
        rows: Columns of the bars.
        ids: Identity of the output events.
        fold: Oversampling copy of each event.
    """
    hit_start = counts_to_offsets(hits.counts)[hits.event]
    bar_start = counts_to_offsets(bars.counts)[hits.event]
    place = (np.arange(len(hits.event)) - hit_start).astype(np.int32)
    photons = np.bincount(hits.event, seen.counts.sum(axis=1), minlength=len(hits.counts))
    return {
        "run": ids.run.astype(np.uint32),
        "luminosityBlock": ids.luminosity_block.astype(np.uint32),
        "event": ids.event.astype(np.uint64),
        "fold": fold.astype(np.uint16),
        "nOutside": _per_event(seen.outside.sum(axis=1), hits),
        "Bar": Flat(bars.counts, rows),
        "Hit": Flat(hits.counts, _hit_columns(hits, seen, bars.of_hit - bar_start)),
        "Photon": Flat(
            photons.astype(np.int64),
            {"time": bars.times, "hitIdx": place[bars.hit]},
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


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of an output file, ``.root`` or ``.parquet``."""
    if Path(path).suffix == ".parquet":
        return list(pq.read_schema(path).names)
    with uproot.open(path) as file:
        return list(file[TREE].keys())


def read_columns(path: str | Path, names: tuple[str, ...]) -> ak.Array:
    """Columns of an output file.

    Arguments:
        path: ``.root`` or ``.parquet``.
        names: Of the columns.
    """
    if Path(path).suffix == ".parquet":
        return ak.from_parquet(path, columns=list(names))
    with uproot.open(path) as file:
        return file[TREE].arrays(names)


def read_times(path: str | Path) -> ak.Array:
    """Times in ns of an output file: event → bar → sensor (low, high) → photons, rising.

    Arguments:
        path: ``.root`` or ``.parquet``.
    """
    names = ("Bar_nLow", "Bar_nHigh", "Photon_time")
    events = read_columns(path, names)
    sensors = np.stack([ak.to_numpy(ak.flatten(events[name])) for name in names[:2]], axis=1)
    times = ak.unflatten(ak.flatten(events["Photon_time"]), sensors.ravel())
    both = ak.contents.RegularArray(ak.to_layout(times), len(LOW_HIGH))
    return ak.unflatten(ak.Array(both), ak.num(events["Bar_nLow"]))
