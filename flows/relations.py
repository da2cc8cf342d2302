"""Maps of a column that refer to a condition, or to the geometry of an angle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from flows.transform import Given, Image, Transform, TransformError

__all__ = ["DifferenceTo", "RatioTo", "ResponseAbove", "WrapPhi"]


def _column(given: Given, name: str, like: Tensor) -> Tensor:
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
    def condition(self) -> str | None:
        """The denominator."""
        return self.name

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Divide by the condition."""
        return x / _column(given, self.name, x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Multiply by the condition."""
        return y * _column(given, self.name, y)


@dataclass(frozen=True)
class DifferenceTo(Transform):
    """``y = x − c`` with a condition ``c``."""

    kind: ClassVar[str] = "difference-to"
    name: str = ""

    @property
    def condition(self) -> str | None:
        """The reference."""
        return self.name

    def forward(self, x: Tensor, given: Given, noise: Tensor | None = None) -> Tensor:
        """Subtract the condition."""
        return x - _column(given, self.name, x)

    def inverse(self, y: Tensor, given: Given) -> Tensor:
        """Add the condition."""
        return y + _column(given, self.name, y)


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
    def condition(self) -> str | None:
        """What the response refers to."""
        return self.name

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

    def _scale(self, like: Tensor, given: Given) -> Tensor:
        distance = _column(given, self.name, like) - self.threshold
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
