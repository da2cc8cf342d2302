"""The compiled inverse: nflows' numbers at the same weights, rows that do not feel each other."""

from __future__ import annotations

import copy
import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform

from flows.engine.compile_nflows import compile_transform
from flows.engine.cpu_flow import CpuFlow
from flows.engine.facade import Engine
from flows.engine.plan import Spline
from flows.engine.testing import demanding_rows, random_transform, shuffled, slope_spread
from flows.engine.torch_flow import TorchFlow

ROWS = 10_000
ROUNDING = 1e-12
"""Of float64 results, on the scale 1 + |x|: some thousand sums of rounding 1e-16."""
ORDER = 10
"""Times the peer's difference from itself with its sums in another order: as good as equal."""
QUANTILES = (0.5, 0.999, 1.0)

FLOWS = {
    "affine feed-forward norm": {
        "kind": "affine",
        "features": 8,
        "context": 4,
        "steps": 4,
        "blocks": 3,
        "residual": False,
        "batch_norm": True,
    },
    "affine residual": {"kind": "affine", "features": 6, "context": 3},
    "spline residual": {"kind": "spline", "features": 6, "context": 3, "bins": 16},
    "spline residual norm": {
        "kind": "spline",
        "features": 7,
        "context": None,
        "batch_norm": True,
        "steps": 2,
    },
}


class Case(NamedTuple):
    """A flow, its rows, and nflows' answers: float64, reordered, float32."""

    transform: object
    z: torch.Tensor
    context: torch.Tensor | None
    peer: torch.Tensor
    reordered: torch.Tensor
    single: torch.Tensor

    def flow(self, dtype) -> tuple[CpuFlow, np.ndarray]:
        width = 0 if self.context is None else self.context.shape[1]
        plan = compile_transform(self.transform, self.z.shape[1], width)
        given = np.zeros((len(self.z), 0)) if self.context is None else self.context.numpy()
        return CpuFlow(plan, dtype), given.astype(dtype)

    def engine(self, dtype) -> np.ndarray:
        flow, given = self.flow(dtype)
        return flow.inverse(self.z.numpy().astype(dtype), given)

    def encoded(self, dtype, x: torch.Tensor) -> np.ndarray:
        """Noise, and the logarithm of the determinant as one more column."""
        flow, given = self.flow(dtype)
        z, ladj = flow.forward(x.numpy().astype(dtype), given)
        return np.concatenate([z, ladj[:, None]], 1)

    def peer_encoded(self, x: torch.Tensor, transform=None) -> torch.Tensor:
        chosen = self.transform if transform is None else transform
        given = None if self.context is None else self.context.to(x.dtype)
        with torch.no_grad():
            z, ladj = chosen(x, given)
        return torch.cat([z, ladj[:, None]], 1).double()


@pytest.fixture(scope="module", params=list(FLOWS))
def case(request) -> Case:
    options = {"hidden": 48} | FLOWS[request.param]
    transform = random_transform(**options)
    z, context = demanding_rows(transform, ROWS, options["features"], options["context"])
    double = copy.deepcopy(transform).double()
    single = None if context is None else context.float()
    with torch.no_grad():
        peer, _ = double.inverse(z, context)
        reordered, _ = shuffled(double).inverse(z, context)
        rough, _ = transform.inverse(z.float(), single)
    return Case(double, z, context, peer, reordered, rough.double())


def errors(found, expected) -> np.ndarray:
    """Largest error of every row, on the scale 1 + |x|, at three quantiles."""
    relative = np.abs(np.asarray(found) - expected.numpy()) / (1 + np.abs(expected.numpy()))
    return np.quantile(relative.max(1), QUANTILES)


def test_the_flows_bend_their_input_and_keep_its_size(case):
    ordinary = slice(1, None, 10)
    x = case.peer[ordinary]
    context = None if case.context is None else case.context[ordinary]
    spread = []
    for layer in case.transform._transforms:
        if hasattr(layer, "autoregressive_net"):
            spread.append(slope_spread(layer, x, context))
        x, _ = layer(x, context)
    assert min(spread) >= 0.3
    assert max(spread) <= 0.7
    assert case.peer[ordinary].std(0).min() >= 0.2
    assert case.peer[ordinary].std(0).max() <= 5
    assert case.peer.abs().max() >= 9


def test_double_precision_is_that_of_nflows(case):
    allowed = np.maximum(ROUNDING, ORDER * errors(case.reordered, case.peer))
    assert (errors(case.engine(np.float64), case.peer) <= allowed).all()


def test_single_precision_loses_no_more_than_nflows(case):
    ours = errors(case.engine(np.float32), case.peer)
    assert (ours <= 2 * errors(case.single, case.peer)).all()


def test_round_trip_closes_as_well_as_that_of_nflows(case):
    width = 0 if case.context is None else case.context.shape[1]
    plan = compile_transform(case.transform, case.z.shape[1], width)
    x = torch.from_numpy(case.engine(np.float64))
    plain, _ = TorchFlow(plan, torch.float64).forward(x, case.context)
    peer = case.peer_encoded(case.peer)[:, :-1]
    allowed = np.maximum(ROUNDING, ORDER * errors(peer, case.z))
    for there in (case.encoded(np.float64, x)[:, :-1], plain):
        assert (errors(there, case.z) <= allowed).all()


def test_densities_in_double_precision_are_those_of_nflows(case):
    expected = case.peer_encoded(case.peer)
    reordered = case.peer_encoded(case.peer, shuffled(case.transform))
    allowed = np.maximum(ROUNDING, ORDER * errors(reordered, expected))
    assert (errors(case.encoded(np.float64, case.peer), expected) <= allowed).all()


def test_densities_in_single_precision_lose_no_more_than_nflows(case):
    x = case.peer.float()
    exact = case.peer_encoded(x.double())
    rough = errors(case.peer_encoded(x, copy.deepcopy(case.transform).float()), exact)
    assert (errors(case.encoded(np.float32, x), exact) <= 2 * rough).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_context_breaks_its_own_row(case, value):
    """On the way back the first feature may depend on nothing; the facade breaks the whole row."""
    if case.context is None:
        pytest.skip("a flow without context")
    engine = Engine(case.flow(np.float64)[0].plan, 1)
    z, c = case.z[:100], case.context[:100].clone()
    fine = engine.inverse(z, c)
    c[7, 1] = value
    others = torch.arange(100) != 7
    found = engine.inverse(z, c)
    assert found[7].isnan().all()
    assert torch.equal(found[others], fine[others])
    assert engine.stats.nonfinite_context == 1


def test_equal_rows_give_equal_bits_wherever_they_stand(case):
    x = case.engine(np.float32)
    assert np.array_equal(x[6::10], x[5::10][: len(x[6::10])])


@pytest.mark.parametrize("kind", ["affine", "spline"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_the_split(kind, dtype):
    plan = compile_transform(random_transform(kind, 5, 3), 5, 3)
    flow = CpuFlow(plan, dtype)
    rng = np.random.default_rng(0)
    z, c = rng.normal(size=(333, 5)).astype(dtype), rng.normal(size=(333, 3)).astype(dtype)
    whole = flow.inverse(z, c)
    cuts = [0, 1, 8, 71, 200, 333]
    parts = [flow.inverse(z[a:b], c[a:b]) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["affine", "spline"]),
    features=st.integers(1, 64),
    context=st.one_of(st.none(), st.integers(1, 6)),
    hidden=st.integers(1, 70),
    blocks=st.integers(0, 3),
    residual=st.booleans(),
    rows=st.sampled_from([0, 1, 40]),
    seed=st.integers(0, 9),
)
def test_any_shape_is_that_of_the_plain_version(
    kind, features, context, hidden, blocks, residual, rows, seed
):
    options = {"hidden": hidden, "blocks": blocks, "residual": residual, "bins": 4, "steps": 1}
    transform = random_transform(kind, features, context, seed=seed, **options).double()
    plan = compile_transform(transform, features, context or 0)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    c = torch.randn(rows, context or 0, generator=generator, dtype=torch.float64)
    plain = TorchFlow(plan, torch.float64)
    z, _ = plain.forward(x, c)
    with torch.no_grad():
        peer, _ = transform(x, c if context else None)
    found = CpuFlow(plan, np.float64).inverse(z.numpy(), c.numpy())
    assert found.shape == (rows, features)
    assert torch.allclose(z, peer, rtol=1e-10, atol=1e-10)
    assert np.allclose(found, plain.inverse(z, c), rtol=1e-8, atol=1e-8)
    assert np.allclose(found, x, rtol=1e-6, atol=1e-6)


def test_outside_the_box_a_spline_is_exactly_the_identity():
    plan = compile_transform(random_transform("spline", 3, 2, bound=3.0), 3, 2)
    spline = next(step for step in plan.steps if isinstance(step, Spline))
    alone = type(plan)(3, 2, (), (spline,), plan.base)
    z = np.float32([[3.1, -3.0000002, 9], [-1e30, 1e30, 4.000001], [np.inf, -np.inf, np.nan]])
    c = np.ones((3, 2), np.float32)
    assert np.array_equal(CpuFlow(alone, np.float32).inverse(z, c), z, equal_nan=True)


class Clamped(MaskedAffineAutoregressiveTransform):
    """The formula of cms-flashsim's generator, written down once more for this test.

    scale = min(softplus(raw) + 0.05, 1); forward cuts the shift at ± 50, the inverse does not.
    """

    def _parts(self, parameters):
        raw, shift = self._unconstrained_scale_and_shift(parameters)
        return torch.log1p(raw.exp()).add(0.05).clamp(0, 1), shift

    def _elementwise_forward(self, inputs, parameters):
        scale, shift = self._parts(parameters)
        return scale * inputs + shift.clamp(-50, 50), scale.log().sum(1)

    def _elementwise_inverse(self, inputs, parameters):
        scale, shift = self._parts(parameters)
        return (inputs - shift) / scale, -scale.log().sum(1)


@pytest.fixture(scope="module")
def clamped():
    """A flow of steps whose scales reach one, whose shifts pass ± 50, with data and context."""
    transform = random_transform("affine", 6, 3, steps=2, hidden=32, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in transform._transforms:
            if isinstance(layer, MaskedAffineAutoregressiveTransform):
                layer.__class__ = Clamped
                layer.autoregressive_net.final_layer.bias[1::2] += torch.tensor([49.5, 0, 0] * 2)
    x = torch.randn(ROWS, 6, generator=generator, dtype=torch.float64)
    x[::10, -1] *= 10
    c = torch.randn(ROWS, 3, generator=generator).double()
    return transform, x, c


@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_both_ways_of_clamped_flows_are_as_published(clamped, way):
    transform, x, c = clamped
    double = copy.deepcopy(transform).double()
    plan = compile_transform(transform, 6, 3, "flashsim-clamped")

    def run(flow, kind):
        with torch.no_grad():
            result, ladj = getattr(flow, way)(x.to(kind), c.to(kind))
        return torch.cat([result, ladj[:, None]], 1).double()

    def ours(flow, kind):
        result = getattr(flow, way)(x.to(kind).numpy(), c.to(kind).numpy())
        return np.concatenate([result[0], result[1][:, None]], 1) if way == "forward" else result

    columns = slice(None) if way == "forward" else slice(6)
    exact = run(double, torch.float64)[:, columns]
    allowed = ORDER * errors(run(shuffled(double), torch.float64)[:, columns], exact)
    found = ours(CpuFlow(plan, np.float64), torch.float64)
    assert (errors(found, exact) <= np.maximum(ROUNDING, allowed)).all()
    data, given = x.float().double(), c.float().double()
    with torch.no_grad():
        result, ladj = getattr(double, way)(data, given)
    exact = torch.cat([result, ladj[:, None]], 1)[:, columns]
    rough = errors(run(transform, torch.float32)[:, columns], exact)
    single = ours(CpuFlow(plan, np.float32), torch.float32)
    assert (errors(single, exact) <= 2 * rough).all()


def test_clamps_are_reached(clamped):
    transform, x, c = clamped
    layer = next(s for s in transform._transforms if isinstance(s, Clamped))
    with torch.no_grad():
        scale, shift = layer._parts(layer.autoregressive_net(x.float(), c.float()))
    assert 0.01 < (scale == 1).double().mean() < 0.99
    assert 0.01 < (shift.abs() > 50).double().mean() < 0.99


def test_other_shapes_never_reach_compiled_loops():
    flow = CpuFlow(compile_transform(random_transform("affine", 3, 2, steps=1), 3, 2), np.float32)
    z, context = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
    for rows, known in (
        (z[:, :2], context),
        (z[:3], context),
        (z, context[:, :1]),
        (z[0], context),
    ):
        for way in (flow.inverse, flow.forward):
            with pytest.raises(ValueError, match="the flow takes"):
                way(rows, known)
