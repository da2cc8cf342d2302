"""Maps of a column that refer to a condition, or to the geometry of an angle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from flows.transform import Column, Given, GivenColumns, Image, Transform, TransformError

__all__ = ["DifferenceTo", "FromRounded", "RatioTo", "ResponseAbove", "WrapPhi", "given_column"]

LEAST_STEP = 1e-6
"""Storage step in units of the resolution below which a stored quantity counts as exact."""
LINEAR = 30.0
"""Below minus this, ln ln(1 + e^z) is z to the last bit."""


def given_column(given: Given, name: str, like: Tensor) -> Tensor:
    """Values of a condition in the type of another tensor.

    Raises: TransformError if there is no such condition.
    """
    if name not in given:
        msg = f"transform refers to condition {name!r}; the conditions are {sorted(given)}"
        raise TransformError(msg)
    return given[name].to(like.dtype)


@dataclass(frozen=True)
class RatioTo(Transform):
    """``y = x / c`` with a condition ``c`` that is never 0."""

    kind: ClassVar[str] = "ratio-to"
    name: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """The denominator."""
        return (self.name,)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Divide by the condition."""
        return x / given_column(given, self.name, x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Multiply by the condition."""
        return y * given_column(given, self.name, y)


@dataclass(frozen=True)
class DifferenceTo(Transform):
    """``y = x − c`` with a condition ``c``."""

    kind: ClassVar[str] = "difference-to"
    name: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """The reference."""
        return (self.name,)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Subtract the condition."""
        return x - given_column(given, self.name, x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Add the condition."""
        return y + given_column(given, self.name, y)


@dataclass(frozen=True)
class FromRounded(Transform):
    r"""Difference to a quantity that is stored with a few bits, its rounding taken out.

    NanoAOD keeps 8 mantissa bits of a generator angle: between 2 and π its step is 7.8 mrad, far
    more than the resolution of a track, between 1/8 and 1/4 it is 0.5 mrad. The shape of
    reconstructed minus stored angle therefore jumps at every power of two of the condition, which
    a smooth network cannot follow. With the rounding uniform and the resolution logistic, their
    sum has the distribution function below; its logit hardly depends on the step.

    .. math:: F(x) = \frac{\tau}{2h}\left[\ln(1 + e^{(x + h)/\tau}) -
        \ln(1 + e^{(x - h)/\tau})\right], \qquad y = \ln\frac{F}{1 - F}

    with half the step :math:`h = 2^{\lfloor\log_2|c|\rfloor - b - 1}`. Far out it is linear,
    :math:`y \to (x \mp h)/\tau`.

    Arguments:
        name: Condition :math:`c`, as stored, in the unit of the column.
        bits: Mantissa bits :math:`b` that are stored.
        resolution: Width :math:`\tau` of the resolution, in the unit of the column.

    Example:
        >>> t, c = FromRounded("phi", 8, 4e-4), {"phi": torch.tensor([0.0, 3.0]).double()}
        >>> y = t.forward(torch.tensor([0.002, 0.002]).double(), c)
        >>> [round(v, 2) for v in y.tolist()]
        [5.0, 1.13]
    """

    kind: ClassVar[str] = "from-rounded"
    name: str = ""
    bits: int = 8
    resolution: float = 1e-3

    def __post_init__(self) -> None:
        if self.bits < 0 or self.resolution <= 0:
            msg = f"from-rounded needs bits of at least 0 and a positive resolution, got {self}"
            raise TransformError(msg)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The stored quantity."""
        return (self.name,)

    @property
    def image(self) -> Image:
        """Six hundred widths each way: beyond, the exponentials leave float64."""
        return Image(-600.0, 600.0)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Logit of the distribution function."""
        step = self._step(given, x)
        return _log_share(x / self.resolution, step) - _log_share(-x / self.resolution, step)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Quantile of the distribution at a logit."""
        step = self._step(given, y)
        below, above = step * torch.sigmoid(y), step * torch.sigmoid(-y)
        odds = torch.log(torch.expm1(below)) - torch.log(-torch.expm1(-above))
        return self.resolution * (odds - step / 2)

    def _step(self, given: Given, like: Tensor) -> Tensor:
        """Storage step over the width of the resolution."""
        stored = given_column(given, self.name, like)
        exponent = torch.frexp(stored).exponent - 1 - self.bits
        step = torch.ldexp(torch.ones_like(stored), exponent) / self.resolution
        return torch.where(stored == 0, 0.0, step).clamp(min=LEAST_STEP)


def _log_share(x: Tensor, step: Tensor) -> Tensor:
    """Logarithm of F at ``x``, both in widths."""
    z = step + torch.log(-torch.expm1(-step)) + logsigmoid(x - step / 2)
    return torch.where(z < -LINEAR, z, torch.log(softplus(z))) - torch.log(step)


@dataclass(frozen=True)
class ResponseAbove(Transform):
    r"""Response of a quantity that is stored above a threshold only.

    .. math:: y = \ln\frac{x - t}{s\,\ln(1 + e^{(c - t)/s})}

    Far above the threshold this is the logarithm of :math:`(x - t)/(c - t)`; at the threshold no
    edge is left for a flow to learn. Values within ``floor`` of the threshold are projected.

    Arguments:
        name: Condition :math:`c`, in the unit of the column.
        threshold: :math:`t`, the stored minimum.
        softness: :math:`s`, how far below the threshold ``c`` still counts.
        floor: Smallest distance from the threshold that is told apart.

    Example:
        >>> t = ResponseAbove("pt", threshold=15.0, softness=5.0)
        >>> x, c = torch.tensor([15.5, 80.0]).double(), {"pt": torch.tensor([9.0, 90.0]).double()}
        >>> torch.allclose(t.inverse(t.forward(x, c), c), x, rtol=1e-12)
        True
    """

    kind: ClassVar[str] = "response-above"
    name: str = ""
    threshold: float = 0.0
    softness: float = 5.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if self.softness <= 0 or self.floor <= 0:
            msg = f"response-above needs positive softness and floor, got {self}"
            raise TransformError(msg)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the response refers to."""
        return (self.name,)

    @property
    def image(self) -> Image:
        """Factors between e⁻²⁰ and e⁸ of the condition: far beyond any detector."""
        return Image(-20.0, 8.0)

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Log of the distance from the threshold over the condition's."""
        return torch.log(torch.clamp(x - self.threshold, min=self.floor) / self._scale(x, given))

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Threshold plus the response times the condition's distance."""
        return torch.exp(y) * self._scale(y, given) + self.threshold

    def inverse_in_place(self, y: Column, given: GivenColumns) -> None:
        """Threshold plus the response times the condition's distance."""
        distance = (given[self.name] - self.threshold) / self.softness
        soft = np.maximum(distance, 0.0) + np.log1p(np.exp(-np.abs(distance)))
        np.exp(y, out=y)
        y *= self.softness * np.maximum(soft, 1e-6)
        y += self.threshold

    def _scale(self, like: Tensor, given: Given) -> Tensor:
        distance = given_column(given, self.name, like) - self.threshold
        return self.softness * softplus(distance / self.softness).clamp(min=1e-6)


@dataclass(frozen=True)
class WrapPhi(Transform):
    """Projection of an angle onto [−π, π), both ways.

    Example:
        >>> t = WrapPhi()
        >>> float(t.inverse(torch.tensor([4.0]), {})) == 4.0 - 2 * torch.pi
        False
        >>> abs(float(t.inverse(torch.tensor([4.0]), {})) - (4.0 - 2 * torch.pi)) < 1e-6
        True
    """

    kind: ClassVar[str] = "wrap-phi"

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Wrap into [−π, π)."""
        return _wrap(x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Wrap into [−π, π)."""
        return _wrap(y)


def _wrap(angle: Tensor) -> Tensor:
    turned = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    return torch.where((angle >= -math.pi) & (angle < math.pi), angle, turned)
