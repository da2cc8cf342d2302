"""Chains of column transforms: physics units on one side, what a network sees on the other.

The transforms themselves live in :mod:`flows.maps`, :mod:`flows.discrete`, :mod:`flows.relations`,
:mod:`flows.light` and :mod:`flows.quantiles`; all are named here. Chains compute in float64, so
that a round trip costs no more than the final rounding to float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flows.discrete import Dequantise, OneHot, Snap, Spike, Steps, ZeroPeak
from flows.light import AfterLight
from flows.maps import Affine, Arctan, Arsinh, Clip, Log, Log1p, Logit, Standardise
from flows.quantiles import QuantileNormal
from flows.relations import DifferenceTo, FromRounded, RatioTo, ResponseAbove, WrapPhi
from flows.transform import Given, Image, Transform, TransformError, transform_from_dict

__all__ = [
    "Affine",
    "AfterLight",
    "Arctan",
    "Arsinh",
    "Chain",
    "Clip",
    "Dequantise",
    "DifferenceTo",
    "Given",
    "Image",
    "FromRounded",
    "Inverted",
    "Log",
    "Log1p",
    "Logit",
    "OneHot",
    "QuantileNormal",
    "RatioTo",
    "ResponseAbove",
    "Snap",
    "Spike",
    "Standardise",
    "Steps",
    "Transform",
    "TransformError",
    "WrapPhi",
    "ZeroPeak",
    "transform_from_dict",
]


class Inverted(NamedTuple):
    """Values back in physics units ``(n,)``, with the rows that had to be clipped first."""

    values: Tensor
    outside: Tensor


@dataclass(frozen=True)
class Chain:
    """Transforms of one column, applied in order.

    Example:
        >>> chain = Chain((Log(), Standardise())).fit(torch.rand(100) + 1.0)
        >>> x = torch.tensor([1.0, 1.5])
        >>> chain.inverse(chain.forward(x)).values.float().equal(x)
        True
    """

    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        for transform in self.transforms[:-1]:
            if transform.width() != 1 or isinstance(transform, OneHot):
                msg = f"transform {transform.kind!r} widens the column: it must come last"
                raise TransformError(msg)

    @property
    def width(self) -> int:
        """Number of columns after ``forward``."""
        return self.transforms[-1].width() if self.transforms else 1

    @property
    def conditions(self) -> frozenset[str]:
        """Names of the conditions the transforms refer to."""
        return frozenset(name for t in self.transforms for name in t.conditions)

    def fit(self, x: Tensor, given: Given | None = None, noise: Tensor | None = None) -> Chain:
        """Fit every transform on what the ones before it make of ``x`` ``(n,)``."""
        fitted, values = [], x.to(torch.float64)
        for transform in self.transforms:
            fitted.append(transform.fit(values, given or {}))
            values = fitted[-1].forward(values, given or {}, noise)
        return Chain(tuple(fitted))

    def forward(self, x: Tensor, given: Given | None = None, noise: Tensor | None = None) -> Tensor:
        """Map ``x`` ``(n,)`` to float64 ``(n,)``, or ``(n, k)`` behind a one-hot."""
        values = x.to(torch.float64)
        for transform in self.transforms:
            values = transform.forward(values, given or {}, noise)
        return values

    def inverse(
        self, y: Tensor, given: Given | None = None, counts: Tensor | None = None
    ) -> Inverted:
        """Map back to float64 ``(n,)``; whatever leaves an image is clipped first and marked.

        A value that is not a number is marked too and stays as it is.

        Arguments:
            y: ``(n,)``.
            given: Conditions, one row per value, or with
            counts: int64 ``(m,)``, rows ``(m,)`` that this many values in turn belong to.
        """
        values = y.to(torch.float64)
        outside = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        for transform in reversed(self.transforms):
            low, high = transform.image
            fine = (values >= low) & (values <= high)
            outside |= ~(fine if fine.ndim == 1 else fine.all(1))
            bounded = values.clamp(low, high)
            if counts is None:
                values = transform.inverse(bounded, given or {})
            else:
                values = transform.inverse_repeated(bounded, given or {}, counts)
        return Inverted(values, outside)

    def to_list(self) -> list[dict[str, Any]]:
        """Write as plain JSON types."""
        return [t.to_dict() for t in self.transforms]

    @staticmethod
    def from_list(data: Sequence[Mapping[str, Any]]) -> Chain:
        """Read what :meth:`to_list` wrote."""
        return Chain(tuple(transform_from_dict(item) for item in data))
