"""Compiled passes over one column of values.

The kernels release the interpreter's lock, start
no threads, and treat every element alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

__all__ = ["bound", "fill_forward", "fill_inverse", "settle"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _compile(function: Function) -> Function:
    compiled: Function = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled


@_compile
def _bin(value: float, knots: Any, per: float) -> Any:
    """Bin of a value between the outermost knots, guessed as if they were evenly spaced."""
    last = knots.shape[0] - 2
    k = min(max(int((value - knots[0]) * per), 0), last)
    while k > 0 and value < knots[k]:
        k -= 1
    while k < last and value >= knots[k + 1]:
        k += 1
    return k


@_compile
def fill_forward(x: Any, values: Any, normals: Any, slopes: Any, y: Any) -> None:
    """Write the normal deviations of ``x`` ``(n,)`` into ``y``, maybe itself."""
    end = values.shape[0] - 1
    per = end / (values[end] - values[0])
    for i in range(x.shape[0]):
        v = x[i]
        if v < values[0]:
            y[i] = normals[0] + (v - values[0]) * slopes[0]
        elif v > values[end]:
            y[i] = normals[end] + (v - values[end]) * slopes[end]
        elif v != v:
            y[i] = v
        else:
            k = _bin(v, values, per)
            width, height = values[k + 1] - values[k], normals[k + 1] - normals[k]
            delta, theta = height / width, (v - values[k]) / width
            mixed = theta * (1.0 - theta)
            bottom = delta + (slopes[k] + slopes[k + 1] - 2.0 * delta) * mixed
            rise = height * (delta * theta * theta + slopes[k] * mixed)
            y[i] = normals[k] + rise / bottom


@_compile
def fill_inverse(y: Any, values: Any, normals: Any, slopes: Any, x: Any) -> None:
    """Write the values of the normal deviations ``y`` ``(n,)`` into ``x``, maybe itself."""
    end = values.shape[0] - 1
    per = end / (normals[end] - normals[0])
    for i in range(y.shape[0]):
        v = y[i]
        if v < normals[0]:
            x[i] = values[0] + (v - normals[0]) / slopes[0]
        elif v > normals[end]:
            x[i] = values[end] + (v - normals[end]) / slopes[end]
        elif v != v:
            x[i] = v
        else:
            k = _bin(v, normals, per)
            width, height = values[k + 1] - values[k], normals[k + 1] - normals[k]
            delta, rise = height / width, v - normals[k]
            bend = rise * (slopes[k] + slopes[k + 1] - 2.0 * delta)
            a = height * (delta - slopes[k]) + bend
            b = height * slopes[k] - bend
            c = -delta * rise
            bottom = -b - math.sqrt(max(b * b - 4.0 * a * c, 0.0))
            theta = 0.0 if bottom == 0.0 else 2.0 * c / bottom
            x[i] = values[k] + width * min(max(theta, 0.0), 1.0)


@_compile
def bound(values: Any, low: float, high: float, outside: Any) -> None:
    """Clip ``values`` ``(n,)`` and mark in ``outside`` what was not within; NaN stays."""
    for i in range(values.shape[0]):
        v = values[i]
        if v < low:
            values[i], outside[i] = low, True
        elif v > high:
            values[i], outside[i] = high, True
        elif v != v:
            outside[i] = True


@_compile
def settle(
    values: Any, left: Any, codes: Any, code: int, places: Any, column: Any, marks: Any
) -> None:
    """Write a column as float32, spikes at their places.

    Arguments:
        values: Continuous part ``(n,)``.
        left: Where its image was left ``(n,)``.
        codes: Codes of all discrete columns ``(n, K)``.
        code: Which of them is the spike's, or −1; code k > 0 stands for ``places[k]``.
        places: Values of the spikes, behind one that is not used.
        column: What to write ``(n,)``.
        marks: Rows that left an image, rows with a value that is not finite ``(2, n)``.
    """
    for i in range(values.shape[0]):
        spike = codes[i, code] if code >= 0 else 0
        if spike > 0:
            column[i] = places[spike]
        else:
            marks[0, i] |= left[i]
            column[i] = values[i]
        marks[1, i] |= not np.isfinite(column[i])
