"""Instructions one by one, against numpy and plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import silu, softplus

from flows.engine.assembler import Assembler
from flows.engine.cpu_flow import aligned
from flows.engine.machine import floors, machine
from flows.engine.panel import WIDEST, tile_rows
from flows.spline import OWN_LIMITS, Limits, spline_forward, spline_inverse

TYPES = [np.float32, np.float64]
ULPS = 4
"""exp, ln(1 + e), two roundings and a division."""


def execute(code: Assembler, rows: np.ndarray, leave: int, count: int) -> np.ndarray:
    """Run instructions on one tile whose rows from 1 on hold ``rows``; return ``count`` rows."""
    program = code.program((1, leave, 0, 0))
    width = max(len(rows), count)
    tile = tile_rows(code.dtype.itemsize)
    state = aligned((1, width, tile), code.dtype)
    state[:] = 0
    state[0, : len(rows)] = rows
    space = aligned((program.rows * tile + width * tile,), code.dtype)
    space[:] = np.nan
    none = aligned((1, 0, tile), code.dtype)
    loop = machine(code.dtype)
    loop(program.code, program.weights, state, none, space, program.places, floors(code.dtype))
    return state[0, :count].copy()


def tile_of(dtype, count: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (scale * rng.normal(size=(count, tile_rows(np.dtype(dtype).itemsize)))).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("outputs", [1, 2, 3, 5, WIDEST, WIDEST + 1, 3 * WIDEST - 1])
@pytest.mark.parametrize("inputs", [0, 1, 7])
def test_panels_are_matrix_products(dtype, outputs, inputs):
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(max(inputs, 1)), code.allocate(outputs)
    code.panel(weight, given.start, made.start, bias=bias)
    code.panel(weight, given.start, made.start, rectify=True)
    x = tile_of(dtype, max(inputs, 1))
    expected = np.maximum(2 * weight @ x[:inputs].astype(float) + bias[:, None], 0)
    found = execute(code, x, made.start, outputs)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert (found >= 0).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_relu_keeps_nan_in_its_own_row(dtype):
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(2), code.allocate(3)
    code.panel(np.ones((3, 2)), given.start, made.start, bias=np.zeros(3), rectify=True)
    x = tile_of(dtype, 2)
    x[1, 5] = np.nan
    bad = np.isnan(execute(code, x, made.start, 3))
    assert bad[:, 5].all()
    assert bad.sum() == 3


@pytest.mark.parametrize("dtype", TYPES)
def test_scales_are_those_of_torch(dtype):
    """softplus over its whole range, read off an affine inverse of (z, shift) = (1, 0)."""
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(3), code.allocate(1)
    constants = code.constants(1e-3, np.inf, np.inf)
    code.affine_inverse(constants, given.start, given.start + 1, made.start)
    x = np.zeros_like(tile_of(dtype, 3))
    x[0] = 1
    x[1] = np.concatenate(
        [np.linspace(-90, 30, x.shape[1] - 6), [-800, -1e-3, 0, 19.99, 20.01, 900]]
    )
    found = 1 / execute(code, x, made.start, 1)[0].astype(float)
    expected = softplus(torch.from_numpy(x[1].astype(float))).numpy() + 1e-3
    assert np.allclose(found, expected, rtol=ULPS * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", TYPES)
def test_silu_is_that_of_torch(dtype):
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(2), code.allocate(2)
    code.silu(given.start, 2, made.start)
    x = tile_of(dtype, 2, 20.0)
    expected = silu(torch.from_numpy(x.astype(float))).numpy()
    found = execute(code, x, made.start, 2)
    assert np.allclose(found, expected, rtol=2 * ULPS * np.finfo(dtype).eps, atol=1e-30)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bins", [1, 2, 7, 128])
@pytest.mark.parametrize("spread", [0.1, 3.0, 60.0])
def test_splines_are_those_of_plain_torch(dtype, bins, spread):
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(3 * bins), code.allocate(1)
    constants = code.constants(4.0, *OWN_LIMITS[:4], 0.0)
    code.spline_inverse(constants, given.start, given.start + 1, made.start, bins)
    x = tile_of(dtype, 3 * bins, spread)
    x[0] = np.linspace(-4.5, 4.5, x.shape[1])
    x[0, 3:5] = -4, 4
    expected = spline_inverse(
        torch.from_numpy(x[0].astype(float)), torch.from_numpy(x[1:].T.astype(float)), bins, 4.0
    ).numpy()
    found = execute(code, x, made.start, 1)[0]
    outside = np.abs(x[0]) > 4
    assert np.array_equal(found[outside], x[0][outside])
    steepest = 1e3 if spread < 60 else 1e6
    assert np.abs(found - expected).max() <= steepest * np.finfo(dtype).eps * 8


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bins", [1, 2, 7, 128])
@pytest.mark.parametrize("limits", [OWN_LIMITS, Limits(0.0, 0.0, 1e-3, np.inf, soft=True)])
def test_forward_splines_are_those_of_plain_torch(dtype, bins, limits):
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(3 * bins), code.allocate(2)
    constants = code.constants(4.0, *limits[:4], -np.log(limits.slope) if limits.soft else 0.0)
    code.copy(given.start, made.start + 1)
    parameters = given.start + 1
    code.spline_forward(constants, given.start, parameters, made.start, bins, made.start + 1)
    x = tile_of(dtype, 3 * bins)
    x[0] = np.linspace(-4.5, 4.5, x.shape[1])
    x[0, 3:6] = -4, 4, np.nan
    raw = torch.from_numpy(x[1:].T.astype(float))
    y, slope = spline_forward(torch.from_numpy(x[0].astype(float)), raw, bins, 4.0, limits)
    found, total = execute(code, x, made.start, 2)
    assert np.isnan(found[5])
    assert np.isnan(total[5])
    fine = np.delete(np.arange(x.shape[1]), 5)
    outside = fine[np.abs(x[0, fine]) > 4]
    assert np.array_equal(found[outside], x[0][outside])
    assert np.array_equal(total[outside], x[0][outside])
    narrow = 1e3 * np.finfo(dtype).eps
    """Places in bins of a thousandth of the box are known no better."""
    assert np.abs(found - y.numpy())[fine].max() <= 8 * narrow
    assert np.abs(total - x[0] - slope.numpy())[fine].max() <= 8 * narrow


@pytest.mark.parametrize("dtype", TYPES)
def test_forward_scales_come_with_their_logarithm(dtype):
    code = Assembler(dtype)
    code.allocate(1)
    given, made = code.allocate(3), code.allocate(2)
    constants = code.constants(0.0, np.inf, 1.5)
    code.copy(given.start, made.start + 1)
    rows = given.start, given.start + 1, made.start, made.start + 1
    code.affine_forward(constants, *rows)
    x = tile_of(dtype, 3)
    x[1] = np.linspace(-80, 700, x.shape[1])
    x[2, :2] = 5, -5
    scale = softplus(torch.from_numpy(x[1].astype(float))).numpy()
    found, total = execute(code, x, made.start, 2).astype(float)
    tolerance = 2 * ULPS * np.finfo(dtype).eps
    expected = x[0] * scale + np.clip(x[2].astype(float), -1.5, 1.5)
    assert np.allclose(found, expected, rtol=tolerance, atol=10 * tolerance)
    assert np.allclose(total, x[0] + np.log(scale), rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", TYPES)
def test_gates_are_sigmoids(dtype):
    code = Assembler(dtype)
    code.allocate(1)
    given = code.allocate(4)
    code.gate(given.start, given.start + 1, 1, given.start + 2)
    x = tile_of(dtype, 4, 30.0)
    found = execute(code, x, given.start + 2, 1)[0]
    expected = x[2].astype(float) + x[0] * torch.from_numpy(x[1].astype(float)).sigmoid().numpy()
    tolerance = 2 * ULPS * np.finfo(dtype).eps
    assert np.allclose(found, expected, rtol=tolerance, atol=100 * tolerance)
