"""Both ways of one feature for a register of rows, the spline's bin found on the way."""

from __future__ import annotations

from typing import Any

import numba

from flows.engine.elementary import exponential, logarithm, softplus
from flows.engine.lanes import fill, fma, larger, load, smaller, square_root, store, where_less

__all__ = [
    "affine_forward",
    "affine_inverse",
    "sigmoid",
    "silu",
    "spline_forward",
    "spline_inverse",
]

LEAST_DENOMINATOR = 2e-38
"""Just above the smallest normal float32: keeps 0 / 0 out of the root of a spline."""


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def silu(x: Any) -> Any:
    """x · σ(x)."""
    return x / (fill(x, 1.0) + exponential(fill(x, 0.0) - x))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return fill(x, 1.0) / (fill(x, 1.0) + exponential(fill(x, 0.0) - x))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def affine_inverse(z: Any, raw: Any, shift: Any, least: float, most: float) -> Any:
    """``(z − shift) / scale`` with ``scale = min(softplus(raw) + least, most)``."""
    return (z - shift) / smaller(softplus(raw) + fill(z, least), fill(z, most))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def affine_forward(
    x: Any, raw: Any, shift: Any, least: float, most: float, bound: float
) -> tuple[Any, Any]:
    """``scale · x + shift`` and ln scale, the shift cut at ± ``bound``."""
    scale = smaller(softplus(raw) + fill(x, least), fill(x, most))
    return fma(x, scale, _cut(shift, bound)), logarithm(scale)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _cut(x: Any, limit: float) -> Any:
    return smaller(larger(x, fill(x, -limit)), fill(x, limit))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _added(total: Any, rest: Any, value: Any) -> tuple[Any, Any]:
    """Sum and what rounding took from it (Kahan, 1965): many bins would add up many roundings."""
    value = value - rest
    result = total + value
    return result, (result - total) - value


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _shares(space: Any, at: int, stride: int, bins: int, limit: float) -> Any:
    """Replace raw sizes by their exponentials; return the sum."""
    most = load(space, at)
    for k in range(1, bins):
        most = larger(most, load(space, at + k * stride))
    most = _cut(most, limit)
    total = rest = fill(most, 0.0)
    for k in range(bins):
        e = exponential(_cut(load(space, at + k * stride), limit) - most)
        store(space, at + k * stride, e)
        total, rest = _added(total, rest, e)
    return total


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _searched(
    z: Any, space: Any, at: int, stride: int, bins: int, bound: float, least: float, limit: float
) -> Any:
    """Bin of the rows along the axis that is searched: (number, left edge, size)."""
    total = _shares(space, at, stride, bins, limit)
    per = fill(z, 2 * bound * (1 - least * bins)) / total
    smallest, end = fill(z, 2 * bound * least), fill(z, bound)
    edge, rest = fill(z, -bound), fill(z, 0.0)
    index, left, size = rest, edge, edge
    for k in range(bins):
        now = fma(per, load(space, at + k * stride), smallest) if k < bins - 1 else end - edge
        index = where_less(z, edge, index, fill(z, float(k)))
        left = where_less(z, edge, left, edge)
        size = where_less(z, edge, size, now)
        edge, rest = _added(edge, rest, now)
    return index, left, size


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _placed(
    index: Any,
    space: Any,
    at: int,
    stride: int,
    bins: int,
    bound: float,
    least: float,
    limit: float,
) -> Any:
    """Left edge and size of the bin ``index`` along the other axis."""
    total = _shares(space, at, stride, bins, limit)
    per = fill(index, 2 * bound * (1 - least * bins)) / total
    smallest, end = fill(index, 2 * bound * least), fill(index, bound)
    edge, rest = fill(index, -bound), fill(index, 0.0)
    left, size = edge, edge
    for k in range(bins):
        now = fma(per, load(space, at + k * stride), smallest) if k < bins - 1 else end - edge
        number = fill(index, float(k))
        left = where_less(index, number, left, edge)
        size = where_less(index, number, size, now)
        edge, rest = _added(edge, rest, now)
    return left, size


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _slopes(
    index: Any,
    space: Any,
    at: int,
    stride: int,
    bins: int,
    least: float,
    limit: float,
    soft: float,
) -> Any:
    """Slopes at both knots of the bin ``index``: one at the ends of the box."""
    one = fill(index, 1.0)
    before = after = fill(index, 0.0)
    for j in range(bins - 1):
        raw, number = load(space, at + j * stride), fill(index, float(j))
        before = where_less(number, index, raw, before)
        after = where_less(index, number, after, raw)
    smallest = fill(index, least)
    if soft > 0:
        before, after = exponential(before), exponential(after)
    else:
        before = softplus(_cut(before, limit)) + smallest
        after = softplus(_cut(after, limit)) + smallest
    return (
        where_less(index, fill(index, 0.5), one, before),
        where_less(fill(index, bins - 1.5), index, one, after),
    )


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _soften(space: Any, at: int, stride: int, count: int, within: float) -> None:
    """Replace raw parameters r by ``r / (1 + |r| / within)``."""
    for k in range(count):
        r = load(space, at + k * stride)
        size = larger(r, fill(r, 0.0) - r)
        store(space, at + k * stride, r / fma(size, fill(r, 1 / within), fill(r, 1.0)))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _soften_all(space: Any, at: int, stride: int, bins: int, soft: float) -> None:
    if soft > 0:
        _soften(space, at, stride, 2 * bins, 0.5 * soft)
        _soften(space, at + 2 * bins * stride, stride, bins - 1, soft)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _confined(value: Any, inside: Any, bound: float, outside: Any) -> Any:
    """Take ``inside`` where ``value`` is in the box, or NaN, else ``outside``."""
    edge = fill(value, bound)
    return where_less(value, fill(value, -bound), outside, where_less(edge, value, outside, inside))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def spline_forward(
    x: Any, space: Any, at: int, stride: int, bins: int, shape: tuple[float, ...]
) -> tuple[Any, Any]:
    """Value and ln slope of a rational-quadratic spline; the identity outside the box.

    Arguments:
        at: Where the raw widths, heights, inner slopes begin; they are overwritten.
        stride: Distance of two parameters.
        shape: Half-width of the box, least width, height and slope, limit of raw parameters, and
            ln(1 / least slope) if they are limited softly, else 0.
    References: Neural Spline Flows (Durkan et al., 2019), arXiv:1906.04032, equations 4 and 5.
    """
    bound, width, height, slope, limit, soft = shape
    tall = at + bins * stride
    _soften_all(space, at, stride, bins, soft)
    index, x0, w = _searched(x, space, at, stride, bins, bound, width, limit)
    y0, h = _placed(index, space, tall, stride, bins, bound, height, limit)
    d0, d1 = _slopes(index, space, tall + bins * stride, stride, bins, slope, limit, soft)
    zero, one, two = fill(x, 0.0), fill(x, 1.0), fill(x, 2.0)
    delta = h / w
    theta = smaller(larger((x - x0) / w, zero), one)
    rest = one - theta
    mixed = theta * rest
    bottom = fma(d0 + d1 - two * delta, mixed, delta)
    rise = fma(delta, theta * theta, d0 * mixed) / bottom
    steep = fma(d1, theta * theta, fma(d0, rest * rest, two * delta * mixed))
    scaled = delta / bottom
    ladj = logarithm(scaled * scaled * steep)
    return _confined(x, fma(h, rise, y0), bound, x), _confined(x, ladj, bound, zero)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def spline_inverse(
    z: Any, space: Any, at: int, stride: int, bins: int, shape: tuple[float, ...]
) -> Any:
    """Invert a rational-quadratic spline; the identity outside the box.

    The discriminant of the quadratic is never negative in exact arithmetic; rounding is cut at 0.

    Arguments:
        at, stride, shape: See :func:`spline_forward`.
    References: Neural Spline Flows (Durkan et al., 2019), arXiv:1906.04032, equations 6 to 8.
    """
    bound, width, height, slope, limit, soft = shape
    tall = at + bins * stride
    _soften_all(space, at, stride, bins, soft)
    index, y0, h = _searched(z, space, tall, stride, bins, bound, height, limit)
    x0, w = _placed(index, space, at, stride, bins, bound, width, limit)
    d0, d1 = _slopes(index, space, tall + bins * stride, stride, bins, slope, limit, soft)
    zero, one, two = fill(z, 0.0), fill(z, 1.0), fill(z, 2.0)
    delta = h / w
    rise = z - y0
    bend = rise * (d0 + d1 - two * delta)
    a = fma(h, delta - d0, bend)
    b = fma(h, d0, zero - bend)
    c = zero - delta * rise
    root = square_root(larger(fma(b, b, fill(z, -4.0) * a * c), zero))
    bottom = smaller(zero - b - root, fill(z, -LEAST_DENOMINATOR))
    theta = smaller(larger(two * c / bottom, zero), one)
    return _confined(z, fma(w, theta, x0), bound, z)
