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

from flows.engine.compile_nflows import compile_transform
from flows.engine.cpu_flow import CpuFlow
from flows.engine.plan import Affine, Spline
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

    def engine(self, dtype) -> np.ndarray:
        width = 0 if self.context is None else self.context.shape[1]
        plan = compile_transform(self.transform, self.z.shape[1], width)
        given = np.zeros((len(self.z), 0)) if self.context is None else self.context.numpy()
        return CpuFlow(plan, dtype).inverse(self.z.numpy().astype(dtype), given.astype(dtype))


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
    there, _ = TorchFlow(plan, torch.float64).forward(
        torch.from_numpy(case.engine(np.float64)), case.context
    )
    peer, _ = case.transform(case.peer, case.context)
    allowed = np.maximum(ROUNDING, ORDER * errors(peer.detach(), case.z))
    assert (errors(there, case.z) <= allowed).all()


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


def test_clamped_scales_follow_their_publication_in_both_directions():
    transform = random_transform("affine", 4, 2, seed=3)
    plan = compile_transform(transform, 4, 2, "flashsim-clamped")
    step = next(s for s in plan.steps if isinstance(s, Affine))
    final = step.made.final
    final.weight[:] *= 3
    final.bias[1::2] += 49.5
    alone = type(plan)(4, 2, (), (step,), plan.base)
    x, c = torch.randn(200, 4, dtype=torch.float64), torch.randn(200, 2, dtype=torch.float64)
    plain = TorchFlow(alone, torch.float64)
    raw, shift = plain.evaluate(step.made, x, c).view(200, 4, 2).unbind(2)
    scale = (torch.nn.functional.softplus(raw) + 0.05).clamp(max=1.0)
    assert (scale == 1).any()
    assert (scale < 1).any()
    assert (shift > 50).any()
    z, ladj = plain.forward(x, c)
    assert torch.allclose(z, x * scale + shift.clamp(-50, 50))
    assert torch.allclose(ladj, scale.log().sum(1))
    back = torch.from_numpy(
        CpuFlow(alone, np.float64).inverse((x * scale + shift).numpy(), c.numpy())
    )
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(plain.inverse(x * scale + shift, c), x, atol=1e-9)


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
