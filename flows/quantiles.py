"""A fitted monotone map of any continuous column to a standard normal one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from flows.column_kernels import fill_forward, fill_inverse
from flows.spline import Segment, segment_forward, segment_inverse
from flows.transform import Column, Given, GivenColumns, Image, Transform, TransformError

__all__ = ["QuantileNormal"]

TAIL_ROWS = 16
"""Training values beyond the outermost knots on each side (chosen: enough to place a knot)."""
LARGEST_NORMAL = 4.5
"""Outermost knot in standard deviations, however many rows there are."""
LEAST_STEP = 1e-9
"""Knots closer than this fraction of the range are merged."""


@dataclass(frozen=True)
class QuantileNormal(Transform):
    """Quantiles ↔ standard normal, through ``knots`` fitted points joined by rational quadratics.

    Strictly monotone with a continuous slope, exactly invertible, linear beyond the outermost
    knots. It takes the marginal shape (peaks at both ends, long tails) off the flow's hands.

    Limits: detail finer than the distance of two knots stays in the column; a value that holds a
    share of the rows above about ``1 / knots`` becomes a step, so declare it as a spike first;
    tails beyond the training values are straight lines, so take the logarithm of a heavy tail
    first.

    References: Gregory & Delbourgo (1982), *Piecewise rational quadratic interpolation to
    monotonic data*, doi:10.1093/imanum/2.2.123.

    Example:
        >>> x = torch.rand(2000, dtype=torch.float64) ** 4
        >>> t = QuantileNormal(32).fit(x, {})
        >>> y = t.forward(x, {})
        >>> bool(abs(y.mean()) < 0.05), torch.allclose(t.inverse(y, {}), x, atol=1e-12)
        (True, True)
    """

    kind: ClassVar[str] = "quantile-normal"
    knots: int = 64
    values: tuple[float, ...] | None = None
    normals: tuple[float, ...] | None = None
    slopes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.knots < 4:
            msg = f"quantile-normal needs at least 4 knots, not {self.knots}"
            raise TransformError(msg)
        tables = (self.values, self.normals, self.slopes)
        if any(t is not None for t in tables):
            sizes = {len(t) for t in tables if t is not None}
            if None in tables or len(sizes) != 1 or not all(map(_increasing, tables[:2])):
                msg = "quantile-normal has knots that do not rise, or tables of unequal length"
                raise TransformError(msg)

    @property
    def image(self) -> Image:
        """Ten deviations each way: beyond that a straight tail means nothing."""
        return Image(-10.0, 10.0)

    def fit(self, x: Tensor, given: Given) -> Self:
        """Place the knots at quantiles that are evenly spaced in normal deviations."""
        if not self.needs_fit():
            return self
        finite = np.sort(x[torch.isfinite(x)].detach().cpu().numpy().astype(np.float64))
        if len(finite) == 0:
            msg = "quantile-normal cannot be fitted: no finite value in the column"
            raise TransformError(msg)
        edge = min(LARGEST_NORMAL, float(-ndtri(min(0.25, TAIL_ROWS / len(finite)))))
        normals = np.linspace(-edge, edge, self.knots)
        values, normals = _merge(np.quantile(finite, ndtr(normals)), normals)
        return replace(
            self,
            values=tuple(values.tolist()),
            normals=tuple(normals.tolist()),
            slopes=tuple(_knot_slopes(values, normals).tolist()),
        )

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Map values to normal deviations."""
        values, normals, slopes = self._tables(x)
        position = torch.searchsorted(values, x.contiguous(), right=True) - 1
        inner = position.clamp(0, len(values) - 2)
        segment = _segment(values, normals, slopes, inner)
        inside, _ = segment_forward(x.clamp(values[0], values[-1]), segment)
        below = normals[0] + (x - values[0]) * slopes[0]
        above = normals[-1] + (x - values[-1]) * slopes[-1]
        return torch.where(x < values[0], below, torch.where(x > values[-1], above, inside))

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Map normal deviations to values."""
        values, normals, slopes = self._tables(y)
        position = torch.searchsorted(normals, y.contiguous(), right=True) - 1
        inner = position.clamp(0, len(values) - 2)
        segment = _segment(values, normals, slopes, inner)
        inside = segment_inverse(y.clamp(normals[0], normals[-1]), segment)
        below = values[0] + (y - normals[0]) / slopes[0]
        above = values[-1] + (y - normals[-1]) / slopes[-1]
        return torch.where(y < normals[0], below, torch.where(y > normals[-1], above, inside))

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Map values to normal deviations, compiled."""
        fill_forward(x, *self._arrays, x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Map normal deviations to values, compiled."""
        fill_inverse(y, *self._arrays, y)

    def _tables(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tables = torch.from_numpy(np.stack(self._arrays)).to(like.device, like.dtype)
        return tables[0], tables[1], tables[2]

    @cached_property
    def _arrays(self) -> tuple[Column, Column, Column]:
        """Values, normals and slopes at the knots, each ``(knots,)``."""
        if self.values is None or self.normals is None or self.slopes is None:
            msg = "quantile-normal is used before it was fitted; call fit with training values"
            raise TransformError(msg)
        return np.array(self.values), np.array(self.normals), np.array(self.slopes)


def _segment(values: Tensor, normals: Tensor, slopes: Tensor, left: Tensor) -> Segment:
    right = left + 1
    x, y = values[left], normals[left]
    return Segment(x, values[right] - x, y, normals[right] - y, slopes[left], slopes[right])


def _increasing(table: tuple[float, ...] | None) -> bool:
    return table is not None and len(table) > 1 and all(a < b for a, b in pairwise(table))


def _merge(
    values: NDArray[np.float64], normals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join knots with (nearly) the same value at their mean; widen a constant column."""
    step = LEAST_STEP * max(values[-1] - values[0], np.abs(values).max(), 1e-30)
    group = np.cumsum(np.diff(values, prepend=values[0]) > step)
    count = np.bincount(group)
    merged = np.bincount(group, values) / count
    heights = np.bincount(group, normals) / count
    if len(merged) == 1:
        half = max(0.5, abs(merged[0]))
        return merged[0] + np.array([-half, half]), np.array([-1.0, 1.0])
    return merged, heights


def _knot_slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric mean of the neighbouring secants, the nearer one weighing more."""
    width = np.diff(x)
    secant = np.log(np.diff(y) / width)
    share = width[:-1] / (width[:-1] + width[1:])
    inner = (1 - share) * secant[:-1] + share * secant[1:]
    slopes: NDArray[np.float64] = np.exp(np.concatenate([secant[:1], inner, secant[-1:]]))
    return slopes
