"""Couplings of nflows that a plan cannot hold are refused."""

from __future__ import annotations

import pytest
import torch
from nflows.nn.nets import MLP, ResidualNet
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

from flows.engine.compile_nflows import CompileError, compile_steps
from flows.engine.plan import Coupling


def coupling(net=lambda i, o: ResidualNet(i, o, 8), **options):
    options = {"num_bins": 4, "tails": "linear"} | options
    return PiecewiseRationalQuadraticCouplingTransform([1, 0, 1], net, **options).eval()


def test_positive_masks_move():
    (step,) = compile_steps(coupling(), 3)
    assert isinstance(step, Coupling)
    assert (step.kept.tolist(), step.moved.tolist()) == ([1], [0, 2])
    assert step.net.blocks[0].gate is None


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (coupling(tails=None), "tails None"),
        (coupling(apply_unconditional_transform=True), "transforms what it keeps"),
        (coupling(lambda i, o: MLP([i], [o], [8])), "ResidualNet, found MLP"),
        (coupling(lambda i, o: ResidualNet(i, o, 8, activation=torch.tanh)), "activation"),
    ],
)
def test_other_couplings_are_refused(layer, message):
    with pytest.raises(CompileError, match=message):
        compile_steps(layer, 3)


def test_a_coupling_of_other_features_is_refused():
    with pytest.raises(CompileError, match="of 4 features, found one of 3"):
        compile_steps(coupling(), 4)
