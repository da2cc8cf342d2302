"""Filling of many histograms with shared categories, faster than one fill per histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hist
import numpy as np

__all__ = ["Binning", "category_axis", "fill", "make"]


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

    def index(self, values: np.ndarray) -> np.ndarray:
        """Bin of each value, the underflow bin (also for NaN) being 0, ``(n,)`` int32."""
        x = values.astype(np.float32)
        low, high = float(self.low), float(self.high)
        if self.geometric:
            with np.errstate(divide="ignore", invalid="ignore"):
                np.log(x, out=x)
            low, high = np.log(low), np.log(high)
        x -= np.float32(low)
        x *= np.float32(self.bins / (high - low))
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
    shape = view.shape
    flat = np.zeros(1, dtype=np.int32)
    for length, code in zip(shape, (*categories, *indices), strict=True):
        flat = flat * np.int32(length) + code
    size = int(np.prod(shape))
    if np.ndim(weights) == 0:
        counts = np.bincount(flat, minlength=size).reshape(shape)
        view["value"] += counts * np.float64(weights)
        view["variance"] += counts * np.float64(weights) ** 2
        return
    weights = np.asarray(weights, dtype=np.float64)
    view["value"] += np.bincount(flat, weights, size).reshape(shape)
    view["variance"] += np.bincount(flat, weights * weights, size).reshape(shape)
