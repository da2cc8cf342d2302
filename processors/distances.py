"""Distances between two samples of one variable, with what chance alone would give."""

from __future__ import annotations

from typing import NamedTuple

import hist
import numpy as np

__all__ = ["Distance", "effective_entries", "from_arrays", "from_histograms"]

KOLMOGOROV_MEAN = np.sqrt(np.pi / 2.0) * np.log(2.0)
"""Mean of the Kolmogorov distribution, 0.8687: expected KS x sqrt(n m / (n + m)) by chance."""
HALF_NORMAL_MEAN = np.sqrt(2.0 / np.pi)


class Distance(NamedTuple):
    """How far two one-dimensional samples are from each other.

    Attributes:
        ks: Largest difference of the cumulative distributions.
        ks_floor: Expected ``ks`` of two samples of these sizes from one distribution.
        w1: 1-Wasserstein distance over the standard deviation of the first sample.
        w1_floor: Expected ``w1`` of two samples of these sizes from one distribution.
    """

    ks: float
    ks_floor: float
    w1: float
    w1_floor: float


UNKNOWN = Distance(np.nan, np.nan, np.nan, np.nan)


def from_arrays(first: np.ndarray, second: np.ndarray) -> Distance:
    """Distances of unweighted samples ``(n,)`` and ``(m,)``; ``nan`` when either is empty.

    Example:
        >>> x = np.linspace(0.0, 1.0, 1001)
        >>> round(from_arrays(x, x + 0.1).ks, 2)
        0.1
    """
    if not len(first) or not len(second):
        return UNKNOWN
    x, y = (np.sort(np.asarray(values, dtype=np.float64)) for values in (first, second))
    places = np.concatenate([x, y])
    places.sort(kind="mergesort")
    below_x = np.searchsorted(x, places, side="right") / len(x)
    below_y = np.searchsorted(y, places, side="right") / len(y)
    gaps, inverse = np.diff(places), 1.0 / len(x) + 1.0 / len(y)
    pooled = (below_x * len(x) + below_y * len(y)) / (len(x) + len(y))
    return _distance(below_x - below_y, pooled, gaps, x.std(), inverse)


def from_histograms(first: hist.Hist, second: hist.Hist) -> Distance:
    """Distances of two one-dimensional weighted histograms on one axis, flow bins included.

    The Wasserstein distance moves contents between bin centres; flow bins sit one mean bin width
    outside.
    """
    one, two = first.values(flow=True), second.values(flow=True)
    if one.sum() <= 0 or two.sum() <= 0:
        return UNKNOWN
    n, m = effective_entries(first), effective_entries(second)
    centres = _centres(first.axes[0].edges)
    fractions = one / one.sum()
    mean = (fractions * centres).sum()
    variance = (fractions * (centres - mean) ** 2).sum()
    deviation = np.sqrt(variance) if variance > 0 else 0.0  # negative weights can outweigh
    below_x, below_y = (np.cumsum(values) / values.sum() for values in (one, two))
    pooled = (below_x * n + below_y * m) / (n + m)
    return _distance(below_x - below_y, pooled, np.diff(centres), deviation, 1.0 / n + 1.0 / m)


def effective_entries(histogram: hist.Hist) -> float:
    """Squared sum of weights over sum of squared weights, flow bins included."""
    values, variances = histogram.values(flow=True), histogram.variances(flow=True)
    return float(values.sum() ** 2 / variances.sum()) if variances.sum() > 0 else 0.0


def _distance(
    difference: np.ndarray,
    pooled: np.ndarray,
    gaps: np.ndarray,
    deviation: float,
    inverse: float,
) -> Distance:
    """Assemble from cumulative distributions at the places between which ``gaps`` lie."""
    spread = np.sqrt(np.clip(pooled * (1.0 - pooled), 0.0, None))[:-1]
    scale = 1.0 / deviation if deviation > 0 else np.nan
    noise = HALF_NORMAL_MEAN * np.sqrt(inverse)
    return Distance(
        ks=float(np.abs(difference).max()),
        ks_floor=float(KOLMOGOROV_MEAN * np.sqrt(inverse)),
        w1=float((np.abs(difference)[:-1] * gaps).sum() * scale),
        w1_floor=float(noise * (spread * gaps).sum() * scale),
    )


def _centres(edges: np.ndarray) -> np.ndarray:
    """Bin centres with both flow bins; of logarithms when the edges are geometric."""
    if edges[0] > 0 and np.allclose(edges[1:] / edges[:-1], edges[1] / edges[0], rtol=1e-6):
        edges = np.log(edges)
    width = (edges[-1] - edges[0]) / (len(edges) - 1)
    inner = 0.5 * (edges[1:] + edges[:-1])
    return np.concatenate([[edges[0] - 0.5 * width], inner, [edges[-1] + 0.5 * width]])
