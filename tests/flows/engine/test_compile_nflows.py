"""Plans hold what nflows' modules compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nflows.transforms.autoregressive import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.lu import LULinear
from nflows.transforms.permutations import RandomPermutation, ReversePermutation

from flows.engine.compile_nflows import CompileError, compile_made, compile_steps, compile_transform
from flows.engine.plan import Linear
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow


def test_linear_neighbours_become_one_matrix_with_its_inverse():
    layers = [RandomPermutation(6), LULinear(6, identity_init=False), ReversePermutation(6)]
    layers.append(CompositeTransform([LULinear(6, identity_init=False), RandomPermutation(6)]))
    for layer in layers[1:2]:
        layer.bias.data.normal_()
    transform = CompositeTransform(layers).double()
    (step,) = compile_steps(transform, 6)
    x = torch.randn(20, 6, dtype=torch.float64)
    with torch.no_grad():
        expected, ladj = transform(x)
    assert isinstance(step, Linear)
    assert np.allclose(x.numpy() @ step.matrix.T + step.bias, expected, atol=1e-13)
    assert np.allclose(step.matrix @ step.inverse, np.eye(6), atol=1e-12)
    assert np.allclose(ladj, step.log_det)
    assert np.isclose(step.log_det, np.linalg.slogdet(step.matrix).logabsdet)


@pytest.mark.parametrize("residual", [True, False])
def test_units_are_sorted_and_masks_applied(residual):
    transform = random_transform("affine", 5, 2, hidden=19, residual=residual, steps=1)
    made = compile_made(transform._transforms[-1].autoregressive_net, 5)
    assert (np.diff(made.degrees) >= 0).all()
    assert (made.first.weight[made.degrees[:, None] < np.arange(1, 6)] == 0).all()
    owner = np.repeat(np.arange(5), 2)
    assert (made.final.weight[owner[:, None] < made.last_degrees] == 0).all()


def test_networks_that_tell_their_width_have_their_bins_scaled():
    """nflows divides widths and heights by √hidden for such networks; its own does not tell."""
    layer = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        3, 16, num_bins=4, tails="linear", tail_bound=2.0
    ).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    layer.autoregressive_net.hidden_features = 16
    x = torch.randn(50, 3, dtype=torch.float64)
    with torch.no_grad():
        expected, ladj = layer(x)
    z, found = TorchFlow(compile_transform(layer, 3, 0), torch.float64).forward(x)
    assert torch.allclose(z, expected, atol=1e-12)
    assert torch.allclose(found, ladj, atol=1e-11)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (torch.nn.Tanh(), "Tanh cannot be compiled"),
        (MaskedAffineAutoregressiveTransform(3, 8, activation=torch.tanh), "activation"),
        (MaskedPiecewiseRationalQuadraticAutoregressiveTransform(3, 8), "tails None"),
        (MaskedAffineAutoregressiveTransform(4, 8), "of 3 features"),
    ],
)
def test_what_a_plan_cannot_say_is_refused(layer, message):
    with pytest.raises(CompileError, match=message):
        compile_steps(layer.eval(), 3)
