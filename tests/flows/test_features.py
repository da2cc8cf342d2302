"""Chains of transforms: round trips, images, what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest

from flows.features import (
    Affine,
    AfterLight,
    Arctan,
    Arsinh,
    Chain,
    Clip,
    Dequantise,
    DifferenceTo,
    FromRounded,
    Log,
    Log1p,
    Logit,
    OneHot,
    QuantileNormal,
    RatioTo,
    ResponseAbove,
    Snap,
    Spike,
    Standardise,
    TransformError,
    WrapPhi,
    transform_from_dict,
)

ULP = 2.0**-23


def values(low: float, high: float, size: int = 30):
    return arrays(
        np.float32, size, elements=st.floats(low, high, width=32, allow_subnormal=False)
    ).map(torch.from_numpy)


def columns(name: str, low: float, high: float, size: int = 30):
    return values(low, high, size).map(lambda c: {name: c})


CONTINUOUS = [
    (Affine(2.5, -1.0), -1e4, 1e4),
    (Log(2.0, 1.0), 0.0, 1e6),
    (Log(), 2.0**-20, 1e6),
    (Log1p(3.0), 0.0, 1e6),
    (Arctan(50.0), -0.5, 0.5),
    (Arctan(10.0, 1.0), 0.0, 5.0),
    (Arsinh(0.02), -1e6, 1e6),
    (Logit(1e-6), 2.0**-10, 1 - 2.0**-10),
    (Standardise(3.0, 0.2), -1e4, 1e4),
    (QuantileNormal(4, (-2.0, 0.0, 0.1, 5.0), (-3.0, 0.0, 0.2, 3.0), (1.0, 2.0, 3.0, 0.2)), -9, 20),
]


@pytest.mark.parametrize(
    ("transform", "low", "high"), CONTINUOUS, ids=lambda v: getattr(v, "kind", "")
)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_continuous_maps_return_within_four_units_in_the_last_place(transform, low, high, data):
    x = data.draw(values(low, high))
    back, outside = Chain((transform,)).inverse(Chain((transform,)).forward(x))
    assert not outside.any()
    assert ((back - x).abs() <= 4 * ULP * x.abs().clamp(min=1e-6)).all()


@pytest.mark.parametrize(
    ("transform", "low", "high"), CONTINUOUS, ids=lambda v: getattr(v, "kind", "")
)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_continuous_maps_rise(transform, low, high, data):
    x = torch.sort(data.draw(values(low, high))).values.double()
    assert (transform.forward(x, {}).diff() >= 0).all()


@given(x=values(1.0, 500.0), c=columns("pt", 1.0, 500.0))
@settings(max_examples=40, deadline=None)
def test_relations_return(x, c):
    for transform in (RatioTo("pt"), DifferenceTo("pt")):
        chain = Chain((transform,))
        back, outside = chain.inverse(chain.forward(x, c), c)
        assert not outside.any()
        assert ((back - x).abs() <= 4 * ULP * torch.maximum(x, c["pt"])).all()


@given(x=values(-0.25, 0.25), c=columns("phi", -3.125, 3.125))
@settings(max_examples=60, deadline=None)
def test_differences_to_rounded_quantities_return(x, c):
    chain = Chain((FromRounded("phi", 8, 4e-4),))
    y = chain.forward(x, c)
    back, outside = chain.inverse(y, c)
    inside = y.abs() <= 600.0
    assert torch.equal(outside, ~inside)
    # where F is flat a step of the last bit in y is exp(h / tau) such steps in x: h / tau <= 10
    assert ((back - x).abs() <= 4 * ULP * x.abs() + 1e-9)[inside].all()


def test_rounding_of_the_reference_is_taken_out_in_every_octave():
    """Uniform rounding plus logistic resolution becomes logistic, whatever the step."""
    generator = torch.Generator().manual_seed(2)
    exact = torch.linspace(0.03, 3.99, 300_000, dtype=torch.float64)
    step = torch.ldexp(torch.ones_like(exact), torch.frexp(exact).exponent - 1 - 8)
    stored = (exact / step).round() * step
    uniform = torch.rand(len(exact), generator=generator, dtype=torch.float64)
    seen = exact + 4e-4 * torch.logit(uniform)
    y = FromRounded("phi", 8, 4e-4).forward(seen - stored, {"phi": stored})
    octave = torch.frexp(stored).exponent
    for e in octave.unique():
        rows = torch.sigmoid(y[octave == e]).numpy()
        # KS at a significance of 1e-4, and the share of values that were rounded to a power of two
        assert kstest(rows, "uniform").statistic < 2.2 / len(rows) ** 0.5 + 2.0**-9


@given(x=values(15.0, 3000.0), c=columns("pt", 0.5, 3000.0))
@settings(max_examples=60, deadline=None)
def test_response_above_returns_up_to_its_floor(x, c):
    transform = ResponseAbove("pt", 15.0, softness=5.0)
    response = transform.forward(x.double(), c)
    inside = (response >= transform.image.low) & (response <= transform.image.high)
    back, outside = Chain((transform,)).inverse(response, c)
    assert torch.equal(outside, ~inside)
    assert ((back - x).abs() <= transform.floor + 4 * ULP * x)[inside].all()
    assert (back > 15.0).all()


def test_response_above_tends_to_the_logarithm_of_the_response():
    x, c = torch.tensor([500.0]).double(), {"pt": torch.tensor([400.0]).double()}
    response = ResponseAbove("pt", 15.0).forward(x, c)
    assert math.isclose(float(response), math.log(485 / 385), rel_tol=1e-9)


@given(data=st.data(), low=st.integers(-5, 0), high=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_integers_return_exactly(data, low, high):
    x = data.draw(
        arrays(np.int64, 30, elements=st.integers(low, high)).map(torch.from_numpy)
    ).float()
    noise = data.draw(values(2.0**-24, 1 - 2.0**-24))
    chain = Chain((Dequantise(low, high), Standardise(1.0, 3.0)))
    spread = chain.forward(x, noise=noise)
    back, outside = chain.inverse(spread.float())
    assert torch.equal(back.float(), x)
    assert not outside.any()


@given(
    x=values(-3.0, 3.0),
    noise=values(2.0**-24, 1 - 2.0**-24),
    at=st.sampled_from([-10.0, 0.0, -0.1]),
)
@settings(max_examples=60, deadline=None)
def test_spikes_return_exactly_and_nothing_else_becomes_one(x, noise, at):
    x[::3] = at
    chain = Chain((Spike(at),)).fit(x)
    spread = chain.forward(x, noise=noise)
    back, outside = chain.inverse(spread)
    assert torch.equal(back.float(), x)
    assert not outside.any()
    peak = x == torch.tensor(at)
    if not bool(peak.all()):
        assert spread[peak].max() < spread[~peak].min()


def test_two_spikes_share_a_column():
    x = torch.tensor([-1.0, 0.0, 0.3, 0.7, -1.0, 0.0])
    chain = Chain((Spike(-1.0), Spike(0.0))).fit(x)
    assert torch.equal(chain.inverse(chain.forward(x, noise=torch.rand(6))).values.float(), x)


@given(x=values(-100.0, 100.0))
@settings(max_examples=40, deadline=None)
def test_wrapped_angles_differ_by_whole_turns(x):
    wrapped = WrapPhi().inverse(x.double(), {})
    assert ((wrapped >= -math.pi) & (wrapped < math.pi)).all()
    turns = (x.double() - wrapped) / (2 * math.pi)
    assert torch.allclose(turns, turns.round(), atol=1e-12)
    assert torch.equal(WrapPhi().inverse(wrapped, {}), wrapped)


def test_snap_and_clip_are_projections():
    snap = Snap((0.0, 4.0, 6.0, 7.0))
    x = torch.tensor([-3.0, 1.9, 2.1, 5.2, 9.0])
    assert snap.inverse(x, {}).tolist() == [0.0, 0.0, 4.0, 6.0, 7.0]
    clip = Chain((Clip(0.0, 1.0),))
    back, outside = clip.inverse(torch.tensor([-0.1, 0.5, 1.1]))
    assert back.tolist() == [0.0, 0.5, 1.0]
    assert outside.tolist() == [True, False, True]


def test_one_hot_returns_and_shows_the_unknown_as_zeros():
    hot = Chain((OneHot((0.0, 4.0, 5.0)),))
    x = torch.tensor([5.0, 0.0, 4.0])
    assert hot.width == 3
    assert torch.equal(hot.inverse(hot.forward(x)).values, x.double())
    assert hot.forward(torch.tensor([21.0])).sum() == 0


def test_arctan_near_its_pole_is_clipped_instead_of_changing_sign():
    chain = Chain((Arctan(50.0),))
    inside = chain.forward(torch.tensor([19.9]))
    assert math.isclose(float(chain.inverse(inside).values), 19.9, rel_tol=1e-6)
    beyond = torch.tensor([math.pi / 2 + 1e-3, -math.pi / 2 - 1e-3])
    values, outside = chain.inverse(beyond)
    assert outside.all()
    assert values[0] > 0 > values[1]


@pytest.mark.parametrize("transform", [Log(), Log1p(), Logit(), Arctan(), QuantileNormal(16)])
def test_anything_can_be_inverted_and_what_left_the_image_is_marked(transform):
    fitted = Chain((transform,)).fit(torch.rand(500))
    wild = torch.tensor([-1e30, -200.0, 0.0, 200.0, 1e30])
    back, outside = fitted.inverse(wild)
    assert torch.isfinite(back).all()
    assert outside.tolist() == [True, True, False, True, True]
    assert fitted.inverse(torch.tensor([math.nan])).outside.all()


def test_missing_values_stay_missing():
    assert torch.isnan(Chain((Affine(2.0),)).inverse(torch.tensor([math.nan])).values).all()


@pytest.mark.parametrize(
    "sample",
    [
        lambda r, n: r.beta(0.3, 0.3, n),
        lambda r, n: r.exponential(1.0, n),
        lambda r, n: r.standard_t(3, n),
        lambda r, n: np.where(r.random(n) < 0.5, r.normal(-3, 0.1, n), r.normal(3, 1.0, n)),
        lambda r, n: np.round(r.exponential(1.0, n), 2),
    ],
)
def test_quantiles_become_normal(sample):
    rng = np.random.default_rng(0)
    fitted = QuantileNormal().fit(torch.from_numpy(sample(rng, 40_000)), {})
    fresh = torch.from_numpy(sample(rng, 40_000))
    normal = fitted.forward(fresh, {})
    assert kstest(normal.numpy(), "norm").statistic < 0.02
    assert torch.allclose(fitted.inverse(normal, {}), fresh, atol=1e-9)


def test_quantiles_have_a_continuous_slope():
    x = torch.from_numpy(np.random.default_rng(1).gamma(1.5, 1.0, 20_000))
    fitted = QuantileNormal(24).fit(x, {})
    knots = torch.tensor(fitted.values, dtype=torch.float64)
    step = 1e-7

    def slope(at):
        return (fitted.forward(at + step, {}) - fitted.forward(at, {})) / step

    assert torch.allclose(slope(knots), slope(knots - step), rtol=1e-3)


def test_a_constant_column_survives():
    x = torch.full((100,), 0.1057)
    for transform in (QuantileNormal(), Standardise()):
        chain = Chain((transform,)).fit(x)
        assert torch.equal(chain.inverse(chain.forward(x)).values.float(), x)


def test_every_transform_survives_json():
    x = torch.rand(200)
    chains = [Chain((t,)).fit(x) for t, _, _ in CONTINUOUS]
    chains += [
        Chain((t,))
        for t in (RatioTo("a"), DifferenceTo("b"), FromRounded("d"), ResponseAbove("c"), WrapPhi())
    ]
    chains += [Chain((t,)).fit(x.round()) for t in (Dequantise(), Spike(), Clip())]
    chains += [Chain((Snap((1.0, 2.0)),)), Chain((OneHot((1.0, 2.0)),))]
    for chain in chains:
        assert Chain.from_list(json.loads(json.dumps(chain.to_list()))) == chain


def test_what_cannot_work_is_refused():
    for make in (
        lambda: Affine(0.0),
        lambda: Clip(1.0, 0.0),
        lambda: OneHot(()),
        lambda: Snap((1.0, 1.0)),
        lambda: QuantileNormal(2),
        lambda: QuantileNormal(4, (0.0, 0.0), (0.0, 1.0), (1.0, 1.0)),
        lambda: Logit(0.7),
        lambda: Arsinh(0.0),
        lambda: ResponseAbove("pt", softness=0.0),
        lambda: FromRounded("phi", resolution=0.0),
        lambda: Chain((OneHot((0.0, 1.0)), Standardise())),
        lambda: Standardise().fit(torch.tensor([math.nan]), {}),
        lambda: Dequantise().fit(torch.tensor([0.5]), {}),
        lambda: Standardise().forward(torch.ones(1), {}),
        lambda: RatioTo("pt").forward(torch.ones(1), {}),
        lambda: transform_from_dict({"kind": "log2"}),
        lambda: transform_from_dict({"kind": "log", "scale": 1.0}),
    ):
        with pytest.raises(TransformError):
            make()


def tracks(n: int = 400) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    z, theta, p = torch.rand(3, n, generator=rng, dtype=torch.float64)
    return {"z": 1505 * z - 735, "theta": 0.5 + 179 * theta, "p": 0.1 * 100**p}


def test_first_light_is_the_least_of_all_points_of_the_track():
    given = tracks()
    bar = AfterLight(depth=5.0, thickness=10.0)
    theta, beta = torch.deg2rad(given["theta"]), given["p"] / torch.hypot(given["p"], _mass(given))
    z = given["z"] - 5.0 / torch.tan(theta)
    end = torch.where(theta < math.pi / 2, 770.0, -735.0)
    length = torch.minimum(10.0 / torch.sin(theta), ((end - z) / torch.cos(theta)).clamp(min=0))
    way = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None] * length
    light = (770.0 - z - way * torch.cos(theta)).clamp(min=0) * 1.58 / 299.792458
    arrivals = way / (299.792458 * beta) + light
    assert torch.allclose(bar.first_light(given), arrivals.min(0).values, atol=1e-9)


def _mass(given):
    return torch.full_like(given["p"], 0.1056583755)


def test_times_behind_the_first_light_come_back_repeated_or_not():
    given, counts = tracks(), torch.arange(400) % 7
    bar, x = AfterLight(depth=5.0), torch.rand(int(counts.sum()), dtype=torch.float64)
    each = {n: torch.repeat_interleave(v, counts) for n, v in given.items()}
    chain = Chain((bar, Arsinh(0.02)))
    y = chain.forward(x, each)
    assert torch.allclose(chain.inverse(y, each).values, x, atol=1e-12)
    assert chain.inverse(y, given, counts).values.equal(chain.inverse(y, each).values)


def test_repeated_conditions_reach_every_map():
    counts = torch.tensor([0, 2, 1])
    given = {"pt": torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)}
    back = Chain((RatioTo("pt"),)).inverse(torch.ones(3), given, counts).values
    assert back.tolist() == [2.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "wrong", [{"low": 800.0}, {"thickness": 0.0}, {"index": 0.9}, {"depth": math.nan}]
)
def test_bars_that_are_none_are_refused(wrong):
    with pytest.raises(TransformError, match="after-light"):
        AfterLight(**wrong)
