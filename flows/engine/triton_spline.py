"""Rational-quadratic splines as one kernel: bins, search and evaluation without a table in between.

The function of :mod:`flows.spline`. Every element takes the same path, so a row's result is the
same bit for bit in any batch.
"""

from __future__ import annotations

import math

from torch import Tensor

from flows.engine.plan import Coupling, Spline
from flows.gpu import Value, constexpr, jit, place_of, tl

__all__ = [
    "exponential",
    "power_of_two",
    "softplus",
    "spline_constants",
    "spline_element",
    "spline_of_columns",
]

ELEMENTS_PER_BINS = 1024
"""Bins that one program of four warps holds: 8 of each per thread; 16 would spill registers."""


@jit
def exponential(x: Value) -> Value:
    """e^x; in single precision what the product with log₂ e loses is added to first order."""
    if x.dtype == tl.float64:
        return tl.exp(x)
    scaled = x * 1.4426950216293335
    lost = tl.fma(x, 1.4426950216293335, -scaled) + x * 1.92596298909109e-08
    return tl.exp2(scaled) * (1.0 + 0.6931471824645996 * lost)


@jit
def clamped(x: Value, low: Value, high: Value) -> Value:
    """Clamp; NaN stays."""
    return tl.where(x < low, low, tl.where(x > high, high, x))


@jit
def softplus(x: Value) -> Value:
    """ln(1 + e^x) to full relative precision: ln(w) u / (w − 1) for w = 1 + u rounded."""
    u = exponential(-tl.abs(x))
    w = 1.0 + u
    small = tl.where(w == 1.0, u, tl.log(w) * (u / tl.where(w == 1.0, 1.0, w - 1.0)))
    return tl.maximum(x, 0.0) + small


@jit
def _sizes(
    raw: Value,
    used: Value,
    least: Value,
    limit: Value,
    soft: Value,
    BINS: constexpr,
    SOFT: constexpr,
) -> Value:
    """Sizes of all bins as shares of the box; 0 behind the last."""
    raw = raw / (1.0 + 2.0 * tl.abs(raw) / soft) if SOFT else clamped(raw, -limit, limit)
    most = tl.max(tl.where(used, raw, float("-inf")), 1)
    e = tl.where(used, exponential(tl.where(used, raw - most[:, None], 0.0)), 0.0)
    share = e / tl.sum(e, 1)[:, None]
    return tl.where(used, least + (1.0 - least * BINS) * share, 0.0)


@jit
def _edges(sizes: Value, bin: Value, bound: Value, BINS: constexpr) -> Value:
    """Right edges of all bins, the last at the bound."""
    right = 2.0 * bound * tl.cumsum(sizes, 1) - bound
    return tl.where(bin == BINS - 1, bound, right)


@jit
def _slope(
    at: Value, live: Value, least: Value, limit: Value, soft: Value, SOFT: constexpr
) -> Value:
    """Slope at an inner knot; where ``live`` is false it is one."""
    raw = tl.load(at, live, 0.0)
    if SOFT:
        slope = exponential(raw / (1.0 + tl.abs(raw) / soft))
    else:
        slope = least + softplus(clamped(raw, -limit, limit))
    return tl.where(live, slope, 1.0)


@jit
def spline_element(
    value: Value,
    raw: Value,
    live: Value,
    constants: Value,
    BINS: constexpr,
    PADDED: constexpr,
    SOFT: constexpr,
    INVERSE: constexpr,
) -> Value:
    """Transform ``value`` ``(E,)``; return it and its log-slope, which the inverse leaves at 0.

    Arguments:
        raw: Where the parameters of every element begin ``(E,)``: K widths, K heights, K − 1
            slopes, next to each other.
        live: Elements that exist ``(E,)``.
        constants: Bound, least width, height, slope, largest raw, soft limit (0 if SOFT is false).
    """
    bound, limit, soft = tl.load(constants), tl.load(constants + 4), tl.load(constants + 5)
    least = tl.load(constants + 3)
    bin = tl.arange(0, PADDED)[None, :]
    used = (bin < BINS) & live[:, None]
    widths = tl.load(raw[:, None] + bin, used, 0.0)
    heights = tl.load(raw[:, None] + BINS + bin, used, 0.0)
    known = bin < BINS
    widths = _sizes(widths, known, tl.load(constants + 1), limit, soft, BINS, SOFT)
    heights = _sizes(heights, known, tl.load(constants + 2), limit, soft, BINS, SOFT)
    x, y = _edges(widths, bin, bound, BINS), _edges(heights, bin, bound, BINS)
    inside = (value >= -bound) & (value <= bound)
    bounded = clamped(value, -bound, bound)
    searched = y if INVERSE else x
    passed = (bounded[:, None] >= searched) & (bin < BINS - 1)
    k = tl.sum(passed.to(tl.int32), 1)
    here, before = bin == k[:, None], bin == k[:, None] - 1
    x0 = tl.where(k > 0, tl.sum(tl.where(before, x, 0.0), 1), -bound)
    y0 = tl.where(k > 0, tl.sum(tl.where(before, y, 0.0), 1), -bound)
    width = tl.sum(tl.where(here, x, 0.0), 1) - x0
    height = tl.sum(tl.where(here, y, 0.0), 1) - y0
    knots = raw + 2 * BINS + k
    left = _slope(knots - 1, live & (k > 0), least, limit, soft, SOFT)
    right = _slope(knots, live & (k < BINS - 1), least, limit, soft, SOFT)
    delta = height / width
    if INVERSE:
        rise = bounded - y0
        bend = left + right - 2.0 * delta
        a = height * (delta - left) + rise * bend
        b = height * left - rise * bend
        c = -delta * rise
        root = tl.sqrt(tl.maximum(b * b - 4.0 * a * c, 0.0))
        below = -b - root
        theta = tl.where(below == 0.0, 0.0, 2.0 * c / tl.where(below == 0.0, 1.0, below))
        result = x0 + width * clamped(theta, 0.0, 1.0)
        slope = value * 0.0
    else:
        theta = (bounded - x0) / width
        mixed = theta * (1.0 - theta)
        below = delta + (left + right - 2.0 * delta) * mixed
        result = y0 + height * (delta * theta * theta + left * mixed) / below
        slope = right * theta * theta + 2.0 * delta * mixed + left * (1.0 - theta) * (1.0 - theta)
        slope = tl.where(inside, tl.log(delta * delta * slope / (below * below)), 0.0)
    return tl.where(inside, result, value), slope


@jit
def _columns(
    state: Value,
    raw: Value,
    slopes: Value,
    moved: Value,
    constants: Value,
    elements: Value,
    columns: Value,
    width: Value,
    BINS: constexpr,
    PADDED: constexpr,
    SOFT: constexpr,
    INVERSE: constexpr,
    STEP: constexpr,
    SIZE: constexpr,
) -> Value:
    """Transform in place the ``columns`` of ``state`` ``(n, width)`` that ``moved`` names."""
    number = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    live = number < elements
    row, column = number // columns, number % columns
    place = state + row * width + tl.load(moved + column, live, 0)
    value = tl.load(place, live, 0.0)
    start = raw + number * STEP
    result, slope = spline_element(value, start, live, constants, BINS, PADDED, SOFT, INVERSE)
    tl.store(place, result, live)
    if not INVERSE:
        tl.store(slopes + number, slope, live)


def spline_of_columns(
    state: Tensor,
    raw: Tensor,
    moved: Tensor,
    constants: Tensor,
    step: Coupling | Spline,
    *,
    inverse: bool,
) -> Tensor:
    """Transform columns of ``state`` in place.

    Arguments:
        state: ``(n, D)``, contiguous.
        raw: ``(n, M, S)``, contiguous, S at least 3 K − 1.
        moved: int64 ``(M,)``.
        constants: Of :func:`spline_constants`.
        step: Whose splines they are.
    Returns: log-slopes ``(n, M)``; of no meaning for the inverse.
    """
    rows, columns, each = raw.shape
    padded = power_of_two(step.bins)
    slopes = state.new_empty(rows, 0 if inverse else columns)
    size = max(1, ELEMENTS_PER_BINS // padded)
    if rows * columns:
        with place_of(state):
            _columns[(-(-rows * columns // size),)](
                state,
                raw,
                slopes,
                moved,
                constants,
                rows * columns,
                columns,
                state.shape[1],
                BINS=step.bins,
                PADDED=padded,
                SOFT=step.limits.soft,
                INVERSE=inverse,
                STEP=each,
                SIZE=size,
            )
    return slopes


def spline_constants(step: Coupling | Spline) -> list[float]:
    """Numbers that a kernel reads: see :func:`spline_element`."""
    soft = -math.log(step.limits.slope) if step.limits.soft else 0.0
    return [step.bound, *step.limits[:4], soft]


def power_of_two(n: int) -> int:
    """Least power of two that holds ``n`` things."""
    return 1 << max(0, n - 1).bit_length()
