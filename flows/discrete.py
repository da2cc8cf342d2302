"""Maps of columns that take separate values: integers, delta peaks, classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor

from flows.transform import Given, Image, Transform, TransformError

__all__ = ["Dequantise", "OneHot", "Snap", "Spike", "Steps", "ZeroPeak"]

JITTER = 1.0 - 2.0**-9
"""Full width of the uniform added to an integer: ±(0.5 − 2⁻¹⁰), so that rounding is exact."""

EDGE = 0.5 - 2.0**-12
"""Distance from the outermost integers at which an image ends: leaves room for rounding."""


def _jitter(x: Tensor, noise: Tensor | None) -> Tensor:
    if noise is None:
        return torch.zeros_like(x)
    return (noise.to(x.dtype) - 0.5) * JITTER


@dataclass(frozen=True)
class Dequantise(Transform):
    """Integers ↔ uniform in ±(0.5 − 2⁻¹⁰) around them; the inverse rounds, hence is exact.

    Example:
        >>> t = Dequantise(0, 7)
        >>> x, u = torch.arange(8.0), torch.linspace(0.001, 0.999, 8)
        >>> t.inverse(t.forward(x, {}, u), {}).equal(x)
        True
    """

    kind: ClassVar[str] = "dequantise"
    low: int | None = None
    high: int | None = None

    @property
    def image(self) -> Image:
        """Just short of half a unit around the smallest and largest integer."""
        low, high = self._edges()
        return Image(low - EDGE, high + EDGE)

    def fit(self, x: Tensor, given: Given) -> Self:
        """Take missing edges from the values, which must be integers."""
        finite = x[torch.isfinite(x)]
        if len(finite) == 0 or not bool((finite == finite.round()).all()):
            msg = "dequantise needs a column of integers"
            raise TransformError(msg)
        low = int(finite.min()) if self.low is None else self.low
        high = int(finite.max()) if self.high is None else self.high
        return replace(self, low=low, high=high)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Add the jitter."""
        return x + _jitter(x, noise)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Round to the nearest integer."""
        return torch.round(y)

    def _edges(self) -> tuple[int, int]:
        if self.low is None or self.high is None:
            msg = "dequantise is used before it was fitted; call fit with training values"
            raise TransformError(msg)
        return self.low, self.high


@dataclass(frozen=True)
class Spike(Transform):
    """A delta peak at ``at`` ↔ a narrow bump below all other values, behind a gap.

    The bump is as wide as ``gap``; both are ``fraction`` of the range of the other values. The
    inverse sends everything below the middle of the gap to ``at`` exactly. Models whose
    categorical head carries a flag per spike do not need it (:class:`flows.layout.TargetColumn`).
    """

    kind: ClassVar[str] = "spike"
    at: float = 0.0
    fraction: float = 0.1
    rest_low: float | None = None
    gap: float | None = None

    def fit(self, x: Tensor, given: Given) -> Self:
        """Place the bump below the smallest value that is not the peak."""
        if not self.needs_fit():
            return self
        rest = x[torch.isfinite(x) & ~self._is_peak(x)].to(torch.float64)
        low, high = (float(rest.min()), float(rest.max())) if len(rest) else (self.at, self.at)
        spread = (high - low) or max(1.0, abs(low))
        return replace(self, rest_low=low, gap=self.fraction * spread)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Spread the peak over the bump, keep the rest."""
        low, gap = self._place()
        bump = low - 1.5 * gap + _jitter(x, noise) * gap
        return torch.where(self._is_peak(x), bump, x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Collapse everything below the middle of the gap onto the peak."""
        low, gap = self._place()
        at = torch.tensor(self.at, dtype=torch.float32, device=y.device).to(y.dtype)
        return torch.where(y < low - 0.5 * gap, at, y)

    def _is_peak(self, x: Tensor) -> Tensor:
        return x.to(torch.float32) == torch.tensor(self.at, dtype=torch.float32, device=x.device)

    def _place(self) -> tuple[float, float]:
        if self.rest_low is None or self.gap is None:
            msg = f"spike at {self.at} is used before it was fitted; call fit with training values"
            raise TransformError(msg)
        return self.rest_low, self.gap


@dataclass(frozen=True)
class Snap(Transform):
    """Projection onto the nearest of the allowed ``values`` on the way back; identity forward."""

    kind: ClassVar[str] = "snap"
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _need_values("snap", self.values)

    @property
    def image(self) -> Image:
        """From the smallest to the largest allowed value."""
        return Image(min(self.values), max(self.values))

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Return ``x`` as it is."""
        return x

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Pick the nearest allowed value; the smaller one in the middle; NaN stays."""
        allowed = torch.tensor(sorted(self.values), dtype=y.dtype, device=y.device)
        nearest = allowed[(y[:, None] - allowed).abs().argmin(1)]
        return torch.where(torch.isnan(y), y, nearest)


@dataclass(frozen=True)
class Steps(Transform):
    """Projection onto ``values`` by ``edges`` on the way back; identity forward.

    Below the first edge stands the first value, from each edge on the next one: unlike
    :class:`Snap`, edges lie where a model was trained to have them.

    Example:
        >>> Steps((2.5, 4.5), (0.0, 4.0, 5.0)).inverse(torch.tensor([2.4, 2.6, 9.0]), {}).tolist()
        [0.0, 4.0, 5.0]
    """

    kind: ClassVar[str] = "steps"
    edges: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _need_values("steps", self.values)
        rising = all(a < b for a, b in pairwise(self.edges))
        if len(self.edges) != len(self.values) - 1 or not rising:
            msg = f"steps needs rising edges, one fewer than values, got {self}"
            raise TransformError(msg)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Return ``x`` as it is."""
        return x

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Pick the value of the interval."""
        edges = torch.tensor(self.edges, dtype=y.dtype, device=y.device)
        values = torch.tensor(self.values, dtype=y.dtype, device=y.device)
        picked = values[torch.searchsorted(edges, y.contiguous(), right=True)]
        return torch.where(torch.isnan(y), y, picked)


@dataclass(frozen=True)
class ZeroPeak(Transform):
    """Zeros of a positive quantity ↔ a triangle below ``shift``, all else moved up by it.

    So a flow can move values between the peak and the rest. The triangle falls from 0 to
    ``share · shift``; values below 0 count as 0.

    Source: CaioDaumann/Flows_for_sim_correction, whose shifts and shares these are.
    """

    kind: ClassVar[str] = "zero-peak"
    shift: float = 0.05
    share: float = 0.99

    def __post_init__(self) -> None:
        if self.shift <= 0 or not 0 < self.share <= 1:
            msg = f"zero-peak needs a positive shift and a share in (0, 1], got {self}"
            raise TransformError(msg)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Spread the peak over the triangle, move the rest."""
        uniform = torch.full_like(x, 0.5) if noise is None else noise.to(x.dtype)
        triangle = self.share * self.shift * (1 - torch.sqrt(1 - uniform))
        return torch.where(x <= 0, triangle, x + self.shift)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Collapse what lies below the shift onto zero, move the rest back."""
        return torch.where(y < self.shift, torch.zeros_like(y), y - self.shift)


@dataclass(frozen=True)
class OneHot(Transform):
    """A class ↔ one column per declared value; anything else becomes all zeros."""

    kind: ClassVar[str] = "one-hot"
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _need_values("one-hot", self.values)

    @property
    def image(self) -> Image:
        """Between not this class and this class."""
        return Image(0.0, 1.0)

    def width(self) -> int:
        """One column per value."""
        return len(self.values)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Compare with every value: ``(n,)`` to ``(n, k)``."""
        allowed = torch.tensor(self.values, dtype=x.dtype, device=x.device)
        return (x[:, None] == allowed).to(x.dtype)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Pick the value with the largest column: ``(n, k)`` to ``(n,)``."""
        allowed = torch.tensor(self.values, dtype=y.dtype, device=y.device)
        return allowed[y.argmax(1)]


def _need_values(kind: str, values: tuple[float, ...]) -> None:
    if not values or len(set(values)) != len(values) or not all(map(math.isfinite, values)):
        msg = f"{kind} needs distinct finite values, got {values}"
        raise TransformError(msg)
