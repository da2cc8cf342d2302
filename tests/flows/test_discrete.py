"""Steps and peaks at zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flows.features import (
    Chain,
    Log,
    Snap,
    Steps,
    TransformError,
    ZeroPeak,
    transform_from_dict,
)


def test_steps_lie_at_their_edges_and_keep_nan():
    steps = Steps((0.0, 2.5), (-1.0, 1.0, 6.0))
    y = torch.tensor([-3.0, -1e-9, 0.0, 2.4, 2.5, 9.0, torch.nan], dtype=torch.float64)
    found = steps.inverse(y, {})
    assert found[:6].tolist() == [-1.0, -1.0, 1.0, 1.0, 6.0, 6.0]
    assert found[6].isnan()
    assert steps.forward(y[:6], {}).equal(y[:6])
    assert transform_from_dict(steps.to_dict()) == steps


@pytest.mark.parametrize(
    "arguments", [((1.0,), (1.0,)), ((2.0, 1.0), (1.0, 2.0, 3.0)), ((), ()), ((1.0,), (1.0, 1.0))]
)
def test_steps_need_rising_edges_and_distinct_values(arguments):
    with pytest.raises(TransformError):
        Steps(*arguments)


@given(uniform=st.floats(0, 1, exclude_min=True, exclude_max=True), value=st.floats(0, 1e3))
def test_zeros_come_back_exactly_and_the_rest_in_place(uniform, value):
    chain = Chain((ZeroPeak(0.05, 0.98), Log(1.0, 1e-3)))
    x = torch.tensor([0.0, value, -1.0], dtype=torch.float64)
    noise = torch.full((3,), uniform, dtype=torch.float64)
    back, outside = chain.inverse(chain.forward(x, {}, noise))
    assert not outside.any()
    assert back[0] == 0 == back[2]
    # the shift is added and taken off: an ulp of it, and of the value through the logarithm
    assert abs(float(back[1]) - value) <= 1e-12 * (1 + value)


def test_the_triangle_falls_from_zero_to_its_share_of_the_shift():
    peak = ZeroPeak(1.0, 0.8)
    uniform = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    made = peak.forward(torch.zeros_like(uniform), {}, uniform)
    assert made.min() == 0
    assert made.max() == 0.8
    # mean of a triangle with its mode at the lower end: a third of its width
    assert abs(float(made.mean()) - 0.8 / 3) < 1e-5
    with pytest.raises(TransformError):
        ZeroPeak(0.0)
    with pytest.raises(TransformError):
        ZeroPeak(1.0, 1.5)


def test_snapping_keeps_what_is_not_a_number():
    values, snap = torch.tensor([0.2, math.nan, 7.0], dtype=torch.float64), Snap((0.0, 1.0))
    column = values.numpy().copy()
    snap.inverse_in_place(column, {})
    for back in (snap.inverse(values, {}).numpy(), column):
        assert np.array_equal(back, [0.0, np.nan, 1.0], equal_nan=True)
