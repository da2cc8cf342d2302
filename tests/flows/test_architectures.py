"""Flows built from specifications: nflows' answers, autoregression, the fast inverse."""

from __future__ import annotations

import pytest
import torch
from nflows.transforms.autoregressive import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)

from flows.architectures import ConditionalFlow, MaskedAffine, MaskedSpline
from flows.masked import ContextMade
from flows.spec import FlowSpec, HeadSpec, LayerSpec, MlpSpec, ObjectSpec, SpecError


def shaken(module: torch.nn.Module, size: float = 0.2) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(size * noise / max(1, parameter.shape[-1]) ** 0.5)
    return module


def spec(**changes) -> FlowSpec:
    return FlowSpec(**({"features": 5, "context": 3, "hidden": 24, "bins": 6} | changes))


def nflows_twin(layer: torch.nn.Module, kind: type, **options) -> torch.nn.Module:
    """nflows' own layer with the weights and masks of ours."""
    twin = kind(5, 24, context_features=3, num_blocks=1, **options)
    twin.autoregressive_net.load_state_dict(layer.autoregressive_net.state_dict(), strict=False)
    ours = dict(layer.autoregressive_net.named_modules())
    for name, module in twin.autoregressive_net.named_modules():
        if hasattr(module, "mask"):
            module.mask = ours[name].mask
    return twin


def test_layers_are_those_of_nflows_at_the_same_weights():
    x, c = torch.randn(100, 5), torch.randn(100, 3)
    spline = shaken(MaskedSpline(spec(), 3), 1.0)
    twin = nflows_twin(
        spline,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        num_bins=6,
        tails="linear",
        tail_bound=4.0,
    )
    affine = shaken(MaskedAffine(spec(), 3), 1.0)
    pairs = [(spline, twin), (affine, nflows_twin(affine, MaskedAffineAutoregressiveTransform))]
    for layer, reference in pairs:
        for result, expected in zip(layer(x, c), reference(x, c)):
            assert torch.allclose(result, expected, atol=2e-4)
        back, ladj = layer.inverse(layer(x, c)[0], c)
        assert (back - x).abs().median() < 1e-5
        assert (ladj + layer(x, c)[1]).abs().median() < 1e-4


def test_a_new_layer_is_close_to_the_identity():
    x, c = torch.randn(200, 5), torch.randn(200, 3)
    for layer in (MaskedSpline(spec(), 3), MaskedAffine(spec(), 3)):
        y, ladj = layer(x, c)
        assert (y - x).abs().max() < 0.1
        assert ladj.abs().max() < 0.3


@pytest.mark.parametrize("hidden", [15, 24, 60])
def test_outputs_see_the_features_before_them_and_all_see_the_context(hidden):
    net = shaken(ContextMade(5, 3, hidden, 2), 1.0)
    x, c = torch.randn(5), torch.randn(3)
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v[None], c[None])[0], x)
    assert (jacobian.triu() == 0).all()
    by_context = torch.autograd.functional.jacobian(lambda v: net(x[None], v[None])[0], c)
    assert (by_context.abs().sum(1) > 0).all()


def test_log_determinant_is_that_of_autograd():
    flow = shaken(ConditionalFlow(spec()), 0.5).double()
    x, c = torch.randn(5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: flow.to_noise(v[None], c[None])[0][0], x
    )
    _, ladj = flow.to_noise(x[None], c[None])
    assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, ladj[0], atol=1e-9)


def test_density_integrates_to_one():
    flow = shaken(ConditionalFlow(spec(features=1, context=1)), 0.3).double()
    x = torch.linspace(-12, 12, 50_001, dtype=torch.float64)
    with torch.no_grad():
        density = flow(x[:, None], torch.zeros(len(x), 1, dtype=torch.float64)).exp()
    assert abs(float(torch.trapezoid(density, x)) - 1) < 1e-4


def test_masks_are_not_stored_with_the_weights():
    assert not any("mask" in n or "degrees" in n for n in ConditionalFlow(spec()).state_dict())


def test_every_parameter_gets_a_gradient():
    flow = shaken(ConditionalFlow(spec()))
    flow(torch.randn(64, 5), torch.randn(64, 3)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_specifications_survive_a_dictionary():
    whole = ObjectSpec(MlpSpec(4), HeadSpec((2, 3), 4), spec())
    assert ObjectSpec.from_dict(whole.to_dict()) == whole
    partial = ObjectSpec(MlpSpec(4), None, None)
    assert ObjectSpec.from_dict(partial.to_dict()) == partial


@pytest.mark.parametrize(
    "make",
    [
        lambda: spec(features=0),
        lambda: spec(bound=-1.0),
        lambda: spec(layers=()),
        lambda: LayerSpec("coupling"),
        lambda: LayerSpec("spline", "shuffled"),
        lambda: HeadSpec((), 3),
        lambda: FlowSpec.from_dict({"features": 2}),
        lambda: ObjectSpec.from_dict({"flow": None}),
        lambda: MlpSpec.from_dict("text"),
    ],
)
def test_wrong_specifications_are_refused(make):
    with pytest.raises(SpecError):
        make()
