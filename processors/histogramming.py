"""Filling of many histograms with shared categories, faster than one fill per histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np

from flows.warm import compiled_first
from processors.compiled import compiled
from processors.jagged import counts_to_offsets

__all__ = ["SOURCES", "Binning", "category_axis", "compile_kernels", "fill", "fill_rows", "make"]

SOURCES = ("full", "flash")
"""Categories of a histogram that compares full with flash simulation."""


@dataclass(frozen=True)
class Binning:
    """Equal bins of a value or of its logarithm; what lies outside goes to the flow bins.

    Arguments:
        bins: Number of bins.
        low: Lower edge.
        high: Upper edge.
        label: Axis title with unit, may hold LaTeX.
        geometric: Equal bins of the logarithm.
    """

    bins: int
    low: float
    high: float
    label: str = ""
    geometric: bool = False

    def axis(self, name: str) -> hist.axis.Regular | hist.axis.Variable:
        """The axis as ``hist`` stores it."""
        if self.geometric:
            edges = np.geomspace(self.low, self.high, self.bins + 1)
            return hist.axis.Variable(edges, name=name, label=self.label)
        return hist.axis.Regular(self.bins, self.low, self.high, name=name, label=self.label)

    @property
    def scale(self) -> tuple[np.float32, np.float32]:
        """Low edge and bins per unit, of the logarithm where the bins are geometric."""
        low, high = float(self.low), float(self.high)
        if self.geometric:
            low, high = np.log(low), np.log(high)
        return np.float32(low), np.float32(self.bins / (high - low))

    def index(self, values: np.ndarray) -> np.ndarray:
        """Bin of each value, the underflow bin (also for NaN) being 0, ``(n,)`` int32."""
        x = values.astype(np.float32)
        if self.geometric:
            with np.errstate(divide="ignore", invalid="ignore"):
                np.log(x, out=x)
        low, per = self.scale
        x -= low
        x *= per
        x += np.float32(1)
        np.fmax(x, np.float32(0), out=x)
        np.minimum(x, np.float32(self.bins + 1), out=x)
        return x.astype(np.int32)


def category_axis(names: Sequence[str], name: str, label: str = "") -> hist.axis.StrCategory:
    """A category axis that never grows and has no overflow bin."""
    return hist.axis.StrCategory(names, name=name, label=label, overflow=False)


def make(
    categories: Sequence[hist.axis.StrCategory], dense: Sequence[tuple[str, Binning]]
) -> hist.Hist:
    """A weighted histogram: fixed categories first, variables last."""
    axes = [binning.axis(name) for name, binning in dense]
    return hist.Hist(*categories, *axes, storage=hist.storage.Weight())


def fill(
    histogram: hist.Hist,
    categories: Sequence[np.ndarray | int],
    indices: Sequence[np.ndarray],
    weights: np.ndarray | float,
) -> None:
    """Add entries whose bins are known already.

    Arguments:
        histogram: As made by :func:`make`.
        categories: Code of each category axis, one number or ``(n,)``.
        indices: Results of :meth:`Binning.index` for each dense axis, ``(n,)``.
        weights: One number or ``(n,)``.
    """
    view = histogram.view(flow=True)
    flat, shape = _flat(view.shape, (*categories, *indices)), view.shape
    size = int(np.prod(shape))
    if np.ndim(weights) == 0:
        counts = np.bincount(flat, minlength=size).reshape(shape)
        view["value"] += counts * np.float64(weights)
        view["variance"] += counts * np.float64(weights) ** 2
        return
    weights = np.asarray(weights, dtype=np.float64)
    view["value"] += np.bincount(flat, weights, size).reshape(shape)
    view["variance"] += np.bincount(flat, weights * weights, size).reshape(shape)


def fill_rows(
    histogram: hist.Hist,
    categories: Sequence[np.ndarray | int],
    indices: Sequence[np.ndarray],
    counts: np.ndarray,
    last: tuple[Binning, np.ndarray],
    weight: float,
) -> None:
    """Add entries in rows that share the bins of all axes but the last.

    Arguments:
        histogram: As made by :func:`make`.
        categories: Code of each category axis, one number or ``(n,)``.
        indices: Bins of each row in the dense axes but the last, ``(n,)``.
        counts: Entries of each row, ``(n,)``.
        last: Binning of the last axis, not geometric; values of the entries there, float32.
        weight: Of each entry.
    """
    binning, values = last
    if not len(values):
        return
    view = histogram.view(flow=True)
    flat = np.broadcast_to(_flat(view.shape[:-1], (*categories, *indices)), counts.shape)
    touched, rows = np.unique(flat, return_inverse=True)
    found = np.zeros((len(touched), view.shape[-1]), dtype=np.int64)
    offsets = counts_to_offsets(counts)
    count_rows(np.ascontiguousarray(values), offsets, rows.astype(np.int64), *binning.scale, found)
    places = np.unravel_index(touched, view.shape[:-1])
    view["value"][places] += found * weight
    view["variance"][places] += found * weight**2


def compile_kernels() -> None:
    """Compile the loops before threads ask for them."""
    compiled_first(
        count_rows,
        np.zeros(0, dtype=np.float32),
        np.zeros(1, dtype=np.int64),
        np.zeros(0, dtype=np.int64),
        *Binning(1, 0.0, 1.0).scale,
        np.zeros((1, 3), dtype=np.int64),
    )


@compiled
def count_rows(values: Any, offsets: Any, rows: Any, low: Any, per: Any, found: Any) -> None:
    """Count the bins of :meth:`Binning.index` in the row of each group of values.

    Arguments:
        values: float32 ``(N,)``.
        offsets: Of the groups, ``(n + 1,)``.
        rows: Of ``found``, ``(n,)``.
        low: Low edge.
        per: Bins per unit.
        found: ``(rows, bins + 2)``, added to.
    """
    most = np.float32(found.shape[1] - 1)
    for group in range(rows.shape[0]):
        bins = found[rows[group]]
        for j in range(offsets[group], offsets[group + 1]):
            x = (values[j] - low) * per + np.float32(1)
            # what is no number is not above 0
            bins[int(min(x, most)) if x > np.float32(0) else 0] += 1


def _flat(shape: Sequence[int], codes: Sequence[np.ndarray | int]) -> np.ndarray:
    """Place in the flat array of bins of every entry."""
    flat = np.zeros(1, dtype=np.int32)
    for length, code in zip(shape, codes, strict=True):
        flat = flat * np.int32(length) + code
    return flat
