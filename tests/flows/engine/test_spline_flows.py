"""Spline flows of zuko and couplings of nflows: the libraries' numbers at the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Plan
from flows.engine.testing import demanding_rows, random_transform, shuffled, slope_spread
from flows.engine.testing_zuko import bend, demanding_zuko_rows, shuffled_zuko, zuko_spread
from flows.engine.torch_flow import TorchFlow

ROWS, ENOUGH = 10_000, 40
FORTH, BACK = 1e-9, 1e-6
"""Of float64 in any shape of random networks: sums of some thousand terms round by 1e-13, slopes of
up to 1e3 per layer multiply that; on the way back a flat bin divides by its least slope, 1e-3, in
every layer once more."""
ROUNDING = 1e-12
"""Of float64 results, on the scale 1 + |x|: some thousand sums of rounding 1e-16."""
ORDER = 10
"""Times the peer's difference from itself with its sums in another order: as good as equal."""
QUANTILES = (0.5, 0.999, 1.0)
Context = torch.Tensor | None


@dataclass
class Peer:
    """A library's flow: the module that holds its weights, and how to call it."""

    module: Any
    forward: Callable[[Any, torch.Tensor, Context], tuple[torch.Tensor, torch.Tensor]]
    inverse: Callable[[Any, torch.Tensor, Context], torch.Tensor]

    @torch.no_grad()
    def encode(self, x: torch.Tensor, c: Context) -> torch.Tensor:
        """Noise, and the logarithm of the determinant as one more column."""
        z, ladj = self.forward(self.module, x, c)
        return torch.cat([z, ladj.reshape(-1, 1)], 1)

    @torch.no_grad()
    def decode(self, z: torch.Tensor, c: Context) -> torch.Tensor:
        return self.inverse(self.module, z, c)


ZUKO = (
    lambda flow, x, c: flow(c).transform.call_and_ladj(x),
    lambda flow, z, c: flow(c).transform.inv(z),
)
NFLOWS = (lambda flow, x, c: flow(x, c), lambda flow, z, c: flow.inverse(z, c)[0])


class Case:
    """A flow, demanding rows, and its library's answers: float64, reordered, float32."""

    def __init__(self, peer: Peer, other: Any, rows: Any, plan: Plan, spread: Any) -> None:
        self.z, self.c = rows
        self.plan, self.spread = plan, spread
        self.single = Peer(peer.module, peer.forward, peer.inverse)
        self.double = Peer(copy.deepcopy(peer.module).double(), peer.forward, peer.inverse)
        self.reordered = Peer(other.double(), peer.forward, peer.inverse)
        self.x = self.double.decode(self.z, self.c)
        self.engine = Engine(plan, 1)

    def encoded(self, x: torch.Tensor, c: Context) -> torch.Tensor:
        z, ladj = self.engine.forward(x, c)
        return torch.cat([z, ladj[:, None]], 1)


def of_zuko(
    features: int, context: int, *, residual: bool = False, **options: Any
) -> tuple[Any, Plan]:
    shape = {"transforms": 3, "hidden_features": [40, 48], "bins": 8} | options
    shape |= {"features": features, "context": context}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        flow = bend(zuko.flows.NSF(**shape, residual=residual), features, context)
    return flow, compile_zuko(flow.state_dict(), **shape)


def zuko_case(features: int, context: int, **options: Any) -> Case:
    flow, plan = of_zuko(features, context, **options)
    rows = demanding_zuko_rows(flow, ROWS, features, context)

    def spread(x: torch.Tensor, c: Context) -> list[float]:
        double, found = copy.deepcopy(flow).double(), []
        for step in double.transform.transforms:
            found.append(zuko_spread(step, x, c))
            x = step(c)(x)
        return found

    return Case(Peer(flow, *ZUKO), shuffled_zuko(flow), rows, plan, spread)


def nflows_case(features: int, context: int | None, **options: Any) -> Case:
    flow = random_transform("coupling", features, context, hidden=40, **options)
    rows = demanding_rows(flow, ROWS, features, context)

    def spread(x: torch.Tensor, c: Context) -> list[float]:
        found = []
        for layer in copy.deepcopy(flow).double()._transforms:
            if hasattr(layer, "transform_net"):
                found.append(slope_spread(layer, x, c))
            x, _ = layer(x, c)
        return found

    plan = compile_transform(flow, features, context or 0)
    return Case(Peer(flow, *NFLOWS), shuffled(flow), rows, plan, spread)


CASES = {
    "zuko autoregressive": lambda: zuko_case(6, 3),
    "zuko autoregressive without context": lambda: zuko_case(5, 0, bins=10),
    "zuko coupling": lambda: zuko_case(7, 3, passes=2, slope=1e-2),
    "zuko residual": lambda: zuko_case(5, 3, residual=True, hidden_features=[40, 40]),
    "zuko residual coupling": lambda: zuko_case(
        6, 0, residual=True, hidden_features=[40], passes=2
    ),
    "coupling with norm": lambda: nflows_case(6, 3, batch_norm=True, blocks=3, bins=16),
    "coupling of many bins": lambda: nflows_case(4, 2, steps=4, bins=128, bound=1.0),
    "coupling without context": lambda: nflows_case(5, None, steps=4),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request) -> Case:
    return CASES[request.param]()


def errors(found: torch.Tensor, expected: torch.Tensor) -> np.ndarray:
    """Largest error of every row, on the scale 1 + |x|, at three quantiles."""
    expected = expected.numpy()
    relative = np.abs(found.double().numpy() - expected) / (1 + np.abs(expected))
    return np.quantile(relative.max(1), QUANTILES)


def float32(case: Case, *tensors: torch.Tensor) -> list[Context]:
    return [None if t is None else t.float() for t in (*tensors, case.c)]


def test_the_flows_bend_their_input_and_keep_its_size(case):
    ordinary = slice(1, None, 10)
    x = case.x[ordinary]
    spread = case.spread(x, None if case.c is None else case.c[ordinary])
    assert min(spread) >= 0.3
    assert max(spread) <= 0.7
    assert case.z[ordinary].std(0).min() >= 0.2
    assert case.z[ordinary].std(0).max() <= 5
    assert case.x.abs().max() >= 9


def test_double_precision_is_that_of_the_library(case):
    allowed = ORDER * errors(case.reordered.decode(case.z, case.c), case.x)
    found = errors(case.engine.inverse(case.z, case.c), case.x)
    assert (found <= np.maximum(ROUNDING, allowed)).all()
    encoded = case.double.encode(case.x, case.c)
    allowed = ORDER * errors(case.reordered.encode(case.x, case.c), encoded)
    found = errors(case.encoded(case.x, case.c), encoded)
    assert (found <= np.maximum(ROUNDING, allowed)).all()


def test_plain_torch_gives_the_same(case):
    plain = TorchFlow(case.plan, torch.float64)
    allowed = ORDER * errors(case.reordered.decode(case.z, case.c), case.x)
    assert (errors(plain.inverse(case.z, case.c), case.x) <= np.maximum(ROUNDING, allowed)).all()
    z, ladj = plain.forward(case.x, case.c)
    found = errors(torch.cat([z, ladj[:, None]], 1), case.double.encode(case.x, case.c))
    allowed = ORDER * errors(
        case.reordered.encode(case.x, case.c), case.double.encode(case.x, case.c)
    )
    assert (found <= np.maximum(ROUNDING, allowed)).all()


def test_single_precision_loses_no_more_than_the_library(case):
    z, c = float32(case, case.z)
    rough = errors(case.single.decode(z, c), case.x)
    assert (errors(case.engine.inverse(z, c), case.x) <= 2 * rough).all()
    x, c = float32(case, case.x)
    exact = case.double.encode(x.double(), case.c)
    rough = errors(case.single.encode(x, c), exact)
    assert (errors(case.encoded(x, c), exact) <= 2 * rough).all()


def test_round_trip_closes_as_well_as_that_of_the_library(case):
    x = case.engine.inverse(case.z, case.c)
    found = errors(case.engine.forward(x, case.c)[0], case.z)
    rough = errors(case.double.encode(case.x, case.c)[:, :-1], case.z)
    assert (found <= np.maximum(ROUNDING, ORDER * rough)).all()


def test_equal_rows_give_equal_bits_wherever_they_stand(case):
    z, c = float32(case, case.z)
    for result in (case.engine.inverse(z, c), *case.engine.forward(z, c)):
        assert torch.equal(result[6::10], result[5::10][: len(result[6::10])])


def test_broken_context_breaks_its_own_row(case):
    if case.c is None:
        pytest.skip("a flow without context")
    z, c = case.z[:100], case.c[:100].clone()
    fine = case.engine.inverse(z, c)
    for value in (torch.nan, torch.inf):
        c[7, 1] = value
        others = torch.arange(100) != 7
        found = case.engine.inverse(z, c)
        assert found[7].isnan().all()
        assert torch.equal(found[others], fine[others])
        assert case.engine.log_prob(z, c).isnan().nonzero().flatten().tolist() == [7]


def cut(rows: int, *tensors: Context) -> list[Context]:
    """Keep as many rows; of none the libraries themselves cannot make anything."""
    return [None if t is None else t[:rows] for t in tensors]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    features=st.integers(1, 64),
    context=st.integers(0, 4),
    hidden=st.lists(st.integers(1, 70), min_size=1, max_size=3),
    bins=st.integers(2, 9),
    passes=st.sampled_from([None, 2, 3]),
    transforms=st.integers(1, 2),
    rows=st.sampled_from([0, 1, ENOUGH]),
    seed=st.integers(0, 9),
)
def test_any_shape_of_zuko(features, context, hidden, bins, passes, transforms, rows, seed):
    torch.manual_seed(seed)
    shape = {"features": features, "context": context, "bins": bins, "passes": passes}
    shape |= {"transforms": transforms, "hidden_features": hidden}
    if features == 1:
        shape.pop("passes")
    if features == 1 and not context:
        shape.pop("hidden_features")
    flow = zuko.flows.NSF(**shape).double()
    plan = compile_zuko(flow.state_dict(), **{"hidden_features": hidden, **shape})
    x = torch.randn(ENOUGH, features, dtype=torch.float64)
    c = torch.randn(ENOUGH, context, dtype=torch.float64) if context else None
    with torch.no_grad():
        z, ladj = flow(c).transform.call_and_ladj(x)
    x, c, z, ladj = cut(rows, x, c, z, ladj.reshape(ENOUGH))
    engine = Engine(plan, 1)
    found, slopes = engine.forward(x, c)
    assert torch.allclose(found, z, rtol=FORTH, atol=FORTH)
    assert torch.allclose(slopes, ladj, rtol=FORTH, atol=FORTH)
    assert torch.allclose(engine.inverse(z, c), x, rtol=BACK, atol=BACK)
    assert torch.allclose(TorchFlow(plan, torch.float64).inverse(z, c), x, rtol=BACK, atol=BACK)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    features=st.integers(2, 64),
    context=st.one_of(st.none(), st.integers(1, 4)),
    hidden=st.integers(1, 70),
    blocks=st.integers(0, 3),
    batch_norm=st.booleans(),
    rows=st.sampled_from([0, 1, ENOUGH]),
    seed=st.integers(0, 9),
)
def test_any_shape_of_couplings(features, context, hidden, blocks, batch_norm, rows, seed):
    options = {"hidden": hidden, "blocks": blocks, "batch_norm": batch_norm, "bins": 5, "steps": 2}
    flow = random_transform("coupling", features, context, seed=seed, **options).double()
    engine = Engine(compile_transform(flow, features, context or 0), 1)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ENOUGH, features, generator=generator, dtype=torch.float64)
    c = None
    if context:
        c = torch.randn(ENOUGH, context, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        z, ladj = flow(x, c)
    x, c, z, ladj = cut(rows, x, c, z, ladj)
    found, slopes = engine.forward(x, c)
    assert torch.allclose(found, z, rtol=FORTH, atol=FORTH)
    assert torch.allclose(slopes, ladj, rtol=FORTH, atol=FORTH)
    assert torch.allclose(engine.inverse(z, c), x, rtol=BACK, atol=BACK)
