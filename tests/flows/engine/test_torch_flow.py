"""The plain version: densities that integrate what autograd differentiates."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from flows.engine.compile_nflows import compile_transform
from flows.engine.context_only import invert_on_device
from flows.engine.facade import _spoiled
from flows.engine.plan import Base
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow


def flow(kind: str, features: int = 4, context: int | None = 2) -> TorchFlow:
    transform = random_transform(kind, features, context, steps=2)
    return TorchFlow(compile_transform(transform, features, context or 0), torch.float64)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_log_determinant_is_that_of_small_differences(kind):
    plain, step = flow(kind), 1e-6
    x, c = torch.randn(4, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    near = torch.cat([x + step * torch.eye(4), x - step * torch.eye(4), x[None]])
    z, ladj = plain.forward(near, c.expand(9, -1))
    jacobian = (z[:4] - z[4:8]) / (2 * step)
    assert abs(float(torch.linalg.slogdet(jacobian).logabsdet - ladj[8])) < 1e-6


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_inverse_undoes_forward(kind):
    plain = flow(kind)
    x, c = torch.randn(100, 4, dtype=torch.float64), torch.randn(100, 2, dtype=torch.float64)
    z, _ = plain.forward(x, c)
    assert torch.allclose(plain.inverse(z, c), x, atol=1e-8)


def test_density_integrates_to_one_with_a_shifted_base():
    plain = flow("spline", features=1, context=None)
    base = Base(np.array([0.7]), np.array([1.6]))
    shifted = TorchFlow(dataclasses.replace(plain.plan, base=base), torch.float64)
    x = torch.linspace(-40, 40, 100_001, dtype=torch.float64)
    density = shifted.log_prob(x[:, None]).exp()
    assert math.isclose(float(torch.trapezoid(density, x)), 1.0, abs_tol=1e-4)


def test_a_conditional_flow_wants_its_context():
    plain = flow("affine")
    with pytest.raises(ValueError, match="conditional"):
        plain.inverse(torch.zeros(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("features", [1, 3])
def test_results_may_be_overwritten_where_a_context_is_not_finite(features):
    plain, bad = flow("spline", features=features), torch.tensor([False, True, False])
    x, c = torch.randn(3, features, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    results = [plain.inverse(x, c), *plain.forward(x, c), plain.log_prob(x, c)]
    if features == 1:
        results.append(invert_on_device(plain, x[:, 0], c, torch.ones(3, dtype=torch.int64)))
    for result in results:
        assert not result.requires_grad
        spoiled = _spoiled(result, bad)
        assert torch.equal(torch.isnan(spoiled.reshape(3, -1)).all(1), bad)
