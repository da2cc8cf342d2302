"""Compiled rational-quadratic splines for the processor, with their gradient.

Same function as :mod:`flows.spline`, one pass over the parameters instead of some thirty. The
kernels release the interpreter's lock, start no threads, and treat every element alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

from flows.spline import MIN_DERIVATIVE, MIN_SIZE, PARAMETER_LIMIT, spline_forward

__all__ = ["fused_spline"]

Function = TypeVar("Function", bound=Callable[..., Any])
FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Reordering is allowed; assuming that no value is NaN or infinite is not."""


def _compile(function: Function) -> Function:
    compiled: Function = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)(
        function
    )
    return compiled


_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)
_SLOPE = np.float32(MIN_DERIVATIVE)
_LEAST, _MOST = np.float32(math.exp(-PARAMETER_LIMIT)), np.float32(math.exp(PARAMETER_LIMIT))
_HUGE, _TINY = 1e100, 1e-100
MEMO = 10
"""Numbers per element that the gradient takes over from the forward pass."""


@_compile
def _limited(e: Any) -> Any:
    return min(max(e, _LEAST), _MOST)


@_compile
def _slope(e: Any, knot: int, bins: int) -> Any:
    if knot == 0 or knot == bins:
        return _ONE
    return _SLOPE + math.log1p(_limited(e[2 * bins + knot - 1]))


@_compile
def _total(e: Any, start: int, bins: int) -> Any:
    total = _ZERO
    for k in range(start, start + bins):
        total += _limited(e[k])
    return total


@_compile
def _bin(e: Any, start: int, bins: int, x: Any, bound: Any) -> Any:
    """Find the bin of x; return (bin, left edge, size, sum before it, 1 / sum of all)."""
    inverse = _ONE / _total(e, start, bins)
    least = _TWO * bound * np.float32(MIN_SIZE)
    per = (_TWO * bound - least * np.float32(bins)) * inverse
    before = _ZERO
    left = -bound
    size = least + per * _limited(e[start])
    k = 0
    while k < bins - 1 and x >= left + size:
        left += size
        before += _limited(e[start + k])
        k += 1
        size = least + per * _limited(e[start + k])
    return k, left, size, before, inverse


@_compile
def _edge(e: Any, start: int, bins: int, k: int, bound: Any) -> Any:
    """Place bin k; return (left edge, size, sum before it, 1 / sum of all)."""
    inverse = _ONE / _total(e, start, bins)
    before = _total(e, start, k)
    least = _TWO * bound * np.float32(MIN_SIZE)
    per = (_TWO * bound - least * np.float32(bins)) * inverse
    left = least * np.float32(k) + per * before - bound
    return left, least + per * _limited(e[start + k]), before, inverse


@_compile
def _forward(x: Any, e: Any, bins: int, bound: Any, y: Any, ladj: Any, memo: Any) -> None:
    for i in range(x.shape[0]):
        total = 0.0
        product = 1.0
        for d in range(x.shape[1]):
            value = x[i, d]
            if not (value >= -bound and value <= bound):
                y[i, d] = value
                continue
            p = e[i, d]
            k, x0, w, before_w, inverse_w = _bin(p, 0, bins, value, bound)
            y0, h, before_h, inverse_h = _edge(p, bins, bins, k, bound)
            d0, d1 = _slope(p, k, bins), _slope(p, k + 1, bins)
            delta = h / w
            theta = (value - x0) / w
            u = _ONE - theta
            t = theta * u
            inv = _ONE / (delta + (d0 + d1 - _TWO * delta) * t)
            y[i, d] = y0 + h * (delta * theta * theta + d0 * t) * inv
            slope = d1 * theta * theta + _TWO * delta * t + d0 * u * u
            scaled = delta * inv
            product *= scaled * scaled * slope
            if product > _HUGE or product < _TINY:
                total += math.log(product)
                product = 1.0
            m = memo[i, d]
            m[0], m[1], m[2], m[3] = np.float32(k), theta, w, h
            m[4], m[5], m[6], m[7] = d0, d1, before_w * inverse_w, before_h * inverse_h
            m[8], m[9] = inverse_w, inverse_h
        ladj[i] = total + math.log(product)


@_compile
def _spread(e: Any, start: int, bins: int, k: int, shares: Any, gradient: Any, out: Any) -> None:
    """Write the gradient of the raw sizes from that of the left edge and of the size."""
    before, inverse = shares
    g_left, g_size = gradient
    own = _limited(e[start + k]) * inverse
    mean = g_left * before + g_size * own
    inside, outside = (g_left - mean) * inverse, -mean * inverse
    for j in range(k):
        out[start + j] = _limited(e[start + j]) * inside
    for j in range(k, bins):
        out[start + j] = _limited(e[start + j]) * outside
    out[start + k] += own * g_size


@_compile
def _backward(
    x: Any, e: Any, memo: Any, bins: int, bound: Any, gy: Any, gladj: Any, gx: Any, gp: Any
) -> None:
    scale = _TWO * bound * (_ONE - np.float32(MIN_SIZE) * np.float32(bins))
    for i in range(x.shape[0]):
        gl = gladj[i]
        for d in range(x.shape[1]):
            value = x[i, d]
            out = gp[i, d]
            g = gy[i, d]
            if not (value >= -bound and value <= bound):
                gx[i, d] = g
                out[:] = _ZERO
                continue
            p, m = e[i, d], memo[i, d]
            k, theta, w, h, d0, d1 = int(m[0]), m[1], m[2], m[3], m[4], m[5]
            inv_w = _ONE / w
            delta = h * inv_w
            u = _ONE - theta
            t = theta * u
            bend = d0 + d1 - _TWO * delta
            den = delta + bend * t
            top = delta * theta * theta + d0 * t
            slope = d1 * theta * theta + _TWO * delta * t + d0 * u * u
            inv, inv_slope = _ONE / den, _ONE / slope
            hh = g * h * inv * inv
            turn = u - theta
            g_theta = hh * delta * slope + gl * _TWO * (
                (d1 * theta + delta * turn - d0 * u) * inv_slope - bend * turn * inv
            )
            rest = _ONE - _TWO * t
            g_delta = hh * (theta * theta * den - top * rest) + gl * _TWO * (
                w / h + t * inv_slope - rest * inv
            )
            common = gl * _TWO * t * inv
            g_d0 = hh * t * (den - top) + gl * u * u * inv_slope - common
            g_d1 = -hh * t * top + gl * theta * theta * inv_slope - common
            g_x = g_theta * inv_w
            gx[i, d] = g_x
            g_w = -(g_theta * theta + g_delta * delta) * inv_w
            g_h = g_delta * inv_w + g * top * inv
            _spread(p, 0, bins, k, (m[6], m[8]), (-g_x * scale, g_w * scale), out)
            _spread(p, bins, bins, k, (m[7], m[9]), (g * scale, g_h * scale), out)
            out[2 * bins :] = _ZERO
            if k > 0:
                s = _limited(p[2 * bins + k - 1])
                out[2 * bins + k - 1] = g_d0 * s / (_ONE + s)
            if k < bins - 1:
                s = _limited(p[2 * bins + k])
                out[2 * bins + k] = g_d1 * s / (_ONE + s)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, parameters: Tensor, bins: int, bound: float
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous()
        e = torch.exp(parameters).contiguous()
        y, ladj, memo = torch.empty_like(x), x.new_empty(len(x)), x.new_empty(*x.shape, MEMO)
        arrays = y.numpy(), ladj.numpy(), memo.numpy()
        _forward(x.numpy(), e.numpy(), bins, np.float32(bound), *arrays)
        ctx.save_for_backward(x, e, memo)
        ctx.bins, ctx.bound = bins, bound
        return y, ladj

    @staticmethod
    def backward(ctx: Any, gy: Tensor, gladj: Tensor) -> Any:
        x, e, memo = ctx.saved_tensors
        gx, gp = torch.empty_like(x), torch.empty_like(e)
        _backward(
            x.numpy(),
            e.numpy(),
            memo.numpy(),
            ctx.bins,
            np.float32(ctx.bound),
            gy.contiguous().numpy(),
            gladj.contiguous().numpy(),
            gx.numpy(),
            gp.numpy(),
        )
        return gx, gp, None, None


def _compiled(x: Tensor, parameters: Tensor) -> bool:
    both = (x, parameters)
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in both)


def fused_spline(x: Tensor, parameters: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """Spline of a matrix of values, with the log-determinant of every row.

    Compiled for float32 on the processor, :func:`flows.spline.spline_forward` elsewhere.

    Shapes: x ``(n, D)``, parameters ``(n, D, 3 K − 1)`` -> values ``(n, D)``, ladj ``(n,)``.

    Example:
        >>> x, p = torch.randn(5, 3), torch.randn(5, 3, 23)
        >>> plain, _ = spline_forward(x, p, 8, 4.0)
        >>> torch.allclose(fused_spline(x, p, 8, 4.0)[0], plain, atol=1e-4)
        True
    """
    if _compiled(x, parameters):
        y, ladj = _Fused.apply(x, parameters, bins, bound)  # type: ignore[no-untyped-call]
        return y, ladj
    y, ladj = spline_forward(x, parameters, bins, bound)
    return y, ladj.sum(-1)
