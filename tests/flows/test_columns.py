"""Columns of a layout through compiled passes: the same as through plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.columns import ArrayColumns, TensorColumns
from flows.features import (
    Affine,
    Arctan,
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
    WrapPhi,
)
from flows.layout import CategoryColumn, ConditionColumn, ObjectLayout, TargetColumn

LAST_PLACES = 64 * 2.0**-52
"""Two libraries' functions differ by 4 units in the last place; tan, exp and a difference to a
condition multiply that by up to 16 in the ranges below."""
ROWS = 300

MAPS = [
    (Affine(2.5, -1.0), -50.0, 50.0),
    (Standardise(3.0, 0.2), -50.0, 50.0),
    (Log(2.0, 1.0), 0.0, 50.0),
    (Log1p(3.0), 0.0, 50.0),
    (Arctan(0.5, 1.0), -5.0, 5.0),
    (Logit(1e-3), 0.002, 0.998),
    (Clip(-1.0, 1.0), -2.0, 2.0),
    (QuantileNormal(4, (-2.0, 0.0, 0.1, 5.0), (-3.0, 0.0, 0.2, 3.0), (1.0, 2.0, 3.0, 0.2)), -9, 20),
    (ResponseAbove("pt", 15.0, 5.0), 16.0, 90.0),
    (RatioTo("pt"), 1.0, 50.0),
    (DifferenceTo("pt"), 1.0, 50.0),
    (FromRounded("pt", 8, 0.5), 1.0, 50.0),
    (WrapPhi(), -6.0, 6.0),
    (Dequantise(0, 7), 0.0, 7.0),
    (Spike(0.0, 0.1, 1.0, 0.5), 0.0, 3.0),
    (Snap((0.0, 1.0, 4.0)), 0.0, 4.0),
]


@pytest.mark.parametrize(("transform", "low", "high"), MAPS, ids=lambda v: getattr(v, "kind", ""))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_maps_in_place_are_those_of_torch(transform, low, high, seed):
    draw = np.random.default_rng(seed)
    x = draw.uniform(low, high, ROWS)
    pt = {"pt": draw.uniform(16.0, 60.0, ROWS)}
    tensors = {"pt": torch.from_numpy(pt["pt"])}
    forward = transform.forward(torch.from_numpy(x), tensors).numpy()
    for function, start, expected in (
        (transform.forward_in_place, x, forward),
        (
            transform.inverse_in_place,
            forward,
            transform.inverse(torch.from_numpy(forward), tensors).numpy(),
        ),
    ):
        values = start.copy()
        function(values, pt)
        scale = 1 + np.abs(expected) + np.abs(pt["pt"])
        assert (np.abs(values - expected) <= LAST_PLACES * scale).all()


@pytest.fixture
def layout() -> ObjectLayout:
    knots = QuantileNormal(4, (-2.0, 0.0, 0.1, 5.0), (-3.0, 0.0, 0.2, 3.0), (1.0, 2.0, 3.0, 0.2))
    return ObjectLayout(
        "jet",
        "Jet",
        "GenJet",
        conditions=(
            ConditionColumn("pt", "GeV", (Log(), Standardise(3.0, 1.0))),
            ConditionColumn("flavour", "1", (OneHot((0.0, 4.0, 5.0)),)),
            ConditionColumn("eta"),
        ),
        categories=(CategoryColumn("id", (0, 2, 6)),),
        targets=(
            TargetColumn("pt", "GeV", (ResponseAbove("pt", 15.0, 5.0), knots)),
            TargetColumn("btag", "1", (Logit(), knots), spikes=(-1.0, 0.0)),
            TargetColumn("eta", "1", (DifferenceTo("eta"), Arctan(2.0))),
            TargetColumn("iso", "1", (Log(),), spikes=(0.0,)),
        ),
    )


@pytest.fixture
def rows() -> dict[str, torch.Tensor]:
    pt = torch.rand(ROWS) * 100 + 16
    flavour = torch.tensor([0.0, 4.0, 5.0, 7.0])[torch.randint(4, (ROWS,))]
    latent = torch.randn(ROWS, 4)
    latent[:4] = torch.tensor([12.0, -12.0, torch.nan, torch.inf])[:, None]
    codes = torch.stack([torch.randint(n, (ROWS,)) for n in (3, 3, 2)], 1)
    conditions = torch.stack([pt, flavour, torch.randn(ROWS)], 1)
    return {"latent": latent, "conditions": conditions, "codes": codes}


def test_features_are_those_of_torch(layout, rows):
    compiled = ArrayColumns(layout).features(rows["conditions"])
    plain = TensorColumns(layout).features(rows["conditions"])
    assert compiled.shape == (ROWS, 5)
    assert compiled.dtype == torch.float32
    # both round one float64 result to float32: half a unit in the last place, or the next number
    assert torch.allclose(compiled, plain, rtol=2.0**-23, atol=0.0)


def test_targets_spikes_and_marks_are_those_of_torch(layout, rows):
    compiled = ArrayColumns(layout).to_physics(**rows)
    plain = TensorColumns(layout).to_physics(**rows)
    assert torch.equal(compiled.codes, plain.codes)
    assert torch.equal(compiled.outside, plain.outside)
    assert torch.equal(compiled.broken, plain.broken)
    assert compiled.outside.any()
    assert compiled.broken.any()
    assert not (compiled.outside | compiled.broken).all()
    # one unit in the last place of the larger of value and condition, which cancel in eta
    scale = 1 + rows["conditions"][:, [2]].abs() + plain.targets.abs()
    close = (compiled.targets - plain.targets).abs() <= 2.0**-23 * scale
    assert (close | plain.targets.isnan()).all()
    assert torch.equal(compiled.targets.isnan(), plain.targets.isnan())


def test_a_spike_is_not_marked_by_what_the_flow_made_of_it(layout, rows):
    rows["codes"][:, 1:] = 1
    rows["latent"][:, [1, 3]] = 1e6
    rows["latent"][:, [0, 2]] = 0.1
    drawn = ArrayColumns(layout).to_physics(**rows)
    assert not drawn.outside.any()
    assert (drawn.targets[:, 1] == -1.0).all()
    assert (drawn.targets[:, 3] == 0.0).all()
