"""Plans of normflows' state dicts compute what normflows computes."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.engine import Engine
from flows.engine.compile_nflows import CompileError
from flows.engine.compile_normflows import Sizes, compile_normflows, sizes_of, sizes_of_name
from flows.engine.torch_flow import TorchFlow

nf = pytest.importorskip("normflows")

FILES = {
    "August_05_run_9_3context_2flows_16hl_64hu_2000bs.pth": Sizes(2, 16, 64, 3),
    "August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth": Sizes(1, 10, 128, 3),
}
ROWS = 10_000
"""Rows with tails outside the box, repeated ones and contexts far out."""
FEW = 1000


def model_of(sizes: Sizes, features: int = 1, tail_bound: float = 3.0):
    flows = []
    for _ in range(sizes.flows):
        spline = nf.flows.AutoregressiveRationalQuadraticSpline(
            features,
            sizes.blocks,
            sizes.hidden,
            num_context_channels=sizes.context or None,
            tail_bound=tail_bound,
            init_identity=False,
        )
        flows += [spline, nf.flows.LULinearPermute(features)]
    base = nf.distributions.DiagGaussian(features, trainable=False)
    return nf.ConditionalNormalizingFlow(base, flows).eval()


def random_model(sizes: Sizes, features: int, seed: int = 0):
    """Weights that bend their input but keep its size, a base that is shifted and scaled."""
    torch.manual_seed(seed)
    model = model_of(sizes, features)
    with torch.no_grad():
        for spline, linear in zip(model.flows[::2], model.flows[1::2], strict=True):
            net = spline.mprqat.autoregressive_net
            for block in net.blocks:
                block.linear_layers[-1].reset_parameters()
            net.final_layer.weight.mul_(2.0)
            for entries in linear.linear.parameters():
                entries.add_(torch.randn_like(entries) * 0.2)
        model.q0.loc.normal_(0, 1.0)
        model.q0.log_scale.normal_(0, 0.3)
    return model


def shuffled(model):
    """The same function, its hidden units summed in another order."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    for flow in other.flows[::2]:
        net = flow.mprqat.autoregressive_net
        # of one degree alone: the masks stay
        order = torch.cat(
            [
                units[torch.randperm(len(units), generator=generator)]
                for d in net.initial_layer.degrees.unique()
                for units in [(net.initial_layer.degrees == d).nonzero()[:, 0]]
            ]
        )
        reorder = [(net.initial_layer, True, False), (net.final_layer, False, True)]
        reorder += [(net.context_layer, True, False)]
        for block in net.blocks:
            reorder += [(layer, True, True) for layer in block.linear_layers]
            reorder += [(block.context_layer, True, False)]
        for layer, rows, columns in reorder:
            for name in ("weight", "bias", "mask", "degrees"):
                tensor = getattr(layer, name, None)
                if tensor is not None and rows:
                    tensor.data = tensor.data[order]
                if tensor is not None and columns and tensor.ndim == 2:
                    tensor.data = tensor.data[:, order]
    return other


def real_model(folder, name):
    state = torch.load(folder / "timing" / name, map_location="cpu", weights_only=True)
    model = model_of(FILES[name])
    model.load_state_dict(state)
    return model, state


def hits(rows: int):
    """Contexts of the bar: z in mm, θ in degrees, p in GeV; a tenth far outside."""
    generator = torch.Generator().manual_seed(3)
    low, high = torch.tensor([-735.0, 0.0, 0.1]), torch.tensor([770.0, 180.0, 10.0])
    context = low + (high - low) * torch.rand(rows, 3, generator=generator)
    context[::10] *= 2
    return context


def noise(model, rows: int):
    """Noise of the base; a tenth at ten deviations, a tenth repeated."""
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(rows, model.q0.loc.shape[1], generator=generator)
    z[::10] = 10 * torch.sign(z[::10])
    z[6::10] = z[5::10]
    return z * model.q0.log_scale.exp() + model.q0.loc


def assert_agrees(model, state, context):
    """Compare with the peer.

    float64: within 1e-12 of the value, or ten times what the peer differs from itself with its
    units in another order; float32: no worse than twice the peer's own error.
    """
    plan = compile_normflows(state)
    z, double = noise(model, len(context)).detach(), copy.deepcopy(model).double()
    with torch.no_grad():
        exact = double(z.double(), context.double())
        noise_of_peer = (shuffled(double)(z.double(), context.double()) - exact).abs().max()
        single = model(z, context)
    engine = Engine(plan, 1)
    allowed = torch.clamp(1e-12 * (1 + exact.abs()), min=10 * noise_of_peer)
    found = engine.inverse(z.double(), context.double())
    assert ((found - exact).abs() <= allowed).all()
    plain = TorchFlow(plan, torch.float64)
    few = slice(0, FEW)
    inverted = plain.inverse(z[few].double(), context[few].double())
    assert ((inverted - exact[few]).abs() <= allowed[few]).all()
    with torch.no_grad():
        latent = double.inverse(exact[few], context[few].double())
    forward, _ = plain.forward(exact[few], context[few].double())
    # steep steps multiply the rounding of data, 1e-15, by up to e^17
    assert (forward - latent).abs().quantile(0.9) < 1e-10
    assert (forward - latent).abs().max() < 1e-5
    assert noise_of_peer < 1e-9
    back, _ = engine.forward(found[few], context[few].double())
    closed, theirs = ((x - z[few]).abs().numpy() for x in (back, latent))
    for share in (0.5, 0.999, 1.0):
        assert np.quantile(closed, share) <= max(1e-12, 10 * np.quantile(theirs, share))
    theirs, ours = ((x - exact).abs().numpy() for x in (single, engine.inverse(z, context)))
    for share in (0.5, 0.999, 1.0):
        # half an ulp of float32 at the output's size counts for nothing
        floor = np.quantile(exact.abs().numpy(), share) * 2.0**-24
        assert np.quantile(ours, share) <= 2 * np.quantile(theirs, share) + floor
    with torch.no_grad():
        expected = double.log_prob(exact[few], context[few].double())
    difference = (engine.log_prob(exact[few], context[few].double()) - expected).abs()
    # where the density is e^17 it multiplies the rounding of 1e-14 of the way there
    assert difference.quantile(0.9) < 1e-10
    assert difference.max() < 1e-5
    return plan, engine, z, exact


@pytest.mark.parametrize("name", FILES)
def test_real_weights_agree(real_data, name):
    model, state = real_model(real_data, name)
    context = hits(ROWS)
    _, engine, z, exact = assert_agrees(model, state, context)
    once = torch.ones(ROWS, dtype=torch.int64)
    shared = engine.repeated.inverse(z[:, 0].double(), context.double(), once)
    # the bound of 1e-9 ns is the published one; found are 3e-14 ns
    assert (shared - exact[:, 0]).abs().max() < 1e-9
    single = engine.repeated.inverse(z[:, 0], context, once)
    # 1e-4 ns likewise; found are 2e-5 ns, the peer's own being 3e-5 ns
    inside = torch.ones(ROWS, dtype=torch.bool)
    inside[::10] = False
    assert (single - exact[:, 0]).abs()[inside].max() < 1e-4


@pytest.mark.parametrize("features", [1, 2, 5])
def test_random_weights_agree(features):
    model = random_model(Sizes(3, 2, 24, 4), features)
    context = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(5))
    context[3::10] *= 4
    plan, *_ = assert_agrees(model, model.state_dict(), context)
    assert plan.base.loc.tolist() == model.q0.loc[0].double().tolist()
    assert len(plan.steps) == 6


@settings(max_examples=10, deadline=None)
@given(
    features=st.integers(1, 64),
    rows=st.integers(0, 70),
    context=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_any_dimension_agrees_in_float64(features, rows, context, seed):
    model = random_model(Sizes(1, 1, max(8, features), context), features, seed).double()
    plan = compile_normflows(model.state_dict())
    z, c = torch.randn(rows, features).double(), torch.randn(rows, context).double()
    with torch.no_grad():
        expected = model(z, c) if rows else z
    found = Engine(plan, 1).inverse(z, c)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_hyper_parameters_come_from_the_name_and_the_shapes(real_data):
    for name, sizes in FILES.items():
        assert sizes_of_name(name) == sizes
        assert sizes_of(real_model(real_data, name)[1]) == sizes
    assert sizes_of_name("weights.pth") == Sizes()
    assert sizes_of_name("checkpoint_5flows.pth") == Sizes(flows=5)


def test_a_name_that_contradicts_the_shapes_is_an_error():
    state = random_model(Sizes(1, 2, 16, 3), 1).state_dict()
    for expected in (Sizes(flows=2), Sizes(blocks=3), Sizes(hidden=8), Sizes(context=4)):
        with pytest.raises(CompileError, match=r"contradict.*against"):
            compile_normflows(state, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("q0.loc"), r"q0\.loc"),
        (lambda s: s.update({"q0.extra": torch.zeros(1)}), r"q0\.extra"),
        (lambda s: s.pop("flows.1.linear.bias"), r"flows\.1\.linear\.bias"),
        (lambda s: s.update({"flows.1.linear.bias": torch.zeros(2)}), r"shape \(2,\)"),
        (lambda s: s.update({"flows.1.permutation._permutation": torch.tensor([1])}), "permutes"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("flows.1.")], "pairs"),
        (lambda s: [s.pop(k) for k in list(s) if ".blocks.0." in k], "blocks"),
        (lambda s: s.clear(), "pairs"),
    ],
)
def test_state_dicts_of_something_else_are_refused(change, message):
    state = dict(random_model(Sizes(1, 2, 16, 3), 1).state_dict())
    change(state)
    with pytest.raises(CompileError, match=message):
        compile_normflows(state)


NET = "flows.0.mprqat.autoregressive_net"
ORDER = "flows.1.permutation._permutation"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (f"{NET}.context_layer.weight", torch.Tensor.to_sparse, "is sparse_coo; save"),
        (f"{NET}.final_layer.bias", lambda t: t.to(torch.complex64), "is complex; save"),
        (f"{NET}.final_layer.bias", lambda t: t.to("meta"), "is without values"),
        (f"{NET}.context_layer.weight", lambda t: t[0], r"has shape \(3,\), expected a 2-dim"),
        (f"{NET}.initial_layer.weight", lambda t: t[0, 0], r"has shape \(\), expected a 2-dim"),
        (f"{NET}.final_layer.weight", lambda t: t[0, 0], r"has shape \(\), expected a 2-dim"),
        (ORDER, lambda t: t[0], r"has shape \(\), expected a 1-dim"),
        (ORDER, lambda t: t[:0], r"has shape \(0,\), expected a 1-dimensional one, not empty"),
    ],
)
def test_tensors_of_another_kind_or_dimension_are_refused_by_name(name, change, message):
    state = dict(random_model(Sizes(1, 2, 16, 3), 1).state_dict())
    state[name] = change(state[name])
    with pytest.raises(CompileError, match=re.escape(f"tensor {name!r} ") + message):
        compile_normflows(state)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_precision_are_read_exactly(kind):
    state = random_model(Sizes(1, 2, 16, 3), 1).state_dict()
    short = {k: t.to(kind) if t.is_floating_point() else t for k, t in state.items()}
    short[ORDER] = short[ORDER].to(kind)
    single = {k: t.float() if t.is_floating_point() else t for k, t in short.items()}
    z, c = torch.randn(50, 1).double(), torch.randn(50, 3).double()
    found, same = (Engine(compile_normflows(s), 1).inverse(z, c) for s in (short, single))
    assert torch.equal(found, same)


def test_circular_tails_are_refused():
    state = dict(random_model(Sizes(1, 1, 8, 2), 1).state_dict())
    net = "flows.0.mprqat.autoregressive_net.final_layer"
    for part in ("weight", "bias", "mask", "degrees"):
        state[f"{net}.{part}"] = torch.cat([state[f"{net}.{part}"]] * 2)[:24]
    with pytest.raises(CompileError, match="no linear tails"):
        compile_normflows(state)


def test_the_box_is_what_it_is_told():
    model = random_model(Sizes(1, 1, 8, 2), 1).double()
    wide = model_of(Sizes(1, 1, 8, 2), 1, tail_bound=math.pi).double()
    wide.load_state_dict(model.state_dict())
    z, c = torch.randn(50, 1).double(), torch.randn(50, 2).double()
    with torch.no_grad():
        expected = wide(z, c)
    found = Engine(compile_normflows(model.state_dict(), tail_bound=math.pi), 1).inverse(z, c)
    assert torch.allclose(found, expected, atol=1e-12)
