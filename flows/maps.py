"""Continuous one-to-one maps of a column, with the projections that bound them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from flows.transform import Column, Given, GivenColumns, Image, Transform, TransformError

__all__ = ["Affine", "Arctan", "Arsinh", "Clip", "Log", "Log1p", "Logit", "Standardise"]

POLE_MARGIN = 1e-7
"""Distance kept from the poles of arctan, in radians: beyond it the inverse changes its sign."""
EXPONENT_LIMIT = 80.0
"""Largest exponent taken back by the logarithms: e⁸⁰ still is a float32."""


@dataclass(frozen=True)
class Affine(Transform):
    """``y = scale · x + offset``.

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> Affine(2.0, 1.0).inverse(Affine(2.0, 1.0).forward(x, {}), {}).equal(x)
        True
    """

    kind: ClassVar[str] = "affine"
    scale: float = 1.0
    offset: float = 0.0

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Scale, then shift."""
        x *= self.scale
        x += self.offset

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Shift back, then divide."""
        y -= self.offset
        y /= self.scale

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale != 0 and math.isfinite(self.offset)):
            msg = f"affine map with scale {self.scale} and offset {self.offset} has no inverse"
            raise TransformError(msg)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Scale, then shift."""
        return x * self.scale + self.offset

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Shift back, then divide."""
        return (y - self.offset) / self.scale


@dataclass(frozen=True)
class Standardise(Transform):
    """``y = (x − mean) / deviation``, both fitted; a constant column keeps deviation 1."""

    kind: ClassVar[str] = "standardise"
    mean: float | None = None
    deviation: float | None = None

    def __post_init__(self) -> None:
        known = [value for value in (self.mean, self.deviation) if value is not None]
        fine = all(map(math.isfinite, known))
        if not fine or (self.deviation is not None and not self.deviation > 0):
            msg = f"standardise needs a finite mean and a positive deviation, got {self}"
            raise TransformError(msg)

    def fit(self, x: Tensor, given: Given) -> Self:
        """Take mean and standard deviation of the finite values."""
        if not self.needs_fit():
            return self
        finite = x[torch.isfinite(x)].to(torch.float64)
        if len(finite) == 0:
            msg = "standardise cannot be fitted: no finite value in the column"
            raise TransformError(msg)
        deviation = float(finite.std(correction=0))
        usable = deviation > 1e-12 * max(1.0, float(finite.abs().max()))
        return replace(self, mean=float(finite.mean()), deviation=deviation if usable else 1.0)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Shift by the mean, divide by the deviation."""
        mean, deviation = self._constants()
        return (x - mean) / deviation

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Multiply by the deviation, add the mean."""
        mean, deviation = self._constants()
        return y * deviation + mean

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Shift by the mean, divide by the deviation."""
        mean, deviation = self._constants()
        x -= mean
        x /= deviation

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Multiply by the deviation, add the mean."""
        mean, deviation = self._constants()
        y *= deviation
        y += mean

    def _constants(self) -> tuple[float, float]:
        if self.mean is None or self.deviation is None:
            msg = "standardise is used before it was fitted; call fit with training values"
            raise TransformError(msg)
        return self.mean, self.deviation


@dataclass(frozen=True)
class Log(Transform):
    """``y = ln(scale · x + offset)``; ``floor`` is the smallest argument of the logarithm.

    Values with ``scale · x + offset`` below the floor are projected onto it.
    """

    kind: ClassVar[str] = "log"
    scale: float = 1.0
    offset: float = 0.0
    floor: float = 1e-12

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Logarithm of the scaled value."""
        x *= self.scale
        x += self.offset
        np.log(np.maximum(x, self.floor, out=x), out=x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Exponential, then the affine map back."""
        np.exp(y, out=y)
        y -= self.offset
        y /= self.scale

    def __post_init__(self) -> None:
        if self.scale == 0 or self.floor <= 0:
            msg = f"log with scale {self.scale} and floor {self.floor} has no inverse"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """From the logarithm of the floor to what float32 can hold."""
        return Image(math.log(self.floor), EXPONENT_LIMIT)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Logarithm of the scaled value."""
        return torch.log(torch.clamp(x * self.scale + self.offset, min=self.floor))

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Exponential, then the affine map back."""
        return (torch.exp(y) - self.offset) / self.scale


@dataclass(frozen=True)
class Log1p(Transform):
    """``y = ln(1 + scale · x)``, exact near zero; domain ``scale · x > −1``."""

    kind: ClassVar[str] = "log1p"
    scale: float = 1.0

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Logarithm of one plus the scaled value."""
        x *= self.scale
        np.log1p(x, out=x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Exponential minus one, unscaled."""
        np.expm1(y, out=y)
        y /= self.scale

    def __post_init__(self) -> None:
        if self.scale == 0:
            msg = "log1p with scale 0 has no inverse"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """What float32 can hold on both sides."""
        return Image(-EXPONENT_LIMIT, EXPONENT_LIMIT)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Logarithm of one plus the scaled value."""
        return torch.log1p(x * self.scale)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Exponential minus one, unscaled."""
        return torch.expm1(y) / self.scale


@dataclass(frozen=True)
class Arctan(Transform):
    """``y = arctan(scale · (x − center))``: tames two-sided tails around a peak.

    The image ends just before the poles: past them the tangent jumps from +∞ to −∞.
    """

    kind: ClassVar[str] = "arctan"
    scale: float = 1.0
    center: float = 0.0

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Arc tangent of the scaled distance from the center."""
        x -= self.center
        x *= self.scale
        np.arctan(x, out=x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Tangent, unscaled, back to the center."""
        np.tan(y, out=y)
        y /= self.scale
        y += self.center

    def __post_init__(self) -> None:
        if self.scale == 0:
            msg = "arctan with scale 0 has no inverse"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """The open interval between the poles, less a margin."""
        edge = math.pi / 2 - POLE_MARGIN
        return Image(-edge, edge)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Arc tangent of the scaled distance from the center."""
        return torch.arctan((x - self.center) * self.scale)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Tangent, unscaled, back to the center."""
        return torch.tan(y) / self.scale + self.center


@dataclass(frozen=True)
class Arsinh(Transform):
    """``y = arsinh(x / scale)``: linear within the scale, a logarithm on both sides beyond it."""

    kind: ClassVar[str] = "arsinh"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            msg = f"arsinh needs a scale that is positive and finite, not {self.scale}"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """What float32 can hold on both sides."""
        return Image(-EXPONENT_LIMIT, EXPONENT_LIMIT)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Inverse hyperbolic sine of the scaled value."""
        return torch.arcsinh(x / self.scale)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Hyperbolic sine, unscaled."""
        return torch.sinh(y) * self.scale

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Inverse hyperbolic sine of the scaled value."""
        x /= self.scale
        np.arcsinh(x, out=x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Hyperbolic sine, unscaled."""
        np.sinh(y, out=y)
        y *= self.scale


@dataclass(frozen=True)
class Logit(Transform):
    """``y = ln(p / (1 − p))`` with ``p`` kept ``margin`` away from 0 and 1 (a projection)."""

    kind: ClassVar[str] = "logit"
    margin: float = 1e-6

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Logistic function."""
        np.exp(np.negative(y, out=y), out=y)
        y += 1.0
        np.reciprocal(y, out=y)

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            msg = f"logit needs a margin between 0 and 0.5, not {self.margin}"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """Symmetric, set by the margin."""
        edge = math.log((1 - self.margin) / self.margin)
        return Image(-edge, edge)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Log-odds of the value moved off the edges."""
        return torch.logit(torch.clamp(x, self.margin, 1 - self.margin))

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Logistic function."""
        return torch.sigmoid(y)


@dataclass(frozen=True)
class Clip(Transform):
    """Projection onto ``[low, high]``, both ways; missing edges are fitted to the values' range."""

    kind: ClassVar[str] = "clip"
    low: float | None = None
    high: float | None = None

    def forward_in_place(self, x: Column, given: GivenColumns) -> None:
        """Move values outside onto the nearer edge."""
        np.clip(x, *self._edges(), out=x)

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Move values outside onto the nearer edge."""
        np.clip(y, *self._edges(), out=y)

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and not self.low <= self.high:
            msg = f"clip needs low <= high, not [{self.low}, {self.high}]"
            raise TransformError(msg)

    @property
    def image(self) -> Image:
        """The interval itself."""
        low, high = self._edges()
        return Image(low, high)

    def fit(self, x: Tensor, given: Given) -> Self:
        """Take missing edges from the finite values."""
        finite = x[torch.isfinite(x)]
        if not self.needs_fit():
            return self
        if len(finite) == 0:
            msg = "clip cannot be fitted: no finite value in the column"
            raise TransformError(msg)
        low = float(finite.min()) if self.low is None else self.low
        high = float(finite.max()) if self.high is None else self.high
        return replace(self, low=low, high=max(low, high))

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Move values outside onto the nearer edge."""
        return torch.clamp(x, *self._edges())

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Move values outside onto the nearer edge."""
        return torch.clamp(y, *self._edges())

    def _edges(self) -> tuple[float, float]:
        if self.low is None or self.high is None:
            msg = "clip is used before it was fitted; call fit with training values"
            raise TransformError(msg)
        return self.low, self.high
