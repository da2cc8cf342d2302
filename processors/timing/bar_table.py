"""Output files read back as one table, a row per bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import awkward as ak
import numpy as np

from processors.errors import InputError
from processors.jagged import event_index
from processors.timing.output import column_names, read_columns

__all__ = ["read_bars", "work_eic_rows"]

CHARGE, TIME = 1e-3, 0.1
"""work_eic's charges are in photon heights · µs, its times in 10 ns."""
FIELDS = ("stave", "layer", "segment")
"""Of the cell ids, that work_eic's tables have."""


def read_bars(path: str | Path) -> dict[str, np.ndarray]:
    """A row per bar of an output file, in order of event and cell id, ``(n,)`` by column.

    :data:`processors.timing.bar_columns.BAR_COLUMNS` says what they mean. ``pandas.DataFrame``
    takes the result as it is.

    Arguments:
        path: ``.root`` or ``.parquet``.
    """
    names = [name for name in column_names(path) if name.startswith("Bar_")]
    bars = read_columns(path, tuple(names))
    columns = {"event_idx": event_index(ak.to_numpy(ak.num(bars["Bar_cell"])))}
    for name in names:
        columns[name.removeprefix("Bar_")] = ak.to_numpy(ak.flatten(bars[name]))
    return columns


def work_eic_rows(path: str | Path, edge: bool = False) -> dict[str, np.ndarray]:
    """The same as the table that RowanKell/work_eic's networks read, names and units theirs.

    Sensor 0 is that at high z. As there, sensors below the threshold have charge and time 0; bars
    without a sensor above it, and bars with light of several generated particles or of none, are
    left out. ``hit_x``, ``hit_y``, ``hit_z`` are where the earliest particle entered the bar: the
    centre of a strip is the geometry's, which event files do not hold.

    Arguments:
        path: ``.root`` or ``.parquet``.
        edge: Leading-edge instead of constant-fraction times.
    Raises: InputError if the cell ids have no stave, layer, segment.
    """
    bars = read_bars(path)
    absent = [name for name in FIELDS if name not in bars]
    if absent:
        message = (
            f"bars of {path} have no {', '.join(absent)}; name the fields of the cell ids so with "
            "the keys 'cell', 'bar_fields' when simulating"
        )
        raise InputError(message)
    signals = _signals(bars, "edge" if edge else "time")
    lit = (signals["Time0"] != 0) | (signals["Time1"] != 0)
    first = _first(bars, signals, lit)
    kept = lit & (bars["originIdx"] >= 0)
    table = {
        "event_idx": bars["event_idx"],
        **{f"{name}_idx": bars[name] for name in FIELDS},
        "trueID": _numbered(bars["event_idx"], bars["originIdx"], kept),
        "truePID": bars["originPdgId"],
        "hitID": bars["particleIdx"],
        "P": bars["originP"],
        "Theta": bars["originTheta"],
        "Phi": bars["originPhi"],
        **{f"hit_{axis}": bars[axis] for axis in "xyz"},
        **signals,
        **first,
    }
    return {name: values[kept] for name, values in table.items()}


def _signals(bars: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    columns = {}
    for number, end in enumerate(("High", "Low")):
        times = bars[f"{kind}{end}"].astype(np.float64)
        high = np.isfinite(times)
        columns[f"Charge{number}"] = np.where(high, CHARGE * bars[f"charge{end}"], 0.0)
        columns[f"Time{number}"] = np.where(high, TIME * times, 0.0)
    return columns


def _first(
    bars: Mapping[str, np.ndarray], signals: Mapping[str, np.ndarray], lit: np.ndarray
) -> dict[str, np.ndarray]:
    """Time and place of the event's earliest signal, repeated in all its rows."""
    both = np.stack([signals["Time0"], signals["Time1"]])
    earliest = np.where(both != 0, both, np.inf).min(axis=0)
    earliest[~lit] = np.inf
    event = bars["event_idx"]
    order = np.lexsort((earliest, event))
    starts = np.flatnonzero(np.diff(event, prepend=-1))
    winner = np.repeat(order[starts], np.diff(starts, append=len(event)))
    return {
        "first_hit_time": earliest[winner],
        "first_hit_x": bars["x"][winner],
        "first_hit_y": bars["y"][winner],
    }


def _numbered(event: np.ndarray, origin: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Generated particles of the file, numbered as they come in the kept rows, else −1."""
    numbers = np.full(len(event), -1, dtype=np.int64)
    pairs = np.stack([event[kept], origin[kept]])
    _, first, which = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers[kept] = rank[which.ravel()]
    return numbers
