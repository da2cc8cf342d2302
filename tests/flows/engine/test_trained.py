"""Trained weights: flows of zuko and nflows after some hundred steps, and the shipped ones.

Random weights bend everything a little; training makes some slopes steep, some bins narrow, and
leaves others as they began.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import zuko
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow

from flows.bundle import Bundle
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_plan import compile_plan
from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Plan
from flows.engine.testing import demanding_data, random_transform, shuffled
from flows.engine.testing_zuko import shuffled_zuko
from flows.objectmodel import ObjectModel

ROWS = 10_000
STEPS, BATCH, RATE = 150, 256, 5e-3
ROUNDING = 1e-12
"""Of float64 results, on the scale 1 + |x|: some thousand sums of rounding 1e-16."""
ORDER = 10
"""Times the peer's difference from itself with its sums in another order: as good as equal."""
QUANTILES = (0.5, 0.999, 1.0)
FEATURES, CONTEXT = 4, 2
ULP = 2.0**-24
UNSETTLED = 1e-4
"""Change by one rounding of the noise from which on the error of one row is chance: where training
left a bin nearly flat every rounding is multiplied by a thousand, ours and the peer's alike."""


class Trained(NamedTuple):
    """A flow, its library's two ways, the same flow reordered, its plan."""

    flow: Any
    encode: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    decode: Callable[..., torch.Tensor]
    reordered: Any
    plan: Plan


def toy(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rings whose radius follows the context, a mixture of two peaks, a skewed column."""
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(rows, CONTEXT, generator=generator)
    noise = torch.randn(rows, FEATURES, generator=generator)
    angle = 2 * np.pi * torch.rand(rows, generator=generator)
    radius = 1 + 0.3 * torch.tanh(c[:, 0]) + 0.1 * noise[:, 0]
    peaks = torch.sign(noise[:, 1]) + 0.2 * noise[:, 2] + 0.3 * c[:, 1]
    skewed = torch.exp(0.5 * noise[:, 3]) - 1
    return torch.stack([radius * angle.cos(), radius * angle.sin(), peaks, skewed], 1), c


def fit(parameters: Any, loss: Callable[..., torch.Tensor]) -> None:
    optimiser = torch.optim.Adam(parameters, RATE)
    for step in range(STEPS):
        optimiser.zero_grad()
        loss(*toy(BATCH, step)).backward()
        optimiser.step()


def of_zuko(passes: int | None) -> Trained:
    shape = {"features": FEATURES, "context": CONTEXT, "transforms": 2, "bins": 8}
    shape |= {"hidden_features": [32, 32], "passes": passes}
    flow = zuko.flows.NSF(**shape)
    fit(flow.parameters(), lambda x, c: -flow(c).log_prob(x).mean())
    return Trained(
        flow,
        lambda f, x, c: f(c).transform.call_and_ladj(x),
        lambda f, z, c: f(c).transform.inv(z),
        shuffled_zuko(flow),
        compile_zuko(flow.state_dict(), **shape),
    )


def of_nflows(kind: str, *, batch_norm: bool) -> Trained:
    transform = random_transform(
        kind, FEATURES, CONTEXT, steps=2, hidden=32, bins=8, batch_norm=batch_norm
    )
    flow = Flow(transform, StandardNormal([FEATURES]))
    for module in transform.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.1
    flow.train()
    fit(flow.parameters(), lambda x, c: -flow.log_prob(x, c).mean())
    flow.eval()
    return Trained(
        transform,
        lambda f, x, c: f(x, c),
        lambda f, z, c: f.inverse(z, c)[0],
        shuffled(transform),
        compile_transform(transform, FEATURES, CONTEXT),
    )


FLOWS = {
    "zuko autoregressive": lambda: of_zuko(None),
    "zuko coupling": lambda: of_zuko(2),
    "masked affine": lambda: of_nflows("affine", batch_norm=True),
    "masked spline": lambda: of_nflows("spline", batch_norm=False),
    "coupling": lambda: of_nflows("coupling", batch_norm=True),
}


@pytest.fixture(scope="module", params=list(FLOWS))
def trained(request) -> Trained:
    torch.manual_seed(1)
    return FLOWS[request.param]()


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Toy data, tenths of it at ± 10, repeated, with a context far out; exact in float32."""
    far, c = demanding_data(ROWS, FEATURES, CONTEXT, 3)
    x, ordinary = toy(ROWS, -1)
    x[::10, -1], x[6::10] = far[::10, -1], x[5::10]
    ordinary[3::10], ordinary[6::10] = c[3::10], ordinary[5::10]
    return x.double(), ordinary.double()


def errors(found: torch.Tensor, expected: torch.Tensor) -> np.ndarray:
    """Largest error of every row, on the scale 1 + |x|, at three quantiles."""
    relative = (found.double() - expected).abs() / (1 + expected.abs())
    return np.quantile(relative.amax(1).numpy(), QUANTILES)


@torch.no_grad()
def test_trained_flows_are_those_of_their_library(trained):
    x, c = rows()
    engine, double = Engine(trained.plan, 1), copy.deepcopy(trained.flow).double()
    other = trained.reordered.double()

    def joined(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.cat([pair[0], pair[1].reshape(-1, 1)], 1)

    z = joined(trained.encode(double, x, c))
    allowed = ORDER * errors(joined(trained.encode(other, x, c)), z)
    assert (errors(joined(engine.forward(x, c)), z) <= np.maximum(ROUNDING, allowed)).all()
    noise = z[:, :-1].float().double()
    back = trained.decode(double, noise, c)
    allowed = ORDER * errors(trained.decode(other, noise, c), back)
    found = engine.inverse(noise, c)
    assert (errors(found, back) <= np.maximum(ROUNDING, allowed)).all()
    rough = errors(trained.encode(double, back, c)[0], noise)
    closed = errors(engine.forward(found, c)[0], noise)
    assert (closed <= np.maximum(ROUNDING, ORDER * rough)).all()
    theirs = trained.decode(trained.flow, noise.float(), c.float())
    ours = engine.inverse(noise.float(), c.float())
    assert (errors(ours, back)[:2] <= 2 * errors(theirs, back)[:2]).all()
    moved = trained.decode(double, noise * (1 + ULP), c)
    settled = ((moved - back).abs() / (1 + back.abs())).amax(1) < UNSETTLED
    assert settled.double().mean() > 0.99
    rough = errors(theirs[settled], back[settled])
    assert (errors(ours[settled], back[settled]) <= [2, 2, 4] * rough).all()
    rough = errors(joined(trained.encode(trained.flow, x.float(), c.float())), z)
    # a maximum is the rounding of one row, another one on either side: it scatters more
    assert (errors(joined(engine.forward(x.float(), c.float())), z) <= [2, 2, 4] * rough).all()


@pytest.mark.parametrize("name", ["jet", "muon"])
@torch.no_grad()
def test_shipped_flows_are_those_of_their_modules(repository, name):
    """Contexts are normal numbers, tenths far out: nearly all of them unlike those of training."""
    bundle = Bundle.load(repository / "processors" / "bundles" / name)
    flow = ObjectModel.from_bundle(bundle).flow
    engine = Engine(compile_plan(flow), 1)
    data, c = demanding_data(400, flow.spec.features, flow.spec.context, 3)
    double = copy.deepcopy(flow).double()
    z, ladj = double.to_noise(data.double(), c.double())
    found, slopes = engine.forward(data.double(), c.double())
    # 1e-13 of sums in another order through trained slopes, some of them 1e2 per layer
    assert torch.allclose(found, z, rtol=1e-9, atol=1e-9)
    assert torch.allclose(slopes, ladj, rtol=1e-9, atol=1e-9)
    noise = z.float()
    exact = double.from_noise(noise.double(), c.double())
    rough = errors(flow.from_noise(noise, c), exact)
    assert (errors(engine.inverse(noise, c), exact) <= 2 * rough).all()
