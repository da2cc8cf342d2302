"""Compiled loops of flows of one feature: many samples of one context share its parameters.

Noise is made where it is used: Philox words of the frozen layout of :mod:`flows.noise`, sample s of
a context being dimension s of its row, then normals by Box and Muller. Splines are evaluated in
float64 whatever the network computed with. No order of summation depends on the length of a loop: a
sample's bits depend on nothing but itself.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from flows.noise_kernels import fill_pairs, settle_normals

__all__ = ["AFFINE", "LINEAR", "SPLINE", "draw", "invert"]

LINEAR, AFFINE, SPLINE = 0, 1, 2
"""Kinds of steps."""
CHUNK = 256
"""Samples that are taken through all steps together: their buffers stay in the first cache."""
NUMBERS = 7
"""Numbers per bin: y, x, width, δ, d₀ + d₁ − 2 δ, h (δ − d₀), h d₀."""

_THRESHOLD = 20.0
"""From here torch's softplus is the identity."""


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _softplus(x: Any) -> Any:
    if x > _THRESHOLD:
        return x
    return math.log1p(math.exp(x))


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _limited(raw: Any, limit: float, soft: float) -> Any:
    """Raw size within its limit, a hard one or zuko's (``soft`` above 0)."""
    if soft > 0.0:
        return raw / (1.0 + 2.0 * abs(raw) / soft)
    return min(max(raw, -limit), limit)


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _slope(raw: Any, least: float, limit: float, soft: float) -> Any:
    """Slope at a knot."""
    if soft > 0.0:
        return math.exp(raw / (1.0 + abs(raw) / soft))
    return least + _softplus(min(max(raw, -limit), limit))


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _sizes(raw: Any, start: int, bins: int, constants: Any, least: float, at: Any) -> None:
    """Knots ``at`` ``(bins + 1,)`` of one axis from raw sizes."""
    bound, limit, soft = constants[0], constants[4], constants[5]
    most = -np.inf
    for k in range(bins):
        at[k + 1] = _limited(raw[start + k], limit, soft)
        most = max(most, at[k + 1])
    total = 0.0
    for k in range(bins):
        at[k + 1] = math.exp(at[k + 1] - most)
        total += at[k + 1]
    per = 2.0 * bound * (1.0 - least * bins) / total
    at[0] = -bound
    for k in range(1, bins + 1):
        at[k] = at[k - 1] + (2.0 * bound * least + per * at[k])
    at[bins] = bound


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _table(raw: Any, start: int, bins: int, constants: Any, knots: Any, table: Any) -> None:
    """What the inverse needs of every bin."""
    x, y = knots[0], knots[1]
    _sizes(raw, start, bins, constants, constants[1], x)
    _sizes(raw, start + bins, bins, constants, constants[2], y)
    slope = 1.0
    for k in range(bins):
        after = 1.0
        if k < bins - 1:
            value = raw[start + 2 * bins + k]
            after = _slope(value, constants[3], constants[4], constants[5])
        width, height = x[k + 1] - x[k], y[k + 1] - y[k]
        delta = height / width
        table[0, k], table[1, k], table[2, k], table[3, k] = y[k], x[k], width, delta
        table[4, k] = slope + after - 2.0 * delta
        table[5, k], table[6, k] = height * (delta - slope), height * slope
        slope = after


@numba.njit(nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _spline(z: Any, count: int, bins: int, bound: float, table: Any, place: Any) -> None:
    for j in range(count):
        place[j] = np.uint64(0)
    for k in range(1, bins):
        edge = table[0, k]
        for j in range(count):
            place[j] += np.uint64(1) if z[j] >= edge else np.uint64(0)
    for j in range(count):
        k = place[j]
        value = z[j]
        rise = value - table[0, k]
        bend = rise * table[4, k]
        a = table[5, k] + bend
        b = table[6, k] - bend
        c = -table[3, k] * rise
        under = b * b - 4.0 * a * c
        under = 0.0 if under < 0.0 else under
        bottom = -b - math.sqrt(under)
        theta = 2.0 * c / (-1.0 if bottom == 0.0 else bottom)
        theta = 0.0 if theta < 0.0 else theta
        theta = 1.0 if theta > 1.0 else theta
        inside = table[1, k] + table[2, k] * theta
        z[j] = value if (value < -bound or value > bound) else inside


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _prepare(raw: Any, steps: Any, constants: Any, knots: Any, tables: Any) -> None:
    """Tables of all steps at one context's parameters."""
    for s in range(steps.shape[0]):
        start, bins = steps[s, 1], steps[s, 2]
        if steps[s, 0] == SPLINE:
            _table(raw, start, bins, constants[s], knots, tables[s])
        elif steps[s, 0] == AFFINE:
            scale = min(_softplus(raw[start]) + constants[s, 0], constants[s, 1])
            tables[s, 0, 0], tables[s, 1, 0] = 1.0 / scale, raw[start + 1]
        else:
            tables[s, 0, 0], tables[s, 1, 0] = constants[s, 0], constants[s, 1]


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _apply(z: Any, count: int, steps: Any, constants: Any, tables: Any, place: Any) -> None:
    for s in range(steps.shape[0]):
        if steps[s, 0] == SPLINE:
            _spline(z, count, steps[s, 2], constants[s, 0], tables[s], place)
        else:
            factor, shift = tables[s, 0, 0], tables[s, 1, 0]
            for j in range(count):
                z[j] = (z[j] - shift) * factor


@numba.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def invert(parameters: Any, steps: Any, constants: Any, offsets: Any, noise: Any, out: Any) -> None:
    """Map noise to data.

    Arguments:
        parameters: Of every context ``(n, P)``.
        steps: int64 ``(S, 3)`` in the order of the inverse: kind, first parameter, bins.
        constants: ``(S, 6)``: of a spline its bound and limits, the soft one being 0 or
            ln(1 / least slope); of an affine step the least and largest scale; of a linear one the
            inverse and the shift.
        offsets: int64 ``(n + 1,)``; samples ``offsets[i]`` to ``offsets[i + 1]`` belong to i.
        noise: ``(offsets[n] − offsets[0],)``.
        out: Likewise; written.
    """
    most = 1
    for s in range(steps.shape[0]):
        most = max(most, steps[s, 2])
    knots, tables = np.empty((2, most + 1)), np.empty((steps.shape[0], NUMBERS, most))
    z, place = np.empty(CHUNK), np.empty(CHUNK, np.uint64)
    for i in range(parameters.shape[0]):
        _prepare(parameters[i], steps, constants, knots, tables)
        start, stop = offsets[i] - offsets[0], offsets[i + 1] - offsets[0]
        for first in range(start, stop, CHUNK):
            count = min(CHUNK, stop - first)
            for j in range(count):
                z[j] = noise[first + j]
            _apply(z, count, steps, constants, tables, place)
            for j in range(count):
                out[first + j] = z[j]


@numba.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def draw(
    parameters: Any,
    steps: Any,
    constants: Any,
    offsets: Any,
    keys: Any,
    counters: Any,
    attempt: int,
    base: Any,
    out: Any,
) -> None:
    """Draw samples, their noise made on the way.

    Arguments: those of :func:`invert` but for the noise, and
        keys: int64 ``(n, 2)``.
        counters: int64 ``(n, 3)``.
        attempt: Number of the try.
        base: Mean and deviation of the noise ``(2,)``.
    """
    most = 1
    for s in range(steps.shape[0]):
        most = max(most, steps[s, 2])
    knots, tables = np.empty((2, most + 1)), np.empty((steps.shape[0], NUMBERS, most))
    z, place = np.empty(CHUNK), np.empty(CHUNK, np.uint64)
    u, v = np.empty(CHUNK // 2, np.int64), np.empty(CHUNK // 2, np.int64)
    space = np.empty(CHUNK // 2)
    bits = space.view(np.int64)
    for i in range(parameters.shape[0]):
        _prepare(parameters[i], steps, constants, knots, tables)
        start, stop = offsets[i] - offsets[0], offsets[i + 1] - offsets[0]
        for first in range(start, stop, CHUNK):
            count = min(CHUNK, stop - first)
            blocks = (count + 3) // 4
            fill_pairs(keys[i], counters[i], (first - start) // 4, blocks, attempt, u, v)
            settle_normals(u, v, 2 * blocks, space, bits, z)
            for j in range(count):
                z[j] = z[j] * base[1] + base[0]
            _apply(z, count, steps, constants, tables, place)
            for j in range(count):
                out[first + j] = z[j]
