"""Monotone rational-quadratic splines in plain torch.

References: Neural Spline Flows (Durkan et al., 2019), arXiv:1906.04032; the parametrisation is that
of nflows' ``unconstrained_rational_quadratic_spline`` (K widths, K heights, K − 1 slopes, linear
tails of slope one) or of zuko's ``MonotonicRQSTransform``, evaluated without scatter so that every
element takes the same path.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softmax, softplus

__all__ = [
    "MIN_DERIVATIVE",
    "MIN_SIZE",
    "OWN_LIMITS",
    "Limits",
    "Segment",
    "segment_forward",
    "segment_inverse",
    "spline_forward",
    "spline_inverse",
]

MIN_SIZE = 1e-3
"""Least width or height of a bin, as a fraction of the box (nflows' default)."""
MIN_DERIVATIVE = 1e-3
"""Least slope at a knot (nflows' default)."""
PARAMETER_LIMIT = 25.0
"""Raw parameters are taken within ± this: exponentials stay finite without a row maximum."""


class Limits(NamedTuple):
    """What a parametrisation keeps apart from zero and from infinity.

    Attributes:
        width: Least width of a bin, as a share of the box.
        height: Least height, likewise.
        slope: Least slope at a knot.
        raw: Raw parameters are taken within ± this.
        soft: zuko's way: with s = ln(1 / slope), raw sizes r become r / (1 + 2 \\|r\\| / s), slopes
            are the exponentials of r / (1 + \\|r\\| / s), hence within e^± s.
    """

    width: float
    height: float
    slope: float
    raw: float
    soft: bool = False


OWN_LIMITS = Limits(MIN_SIZE, MIN_SIZE, MIN_DERIVATIVE, PARAMETER_LIMIT)
"""Limits of the package's own layers."""


class Segment(NamedTuple):
    """One bin per element: left knot, size, slopes at both knots. All of one shape."""

    x: Tensor
    width: Tensor
    y: Tensor
    height: Tensor
    left: Tensor
    right: Tensor


def segment_forward(x: Tensor, s: Segment) -> tuple[Tensor, Tensor]:
    """Value and log-slope inside a bin, equations 4 and 5 of arXiv:1906.04032."""
    delta = s.height / s.width
    theta = (x - s.x) / s.width
    mixed = theta * (1 - theta)
    denominator = delta + (s.left + s.right - 2 * delta) * mixed
    y = s.y + s.height * (delta * theta.square() + s.left * mixed) / denominator
    slope = s.right * theta.square() + 2 * delta * mixed + s.left * (1 - theta).square()
    return y, torch.log(delta.square() * slope / denominator.square())


def segment_inverse(y: Tensor, s: Segment) -> Tensor:
    """Solve the quadratic of a bin for its root between 0 and 1, equations 6 to 8.

    The discriminant is never negative in exact arithmetic; rounding is cut at zero.
    """
    delta = s.height / s.width
    rise = y - s.y
    bend = s.left + s.right - 2 * delta
    a = s.height * (delta - s.left) + rise * bend
    b = s.height * s.left - rise * bend
    c = -delta * rise
    root = torch.sqrt(torch.clamp(b.square() - 4 * a * c, min=0.0))
    denominator = -b - root
    safe = torch.where(denominator == 0, torch.ones_like(denominator), denominator)
    theta = torch.where(denominator == 0, torch.zeros_like(c), 2 * c / safe)
    return s.x + s.width * torch.clamp(theta, 0.0, 1.0)


def _knots(raw: Tensor, bound: float, least: float) -> Tensor:
    size = least + (1 - least * raw.shape[-1]) * softmax(raw, -1)
    inner = 2 * bound * torch.cumsum(size, -1)[..., :-1] - bound
    return pad(pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def _pick(table: Tensor, position: Tensor) -> Tensor:
    if table.ndim == position.ndim:
        return table.gather(-1, position)
    return table.gather(-1, position[..., None])[..., 0]


def _place(value: Tensor, inner: Tensor) -> Tensor:
    """Bin of every value between the inner knots, its own or those of its row."""
    if value.ndim == inner.ndim:
        return torch.searchsorted(
            inner.detach().contiguous(), value.detach().contiguous(), right=True
        )
    return (value[..., None] >= inner).sum(-1)


def _limited(parameters: Tensor, bins: int, limits: Limits) -> tuple[Tensor, Tensor]:
    """Raw parameters within their limits, and the slopes at all knots."""
    if limits.soft:
        within = -math.log(limits.slope)
        sizes, raw = parameters[..., : 2 * bins], parameters[..., 2 * bins :]
        slopes = torch.exp(raw / (1 + raw.abs() / within))
        return sizes / (1 + 2 * sizes.abs() / within), pad(slopes, (1, 1), value=1.0)
    raw = parameters.clamp(-limits.raw, limits.raw) if math.isfinite(limits.raw) else parameters
    one = math.log(math.expm1(1 - limits.slope))
    return raw[..., : 2 * bins], pad(raw[..., 2 * bins :], (1, 1), value=one)


def _segment(
    value: Tensor, parameters: Tensor, bins: int, bound: float, limits: Limits, *, inverse: bool
) -> Segment:
    sizes, slopes = _limited(parameters, bins, limits)
    x = _knots(sizes[..., :bins], bound, limits.width)
    y = _knots(sizes[..., bins:], bound, limits.height)
    searched = y if inverse else x
    position = _place(value, searched[..., 1:-1])
    x0, y0 = _pick(x, position), _pick(y, position)
    left, right = _pick(slopes, position), _pick(slopes, position + 1)
    if not limits.soft:
        left, right = (limits.slope + softplus(raw) for raw in (left, right))
    return Segment(x0, _pick(x, position + 1) - x0, y0, _pick(y, position + 1) - y0, left, right)


def spline_forward(
    x: Tensor, parameters: Tensor, bins: int, bound: float, limits: Limits = OWN_LIMITS
) -> tuple[Tensor, Tensor]:
    """Spline of every element with its own parameters; the identity outside the box.

    Arguments:
        x: Values ``(..., )``.
        parameters: ``(..., 3 K − 1)``: raw widths, heights, inner slopes; with values ``(n, k)``
            also ``(n, 3 K − 1)``, shared by the values of a row.
        bins: Number of bins K.
        bound: Half-width of the box.
        limits: Least sizes and slopes, largest raw parameters.
    Returns: values and log-slopes, both ``(..., )``.

    Example:
        >>> x, p = torch.linspace(-6, 6, 7), torch.randn(7, 23)
        >>> y, _ = spline_forward(x, p, 8, 4.0)
        >>> torch.allclose(spline_inverse(y, p, 8, 4.0), x, atol=1e-4), bool(y[0] == x[0])
        (True, True)
    """
    _need_size(parameters, bins, limits)
    inside = (x >= -bound) & (x <= bound)
    y, slope = segment_forward(
        x.clamp(-bound, bound),
        _segment(x.clamp(-bound, bound), parameters, bins, bound, limits, inverse=False),
    )
    return torch.where(inside, y, x), torch.where(inside, slope, torch.zeros_like(slope))


def spline_inverse(
    y: Tensor, parameters: Tensor, bins: int, bound: float, limits: Limits = OWN_LIMITS
) -> Tensor:
    """Invert :func:`spline_forward`, same shapes."""
    _need_size(parameters, bins, limits)
    inside = (y >= -bound) & (y <= bound)
    bounded = y.clamp(-bound, bound)
    x = segment_inverse(bounded, _segment(bounded, parameters, bins, bound, limits, inverse=True))
    return torch.where(inside, x, y)


def _need_size(parameters: Tensor, bins: int, limits: Limits) -> None:
    least = max(limits.width, limits.height)
    if parameters.shape[-1] != 3 * bins - 1 or bins * least >= 1:
        msg = (
            f"spline of {bins} bins got {parameters.shape[-1]} parameters per value, "
            f"expected {3 * bins - 1}, with least sizes {least} that fit into the box"
        )
        raise ValueError(msg)
