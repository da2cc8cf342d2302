"""Splines: the same function as nflows', inverse, slopes, gradients, in torch and compiled."""

from __future__ import annotations

import pytest
import torch
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline

from flows.kernels import fused_spline
from flows.spline import spline_forward, spline_inverse

BOUND = 4.0


def draw(bins: int, rows: int = 200, features: int = 3, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(bins)
    x = 2.5 * torch.randn(rows, features, generator=generator, dtype=dtype)
    x[:5] = torch.tensor([-BOUND, BOUND, 0.0, -50.0, 50.0], dtype=dtype)[:, None]
    return x, torch.randn(rows, features, 3 * bins - 1, generator=generator, dtype=dtype)


def reference(x, p, bins):
    parts = (p[..., :bins], p[..., bins : 2 * bins], p[..., 2 * bins :])
    return unconstrained_rational_quadratic_spline(x, *parts, tails="linear", tail_bound=BOUND)


@pytest.mark.parametrize("bins", [1, 2, 8, 16])
def test_plain_spline_is_that_of_nflows(bins):
    x, p = draw(bins, dtype=torch.float64)
    y, slope = spline_forward(x, p, bins, BOUND)
    expected, log_slope = reference(x, p, bins)
    assert torch.allclose(y, expected, atol=1e-12)
    assert torch.allclose(slope, log_slope, atol=1e-10)


@pytest.mark.parametrize("bins", [1, 2, 8, 16])
def test_compiled_spline_is_that_of_nflows(bins):
    x, p = draw(bins)
    y, ladj = fused_spline(x, p, bins, BOUND)
    expected, log_slope = reference(x.double(), p.double(), bins)
    # float32 knots: positions carry about bins · 2⁻²⁴ · 8, slopes up to 10³ magnify it
    assert torch.allclose(y.double(), expected, atol=1e-4)
    assert torch.allclose(ladj.double(), log_slope.sum(1), atol=1e-2)
    assert (y.double() - expected).abs().mean() < 2e-6


@pytest.mark.parametrize("bins", [1, 8])
def test_slope_is_that_of_autograd(bins):
    x, p = draw(bins, dtype=torch.float64)
    x.requires_grad_()
    y, slope = spline_forward(x, p, bins, BOUND)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.exp(), gradient, rtol=1e-9)


@pytest.mark.parametrize("bins", [1, 2, 8, 16])
def test_inverse_returns(bins):
    x, p = draw(bins, dtype=torch.float64)
    y, _ = spline_forward(x, p, bins, BOUND)
    assert torch.allclose(spline_inverse(y, p, bins, BOUND), x, atol=1e-9)


def test_outside_the_box_is_untouched():
    x, p = draw(8)
    outside = x.abs() > BOUND
    y, _ = fused_spline(x, p, 8, BOUND)
    plain, slope = spline_forward(x, p, 8, BOUND)
    assert torch.equal(y[outside], x[outside])
    assert torch.equal(plain[outside], x[outside])
    assert (slope[outside] == 0).all()
    assert torch.equal(spline_inverse(x, p, 8, BOUND)[outside], x[outside])


@pytest.mark.parametrize("bins", [1, 2, 8])
def test_compiled_gradient_is_that_of_autograd(bins):
    x, p = draw(bins, rows=60)
    weights = torch.randn(60, 3), torch.randn(60)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype, copy=True).requires_grad_(), p.to(dtype, copy=True).requires_grad_()
        y, ladj = fused_spline(*leaf, bins, BOUND)
        total = (y * weights[0].to(dtype)).sum() + (ladj * weights[1].to(dtype)).sum()
        gradients.append(torch.autograd.grad(total, leaf))
    for single, double in zip(*gradients):
        scale = 1 + double.abs().amax(-1, keepdim=True)
        assert ((single.double() - double).abs() / scale).max() < 2e-3
        assert ((single.double() - double).abs() / scale).median() < 1e-5


def test_extreme_parameters_stay_finite():
    x, p = draw(8)
    for factor in (1e3, -1e3):
        y, ladj = fused_spline(x, p * factor, 8, BOUND)
        assert torch.isfinite(y).all()
        assert torch.isfinite(ladj).all()
        assert torch.isfinite(spline_inverse(x, p * factor, 8, BOUND)).all()


def test_a_missing_value_stays_missing_and_alone():
    x, p = draw(8)
    clean, _ = fused_spline(x, p, 8, BOUND)
    x[7] = torch.nan
    y, _ = fused_spline(x, p, 8, BOUND)
    assert torch.isnan(y[7]).all()
    assert torch.equal(y[8:], clean[8:])


def test_wrong_number_of_parameters_is_refused():
    with pytest.raises(ValueError, match="expected 23"):
        spline_forward(torch.zeros(2), torch.zeros(2, 24), 8, BOUND)
