"""Plans whose weights learn: same densities, same structure, also of other projects' flows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flows.architectures import ConditionalFlow
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_normflows import compile_normflows
from flows.engine.compile_plan import compile_plan
from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Linear
from flows.engine.stored import plan_to_stored
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.engine.trainable import TrainableFlow
from flows.engine.validate import check_plan
from flows.spec import FlowSpec, LayerSpec


def own(features):
    layers = (LayerSpec("affine", "same"), LayerSpec("spline", "reverse"))
    spec = FlowSpec(features, 2, layers=layers, hidden=16, bins=6, embedding=(8,))
    torch.manual_seed(4)
    return compile_plan(ConditionalFlow(spec).eval())


def nflows(features):
    return compile_transform(random_transform("spline", features, 2, steps=2), features, 2)


def normflows(features, *, untrained=False):
    nf = pytest.importorskip("normflows")
    torch.manual_seed(5)
    spline = nf.flows.AutoregressiveRationalQuadraticSpline(
        features, 2, 16, num_context_channels=2, init_identity=untrained
    )
    layers = [spline, nf.flows.LULinearPermute(features)]
    base = nf.distributions.DiagGaussian(features, trainable=False)
    return compile_normflows(nf.ConditionalNormalizingFlow(base, layers).state_dict())


def zuko(features, passes=None):
    library = pytest.importorskip("zuko")
    torch.manual_seed(6)
    shape = {"features": features, "context": 2, "transforms": 2, "bins": 8, "passes": passes}
    flow = library.flows.NSF(**shape, hidden_features=(16, 16))
    return compile_zuko(flow.state_dict(), **shape, hidden_features=(16, 16))


def zuko_coupling(features):
    return zuko(features, passes=2)


PLANS = [own, nflows, normflows, zuko]


CASES = [(make, features) for make in PLANS for features in (1, 3)] + [(zuko_coupling, 3)]


@pytest.mark.parametrize(("make", "features"), CASES)
def test_densities_and_plan_are_those_it_started_from(make, features):
    plan = make(features)
    flow, plain = TrainableFlow(plan), TorchFlow(plan)
    x, context = torch.randn(50, features), torch.randn(50, 2)
    # the same operations in float32; logarithms of determinants come from a factorisation
    assert torch.allclose(flow(x, context), plain.log_prob(x, context), atol=1e-5, rtol=1e-5)
    again, before = plan_to_stored(flow.plan()), plan_to_stored(plan)
    assert set(again[1]) == set(before[1])
    for name, tensor in before[1].items():
        assert torch.allclose(again[1][name].double(), tensor.double(), atol=1e-6, rtol=1e-6), name


@pytest.mark.parametrize("make", PLANS)
def test_a_row_of_samples_has_the_densities_of_its_samples(make):
    flow = TrainableFlow(make(1))
    x, context = 2 * torch.randn(20, 7), torch.randn(20, 2)
    each = torch.stack([flow(x[:, i : i + 1], context) for i in range(7)], 1)
    assert torch.allclose(flow.repeated(x, context), each, atol=2e-5, rtol=2e-5)


def test_several_features_have_no_rows_of_samples():
    with pytest.raises(ValueError, match="3 features"):
        TrainableFlow(own(3)).repeated(torch.zeros(2, 4), torch.zeros(2, 2))


def test_flows_that_were_never_trained_are_no_start():
    with pytest.raises(ValueError, match="step 1 of the flow has a last layer of zeros"):
        TrainableFlow(normflows(3, untrained=True))


@pytest.mark.parametrize(("make", "features"), CASES)
def test_learning_raises_the_density_and_keeps_masks(make, features):
    plan = make(features)
    flow = TrainableFlow(plan)
    rng = torch.Generator().manual_seed(2)
    context = torch.randn(512, 2, generator=rng)
    x = 0.3 * torch.randn(512, features, generator=rng) + context[:, :1]
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-3)
    before = float(flow(x, context).detach().mean())
    for _ in range(60):
        optimiser.zero_grad()
        (-flow(x, context).mean()).backward()
        optimiser.step()
    learnt = flow.plan()
    check_plan(learnt)
    assert float(flow(x, context).detach().mean()) > before + 0.1
    exact = TorchFlow(learnt, torch.float64)
    density = exact.log_prob(x.double(), context.double()).float()
    assert torch.allclose(density, flow(x, context), atol=1e-3)
    z = exact.forward(x.double(), context.double())[0]
    assert torch.allclose(exact.inverse(z, context.double()), x.double(), atol=1e-6)
    start = plan_to_stored(plan)[1]
    inverses = {f"steps.{i}.inverse" for i, s in enumerate(plan.steps) if isinstance(s, Linear)}
    for name, tensor in plan_to_stored(learnt)[1].items():
        if tensor.ndim == 2 and name not in inverses:
            assert not tensor[start[name] == 0].any(), name
    moved = [
        not np.array_equal(tensor, start[name])
        for name, tensor in plan_to_stored(learnt)[1].items()
        if name.endswith("weight")
    ]
    assert any(moved)
