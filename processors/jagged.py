"""Flat columns of jagged collections, one array per field beside the counts per event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

__all__ = [
    "Flat",
    "counts_to_offsets",
    "delta_phi",
    "event_index",
    "flat_field",
    "flatten",
    "local_index",
    "pairs",
    "spans",
    "unflatten",
    "wrap_phi",
]

TWO_PI = np.float32(2.0 * np.pi)


@dataclass(frozen=True)
class Flat:
    """A collection with its events laid end to end.

    Attributes:
        counts: Objects per event, ``(n_events,)`` int64.
        columns: Arrays ``(n,)`` by field name, ``n = counts.sum()``.
    """

    counts: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Objects in all events."""
        return int(self.counts.sum())

    def __getitem__(self, name: str) -> np.ndarray:
        """One column, ``(n,)``."""
        return self.columns[name]

    @property
    def offsets(self) -> np.ndarray:
        """Position of each event's first object, ``(n_events + 1,)``."""
        return counts_to_offsets(self.counts)

    @property
    def event(self) -> np.ndarray:
        """Event of each object, ``(n,)``."""
        return event_index(self.counts)

    def select(self, keep: np.ndarray, fields: Iterable[str] | None = None) -> Flat:
        """The objects where ``keep`` ``(n,)`` is true, events kept even when they become empty.

        Arguments:
            keep: Mask ``(n,)``.
            fields: Columns to keep; all by default.
        """
        rows = np.flatnonzero(keep)
        ends = np.searchsorted(rows, self.offsets)
        names = self.columns if fields is None else fields
        return Flat(np.diff(ends), {name: self.columns[name][rows] for name in names})


def counts_to_offsets(counts: np.ndarray) -> np.ndarray:
    """Cumulative counts with a leading zero, ``(n,)`` -> ``(n + 1,)`` int64."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def event_index(counts: np.ndarray) -> np.ndarray:
    """Event of each object.

    Example:
        >>> event_index(np.array([2, 0, 1])).tolist()
        [0, 0, 2]
    """
    return np.repeat(np.arange(len(counts)), counts)


def local_index(counts: np.ndarray) -> np.ndarray:
    """Position of each object inside its event.

    Example:
        >>> local_index(np.array([2, 0, 1])).tolist()
        [0, 1, 0]
    """
    offsets = counts_to_offsets(counts)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)


def spans(sizes: np.ndarray, most: float) -> Iterator[tuple[int, int]]:
    """Ranges of rows that follow each other, together at most so large; a larger row is alone.

    Without rows there is one empty range.

    Example:
        >>> list(spans(np.array([2, 2, 9, 1, 1]), 4))
        [(0, 2), (2, 3), (3, 5)]
    """
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes) or begin == 0:
        before = ends[begin - 1] if begin else 0
        fit = int(np.searchsorted(ends, before + most, side="right"))
        end = min(max(fit, begin + 1), len(sizes))
        yield begin, end
        begin = max(end, 1)


def flatten(collection: Any, fields: Iterable[str]) -> Flat:
    """Read ``fields`` of a NanoEvents collection into flat numpy arrays.

    Arguments:
        collection: Jagged record array, e.g. ``events.GenJet``.
        fields: Names to read; each is read once.
    """
    layout = collection.layout
    if not isinstance(layout, ak.contents.ListOffsetArray) or not layout.content.is_record:
        columns = {name: flat_field(collection[name])[1] for name in fields}
        return Flat(np.asarray(ak.num(collection, axis=1), dtype=np.int64), columns)
    offsets = np.asarray(layout.offsets.data)
    inside = slice(offsets[0], offsets[-1])
    columns = {name: _numbers(layout.content.content(name))[inside] for name in fields}
    return Flat(np.diff(offsets), columns)


def flat_field(values: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """Counts per event with the flat numbers of one jagged field; reads it if it is lazy."""
    layout = values.layout
    if isinstance(layout, ak.contents.ListOffsetArray):
        offsets = np.asarray(layout.offsets.data)
        return np.diff(offsets), _numbers(layout.content)[offsets[0] : offsets[-1]]
    counts = np.asarray(ak.num(values, axis=1), dtype=np.int64)
    return counts, _numbers(ak.flatten(values, axis=1).layout)


def _numbers(content: ak.contents.Content) -> np.ndarray:
    """Numbers of a flat layout, contiguous; reads them if they are lazy."""
    return np.ascontiguousarray(content.to_backend_array())


def unflatten(values: np.ndarray, counts: np.ndarray) -> ak.Array:
    """Jagged array of ``values`` ``(n,)`` split by ``counts``; nothing is copied."""
    offsets = ak.index.Index64(counts_to_offsets(counts))
    content = ak.contents.NumpyArray(np.ascontiguousarray(values))
    return ak.Array(ak.contents.ListOffsetArray(offsets, content))


def pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions of all pairs (a, b) of the same event, grouped by a.

    Arguments:
        first: Counts per event of collection a.
        second: Counts per event of collection b.

    Example:
        >>> a, b = pairs(np.array([2, 1]), np.array([2, 1]))
        >>> a.tolist(), b.tolist()
        ([0, 0, 1, 1, 2], [0, 1, 0, 1, 2])
    """
    partners = np.repeat(second, first)
    a = np.repeat(np.arange(len(partners)), partners)
    start = np.repeat(counts_to_offsets(second)[:-1], first)
    b = local_index(partners) + np.repeat(start, partners)
    return a, b


def wrap_phi(phi: np.ndarray) -> np.ndarray:
    """Azimuth brought into [-pi, pi), same shape and type."""
    wrapped = (phi + np.pi) % (2.0 * np.pi) - np.pi
    return wrapped.astype(phi.dtype, copy=False)


def delta_phi(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference ``first - second`` in [-pi, pi) for azimuths inside one turn of each other."""
    difference = first - second
    difference -= TWO_PI * np.round(difference / TWO_PI)
    return difference
