"""What people call: threads, splits, types, rows that are broken."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow

from flows.architectures import ConditionalFlow
from flows.engine import CompileError, Engine, compile_flow
from flows.engine.compile_plan import compile_plan
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.spec import FlowSpec, LayerSpec

MIXED = (LayerSpec("affine", "same"), LayerSpec("spline", "reverse"), LayerSpec("spline", "random"))


CLOSE = 1e-9
"""Of float64: two orders of the same sums differ by 1e-13, random layers multiply that by their
slopes, up to 1e3 each."""


def own_flow(**changes) -> ConditionalFlow:
    options = {"features": 5, "context": 3, "hidden": 24, "bins": 6, "layers": MIXED} | changes
    flow = ConditionalFlow(FlowSpec(**options))
    for parameter in flow.parameters():
        parameter.data.add_(0.5 * torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5)
    return flow


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"blocks": 3, "embedding": ()},
        {"blocks": 2, "embedding": (16, 8)},
        {"embedding": (7,)},
        {"embedding": (2, 20)},
        {"features": 1},
        {"features": 40, "hidden": 16},
        {"layers": (LayerSpec("affine", "random"), LayerSpec("affine", "reverse"))},
        {"bins": 1},
    ],
)
def test_own_flows_give_their_own_samples_and_densities(changes):
    flow = own_flow(**changes).double()
    features = flow.spec.features
    engine = compile_flow(flow, threads=1)
    z, c = torch.randn(200, features, dtype=torch.float64), torch.randn(200, 3).double()
    with torch.no_grad():
        expected, density = flow.from_noise(z, c), flow(z, c)
        noise, ladj = flow.to_noise(z, c)
    assert torch.allclose(engine.inverse(z, c), expected, rtol=CLOSE, atol=CLOSE)
    assert torch.allclose(engine.log_prob(z, c), density, rtol=CLOSE, atol=CLOSE)
    assert torch.allclose(engine.forward(z, c)[0], noise, rtol=CLOSE, atol=CLOSE)
    assert torch.allclose(engine.forward(z, c)[1], ladj, rtol=CLOSE, atol=CLOSE)


def test_single_precision_of_own_flows_is_that_of_the_plain_version():
    """Shipped bundles run in float32: twice the plain version's own error is allowed."""
    flow = own_flow(blocks=2)
    plan = compile_plan(flow)
    z, c = torch.randn(10_000, 5), torch.randn(10_000, 3)
    exact = TorchFlow(plan, torch.float64).inverse(z.double(), c.double())
    ours = (compile_flow(flow, threads=1).inverse(z, c) - exact).abs().flatten().numpy()
    plain = (TorchFlow(plan, torch.float32).inverse(z, c) - exact).abs().flatten().numpy()
    for quantile in (0.5, 0.999, 1.0):
        assert np.quantile(ours, quantile) <= 2 * np.quantile(plain, quantile)


def test_compiling_changes_no_weights():
    flow = own_flow()
    before = {n: p.clone() for n, p in flow.state_dict().items()}
    compile_flow(flow, threads=1).inverse(torch.randn(64, 5), torch.randn(64, 3))
    assert all(torch.equal(before[n], p) for n, p in flow.state_dict().items())


@pytest.mark.parametrize("context", [None, 3])
def test_nflows_flows_give_their_densities(context):
    flow = Flow(random_transform("affine", 4, context), StandardNormal([4])).eval()
    engine = compile_flow(flow, threads=1)
    x = torch.randn(50, 4)
    c = None if context is None else torch.randn(50, context)
    with torch.no_grad():
        expected = flow.log_prob(x, c).float()
    assert torch.allclose(engine.log_prob(x, c), expected, rtol=1e-4, atol=1e-4)


def test_threads_and_calls_change_no_bit():
    plan = compile_plan(own_flow())
    z, c = torch.randn(3000, 5), torch.randn(3000, 3)
    one, three = Engine(plan, 1), Engine(plan, 3)
    whole = one.inverse(z, c)
    assert torch.equal(three.inverse(z, c), whole)
    parts = [three.inverse(z[a:b], c[a:b]) for a, b in ((0, 1), (1, 700), (700, 3000))]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_broken_context_breaks_its_own_row_and_is_counted(value):
    engine = compile_flow(own_flow(), threads=1)
    z, c = torch.randn(100, 5), torch.randn(100, 3)
    fine = engine.inverse(z, c)
    c[7, 1] = value
    others = torch.arange(100) != 7
    x = engine.inverse(z, c)
    assert x[7].isnan().all()
    assert torch.equal(x[others], fine[others])
    assert engine.log_prob(z, c).isnan().nonzero().flatten().tolist() == [7]
    assert engine.stats == (300, 2, {"cpu": "compiled"})


def test_no_rows_are_fine():
    engine = compile_flow(own_flow(), threads=1)
    z, c = torch.randn(0, 5), torch.randn(0, 3)
    assert engine.inverse(z, c).shape == (0, 5)
    assert [t.shape for t in engine.forward(z, c)] == [(0, 5), (0,)]
    assert engine.sample(3, c).shape == (0, 3, 5)
    assert engine.sample(0, torch.randn(2, 3)).shape == (2, 0, 5)


def test_samples_follow_the_seed_and_the_context():
    engine = compile_flow(own_flow(), threads=1)
    c = torch.randn(4, 3)
    x = engine.sample(6, c, seed=1)
    assert torch.equal(x, engine.sample(6, c, seed=1))
    assert not torch.equal(x, engine.sample(6, c, seed=2))
    z, _ = engine.forward(x.flatten(0, 1), c.repeat_interleave(6, 0))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(24, 5, generator=generator, dtype=torch.float64).float()
    assert torch.allclose(z, noise, atol=1e-2)


def test_rows_without_order_in_memory_are_read_right():
    engine = compile_flow(own_flow(), threads=1)
    z, c = torch.randn(5, 40).T, torch.randn(80, 3)[::2]
    assert torch.equal(engine.inverse(z, c), engine.inverse(z.contiguous(), c.contiguous()))


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(2, 4), torch.zeros(2, 3)),
        (torch.zeros(2, 5), torch.zeros(3, 3)),
        (torch.zeros(2, 5), None),
        (torch.zeros(2, 5).half(), torch.zeros(2, 3).half()),
        (torch.zeros(2, 5), torch.zeros(2, 3).double()),
    ],
)
def test_wrong_tensors_are_refused(arguments):
    engine = compile_flow(own_flow(), threads=1)
    for call in (engine.inverse, engine.forward, engine.log_prob):
        with pytest.raises(ValueError, match=r"expected|features"):
            call(*arguments)


def test_what_has_no_place_in_a_plan_is_refused():
    with pytest.raises(CompileError, match="Linear cannot be compiled"):
        compile_flow(torch.nn.Linear(2, 2))
    embedded = Flow(random_transform("affine", 4, 3), StandardNormal([4]), torch.nn.Linear(2, 3))
    with pytest.raises(CompileError, match="embedding"):
        compile_flow(embedded)
    normed = random_transform("affine", 4, 3, batch_norm=True).train()
    with pytest.raises(CompileError, match="training mode"):
        compile_flow(Flow(normed, StandardNormal([4])))
    with pytest.raises(ValueError, match="at least one thread"):
        compile_flow(own_flow(), threads=0)


def _child(engine, z, c, queue) -> None:
    queue.put(engine.inverse(z, c).numpy().tobytes())


def test_a_forked_child_draws_the_same():
    """The parent's threads do not exist in the child, which starts its own."""
    engine = compile_flow(own_flow(), threads=2)
    z, c = torch.randn(2_000, 5), torch.randn(2_000, 3)
    expected = engine.inverse(z, c).numpy().tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(engine, z, c, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.join(10)
        child.kill()
