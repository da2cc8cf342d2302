"""Flat tables of a batch: one row per object, with the number of its event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import awkward as ak
import numpy as np

__all__ = [
    "Flat",
    "Pairs",
    "delta_phi",
    "flatten",
    "make_flat",
    "pair_up",
    "rows_of_index",
    "unflatten",
]


@dataclass(frozen=True)
class Flat:
    """Objects of all events one after another."""

    columns: dict[str, np.ndarray]
    event: np.ndarray  # (n,) number of the event in the batch
    counts: np.ndarray  # (events,) objects per event
    starts: np.ndarray  # (events,) first row of each event

    def __getitem__(self, name: str) -> np.ndarray:
        """Column ``name``, shape ``(n,)``."""
        return self.columns[name]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.event)

    def take(self, rows: np.ndarray) -> Flat:
        """Rows of a boolean mask or ascending indices, in order."""
        event = self.event[rows]
        columns = {name: values[rows] for name, values in self.columns.items()}
        return make_flat(columns, event, len(self.counts))

    def only(self, columns: dict[str, np.ndarray]) -> Flat:
        """The same objects with these columns alone."""
        return replace(self, columns=columns)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> Flat:
        """The same objects with more columns."""
        return replace(self, columns={**self.columns, **columns})


class Pairs(NamedTuple):
    """All combinations of two tables within the same event."""

    left: np.ndarray
    right: np.ndarray
    dr: np.ndarray


def make_flat(columns: dict[str, np.ndarray], event: np.ndarray, events: int) -> Flat:
    """Table from columns sorted by event."""
    counts = np.bincount(event, minlength=events)
    return Flat(columns, event, counts, np.cumsum(counts) - counts)


def flatten(records: ak.Array, fields: list[str]) -> Flat:
    """Flat float64 or int64 copy of ``fields`` of a jagged record array."""
    counts = ak.to_numpy(ak.num(records[fields[0]])).astype(np.int64)
    columns = {}
    for field in fields:
        values = ak.to_numpy(ak.flatten(records[field]))
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        columns[field] = values.astype(kind)
    event = np.repeat(np.arange(len(counts)), counts)
    return Flat(columns, event, counts, np.cumsum(counts) - counts)


def unflatten(values: np.ndarray, counts: np.ndarray) -> ak.Array:
    """Jagged array of a flat column."""
    return ak.unflatten(values, counts)


def delta_phi(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Difference of azimuths in [-pi, pi)."""
    return (a - b + np.pi) % (2 * np.pi) - np.pi


def pair_up(left: Flat, right: Flat) -> Pairs:
    """Every row of ``left`` with every row of ``right`` of its event; both need eta, phi."""
    repeats = right.counts[left.event]
    first = np.repeat(np.arange(len(left)), repeats)
    within = np.arange(len(first)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = right.starts[left.event[first]] + within
    deta = left["eta"][first] - right["eta"][second]
    dphi = delta_phi(left["phi"][first], right["phi"][second])
    return Pairs(first, second, np.hypot(deta, dphi))


def rows_of_index(table: Flat, event: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Flat rows of per-event indices, -1 where the index is negative."""
    return np.where(index >= 0, table.starts[event] + np.maximum(index, 0), -1)
