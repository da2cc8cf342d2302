"""Exponentials and logarithms of vectors: polynomials, the same for every lane."""

from __future__ import annotations

import math
from typing import Any

import numba

from flows.engine.lanes import (
    binary_exponent,
    fill,
    fma,
    is_single,
    larger,
    power_of_two,
    smaller,
    where_less,
)

__all__ = ["exponential", "logarithm", "softplus"]

SHIFT_SINGLE, SHIFT_DOUBLE = 1.5 * 2.0**23, 1.5 * 2.0**52
"""Adding one of these rounds to a whole number: no bits are left for a fraction."""
LN2_HIGH_SINGLE, LN2_HIGH_DOUBLE = 0.693359375, 6.93147180369123816490e-01
"""ln 2 with trailing zeros, so that its product with a whole exponent is exact (Cody & Waite)."""
LN2_LOW_SINGLE, LN2_LOW_DOUBLE = math.log(2) - LN2_HIGH_SINGLE, 1.90821492927058770002e-10
LEAST_SINGLE, MOST_SINGLE = -87.0, 88.0
LEAST_DOUBLE, MOST_DOUBLE = -708.0, 709.0
"""Arguments beyond these are cut: the result stays a normal number."""
INVERSE_LN2 = 1 / math.log(2)
LN2 = math.log(2)
THRESHOLD = 20.0
"""From here torch's softplus is the identity."""

F2, F3, F4, F5, F6, F7 = (1 / math.factorial(n) for n in range(2, 8))
F8, F9, F10, F11, F12, F13 = (1 / math.factorial(n) for n in range(8, 14))
"""Taylor's series: within ± ln 2 / 2 degree 7 errs by 5e-9, degree 13 by 4e-18."""


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _step(p: Any, r: Any, coefficient: float) -> Any:
    return fma(p, r, fill(r, coefficient))


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def exponential(x: Any) -> Any:
    """e^x of every lane, within 2 ulp; NaN stays."""
    if is_single(x):
        x = smaller(larger(x, fill(x, LEAST_SINGLE)), fill(x, MOST_SINGLE))
        shift = fill(x, SHIFT_SINGLE)
        n = fma(x, fill(x, INVERSE_LN2), shift) - shift
        r = fma(n, fill(x, -LN2_HIGH_SINGLE), x)
        r = fma(n, fill(x, -LN2_LOW_SINGLE), r)
        p = fill(x, F7)
    else:
        x = smaller(larger(x, fill(x, LEAST_DOUBLE)), fill(x, MOST_DOUBLE))
        shift = fill(x, SHIFT_DOUBLE)
        n = fma(x, fill(x, INVERSE_LN2), shift) - shift
        r = fma(n, fill(x, -LN2_HIGH_DOUBLE), x)
        r = fma(n, fill(x, -LN2_LOW_DOUBLE), r)
        p = fill(x, F13)
        p = _step(p, r, F12)
        p = _step(p, r, F11)
        p = _step(p, r, F10)
        p = _step(p, r, F9)
        p = _step(p, r, F8)
        p = _step(p, r, F7)
    p = _step(p, r, F6)
    p = _step(p, r, F5)
    p = _step(p, r, F4)
    p = _step(p, r, F3)
    p = _step(p, r, F2)
    p = _step(p, r, 1.0)
    p = _step(p, r, 1.0)
    return p * power_of_two(n)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _near_one(f: Any) -> Any:
    """ln(1 + f) for 1 + f from √½ to √2, by 2 artanh(f / (2 + f))."""
    s = f / (fill(f, 2.0) + f)
    t = s * s
    p = fill(f, 2 / 11)
    if not is_single(f):
        p = fill(f, 2 / 21)
        p = _step(p, t, 2 / 19)
        p = _step(p, t, 2 / 17)
        p = _step(p, t, 2 / 15)
        p = _step(p, t, 2 / 13)
        p = _step(p, t, 2 / 11)
    p = _step(p, t, 2 / 9)
    p = _step(p, t, 2 / 7)
    p = _step(p, t, 2 / 5)
    p = _step(p, t, 2 / 3)
    return fma(p * t, s, s + s)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def _log1p(e: Any) -> Any:
    """ln(1 + e) for e in [0, 1], with 1 + f = 1 + e or half of it."""
    zero, one, half = fill(e, 0.0), fill(e, 1.0), fill(e, 0.5)
    split = fill(e, math.sqrt(2) - 1)
    f = where_less(split, e, (e - one) * half, e)
    base = where_less(split, e, fill(e, LN2), zero)
    return base + _near_one(f)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def logarithm(x: Any) -> Any:
    """ln x of every lane, for normal positive numbers; NaN stays."""
    n = binary_exponent(x)
    value = _near_one(x * power_of_two(fill(x, 0.0) - n) - fill(x, 1.0))
    if is_single(x):
        value = fma(n, fill(x, LN2_LOW_SINGLE), value)
        value = fma(n, fill(x, LN2_HIGH_SINGLE), value)
    else:
        value = fma(n, fill(x, LN2_LOW_DOUBLE), value)
        value = fma(n, fill(x, LN2_HIGH_DOUBLE), value)
    return value + (x - x)


@numba.njit(forceinline=True)  # type: ignore[untyped-decorator]
def softplus(x: Any) -> Any:
    """ln(1 + e^x) of every lane; the identity above torch's threshold."""
    zero = fill(x, 0.0)
    value = larger(x, zero) + _log1p(exponential(smaller(x, zero - x)))
    return where_less(fill(x, THRESHOLD), x, x, value)
