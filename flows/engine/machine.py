"""The compiled loop that runs a program over tiles of rows.

Every instruction reads and writes rows of the tile's memory; a row holds one number of every row
of the batch that is in the tile, side by side. Nothing depends on which rows share a tile.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from flows.engine import elementary, elementwise, lanes, panel
from flows.engine.elementwise import (
    affine_forward,
    affine_inverse,
    sigmoid,
    silu,
    spline_forward,
    spline_inverse,
)
from flows.engine.lanes import fill, fma, larger, load, store
from flows.engine.panel import VECTORS
from flows.engine.panel import panel as add_panel
from flows.warm import compiled_first

__all__ = ["Op", "floors", "machine"]

Array = NDArray[Any]
_lock = threading.Lock()


class Op(IntEnum):
    """Instructions; an operand is the start of a row unless it says otherwise."""

    PANEL = 0
    """weights at, source, number of source rows, target, units, resume, rectify"""
    RECTIFY = 1
    """weights at (scale, shift of every row), source, number of rows, target"""
    ADD = 2
    """unused, source, number of rows, target"""
    AFFINE_INVERSE = 3
    """constants at, z, parameters, x"""
    SPLINE_INVERSE = 4
    """constants at, z, parameters, x, bins"""
    SILU = 5
    """unused, source, number of rows, target"""
    GATE = 6
    """gates, source, number of rows, target"""
    AFFINE_FORWARD = 7
    """constants at, x, parameters, z, slopes"""
    SPLINE_FORWARD = 8
    """constants at, x, parameters, z, bins, slopes"""


PANEL, RECTIFY, ADD, GATE = int(Op.PANEL), int(Op.RECTIFY), int(Op.ADD), int(Op.GATE)
AFFINE_INVERSE, SPLINE_INVERSE = int(Op.AFFINE_INVERSE), int(Op.SPLINE_INVERSE)
AFFINE_FORWARD, SPLINE_FORWARD = int(Op.AFFINE_FORWARD), int(Op.SPLINE_FORWARD)


@numba.njit  # type: ignore[untyped-decorator]
def _panel(weights: Any, space: Any, line: Any, floors: Any) -> None:
    add_panel(
        weights, line[1], space, line[2], line[3], line[4], line[5], line[6] != 0, floors[line[7]]
    )


@numba.njit  # type: ignore[untyped-decorator]
def _rectify(weights: Any, space: Any, line: Any, lane: int) -> None:
    rows = VECTORS * lane
    for i in range(line[3]):
        for v in range(VECTORS):
            x = load(space, line[2] + i * rows + v * lane)
            scale = fill(x, weights[line[1] + 2 * i])
            shift = fill(x, weights[line[1] + 2 * i + 1])
            store(
                space,
                line[4] + i * rows + v * lane,
                larger(fma(scale, x, shift), fill(x, 0.0)),
            )


@numba.njit  # type: ignore[untyped-decorator]
def _add(space: Any, line: Any, lane: int) -> None:
    for i in range(line[3] * VECTORS):
        a, b = line[2] + i * lane, line[4] + i * lane
        store(space, b, load(space, a) + load(space, b))


@numba.njit  # type: ignore[untyped-decorator]
def _silu(space: Any, line: Any, lane: int) -> None:
    for i in range(line[3] * VECTORS):
        store(space, line[4] + i * lane, silu(load(space, line[2] + i * lane)))


@numba.njit  # type: ignore[untyped-decorator]
def _gate(space: Any, line: Any, lane: int) -> None:
    for i in range(line[3] * VECTORS):
        a, b, c = line[1] + i * lane, line[2] + i * lane, line[4] + i * lane
        store(space, c, fma(load(space, b), sigmoid(load(space, a)), load(space, c)))


@numba.njit  # type: ignore[untyped-decorator]
def _affine(weights: Any, space: Any, line: Any, lane: int) -> None:
    least, most, bound = weights[line[1]], weights[line[1] + 1], weights[line[1] + 2]
    rows = VECTORS * lane
    for v in range(VECTORS):
        o = v * lane
        value = load(space, line[2] + o)
        raw, shift = load(space, line[3] + o), load(space, line[3] + rows + o)
        if line[0] == AFFINE_INVERSE:
            store(space, line[4] + o, affine_inverse(value, raw, shift, least, most))
        else:
            z, slope = affine_forward(value, raw, shift, least, most, bound)
            store(space, line[4] + o, z)
            store(space, line[5] + o, load(space, line[5] + o) + slope)


@numba.njit  # type: ignore[untyped-decorator]
def _shape(weights: Any, at: int) -> tuple[float, ...]:
    return (
        weights[at],
        weights[at + 1],
        weights[at + 2],
        weights[at + 3],
        weights[at + 4],
        weights[at + 5],
    )


@numba.njit  # type: ignore[untyped-decorator]
def _spline_inverse(weights: Any, space: Any, line: Any, lane: int) -> None:
    shape, rows = _shape(weights, line[1]), VECTORS * lane
    for v in range(VECTORS):
        o = v * lane
        z = load(space, line[2] + o)
        store(space, line[4] + o, spline_inverse(z, space, line[3] + o, rows, line[5], shape))


@numba.njit  # type: ignore[untyped-decorator]
def _spline_forward(weights: Any, space: Any, line: Any, lane: int) -> None:
    shape, rows = _shape(weights, line[1]), VECTORS * lane
    for v in range(VECTORS):
        o = v * lane
        x = load(space, line[2] + o)
        z, slope = spline_forward(x, space, line[3] + o, rows, line[5], shape)
        store(space, line[4] + o, z)
        store(space, line[6] + o, load(space, line[6] + o) + slope)


@numba.njit  # type: ignore[untyped-decorator]
def _copy(source: Any, start: int, target: Any, to: int, count: int, lane: int) -> None:
    for i in range(0, count, lane):
        store(target, to + i, load(source, start + i))


def _run(
    code: Array,
    weights: Array,
    state: Array,
    context: Array,
    space: Array,
    places: tuple[int, int, int, int],
    floors: Array,
) -> None:
    """Run a program on every tile.

    Arguments:
        code: Instructions, int64 ``(instructions, 8)``.
        weights: Flat, as the instructions address it.
        state: ``(tiles, width, rows of a tile)``, read before and written after.
        context: ``(tiles, context, rows of a tile)``.
        space: Flat memory of one tile, of any content.
        places: Rows of the tile where the state enters and leaves, the context enters, and ones.
        floors: What results are raised to if they are not rectified, if they are: (−inf, 0).
    """
    rows = state.shape[2]
    lane = rows // VECTORS
    wide, far = state.shape[1] * rows, context.shape[1] * rows
    enter, leave, given, ones = places
    for t in range(state.shape[0]):
        _copy(state, t * wide, space, enter * rows, wide, lane)
        _copy(context, t * far, space, given * rows, far, lane)
        for r in range(rows):
            space[ones * rows + r] = 1.0
        for i in range(code.shape[0]):
            line = code[i]
            op = line[0]
            if op == PANEL:
                _panel(weights, space, line, floors)
            elif op == RECTIFY:
                _rectify(weights, space, line, lane)
            elif op == ADD:
                _add(space, line, lane)
            elif op == GATE:
                _gate(space, line, lane)
            elif op in (AFFINE_INVERSE, AFFINE_FORWARD):
                _affine(weights, space, line, lane)
            elif op == SPLINE_INVERSE:
                _spline_inverse(weights, space, line, lane)
            elif op == SPLINE_FORWARD:
                _spline_forward(weights, space, line, lane)
            else:
                _silu(space, line, lane)
        _copy(space, leave * rows, state, t * wide, wide, lane)


@functools.cache
def _compiled(digest: str) -> Callable[..., None]:
    _run.__qualname__ = f"_run_{digest}"
    compiled: Callable[..., None] = numba.njit(nogil=True, cache=True, error_model="numpy")(_run)
    return compiled


def machine(dtype: Any) -> Callable[..., None]:
    """Return the loop, compiled for a floating type and kept on disk.

    numba keeps one file per processor model and its features, and per version of itself, but looks
    at the source of one function alone. So the digest of all sources stands in the file's name.
    """
    modules = (elementary, elementwise, lanes, panel)
    files = [Path(str(m.__file__)) for m in modules] + [Path(__file__)]
    with _lock:
        loop = _compiled(_digest(tuple(files)))
    code, tiles, flat = np.zeros((0, 8), np.int64), np.zeros((0, 1, 1), dtype), np.zeros(0, dtype)
    compiled_first(loop, code, flat, tiles, tiles, flat, (0, 0, 0, 0), floors(dtype))
    return loop


@functools.cache
def _digest(files: tuple[Path, ...]) -> str:
    text = b"".join(file.read_bytes() for file in files)
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def floors(dtype: Any) -> Array:
    """Lower bounds of a panel's results: (−inf, 0)."""
    return np.array([-np.inf, 0.0], dtype=dtype)
