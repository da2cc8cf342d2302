"""Where particles leave their bar, and who is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flows.features import AfterLight
from processors.timing.conditions import CONTEXT, EXIT, FURTHER, along, conditions
from samples.timing.bar import Bar
from samples.timing.muons import Gun, cross, shoot

NAMES = (*CONTEXT, *FURTHER)


def definitions(depth: float) -> dict[str, float]:
    return {
        "lever_arm_mm": 1.0 + depth,
        "gap_mm": 1.0,
        "thickness_mm": 10.0,
        "bar_low_mm": -735.0,
        "bar_high_mm": 770.0,
    }


@pytest.mark.parametrize("depth", [0.0, 5.0])
def test_muons_leave_where_the_sample_says(depth):
    rng = np.random.default_rng(1)
    muons = shoot(Gun(theta=(0.5, 179.5)), Bar(), 5_000, rng)
    track = cross(muons, Bar(), rng)
    theta = muons.theta[track.muon]
    leaves = track.z + track.length * np.cos(theta)
    assert np.mean(leaves == Bar().high) > 0.001
    z = track.z + depth / np.tan(theta)
    context = np.stack([z, np.degrees(theta), track.momentum], axis=1)
    given = conditions(context, NAMES, definitions(depth))
    assert np.array_equal(given[:, :3], context)
    # degrees and radians round: a mm is 1e-13 of the way along a bar at the smallest angle
    assert given[:, 3] == pytest.approx(leaves, abs=1e-6)


def test_the_other_sensor_sees_the_mirror_image():
    context = np.array([[-400.0, 3.0, 5.0], [769.0, 0.5, 1.0], [0.0, 90.0, 1.0]])
    mirrored = context * [-1, -1, 1] + [35.0, 180.0, 0.0]
    one = conditions(context, NAMES, definitions(0.0))[:, 3]
    other = conditions(mirrored, NAMES, definitions(0.0))[:, 3]
    assert other == pytest.approx(35.0 - one, abs=1e-9)


def test_first_light_comes_from_the_entrance_or_the_exit():
    """The formula of the times and that of the exit mean the same track."""
    rng = np.random.default_rng(2)
    z, theta, p = rng.uniform([[-735], [0.3], [5]], [[770], [60], [10]], (3, 1_000))
    context = np.stack([z, theta, p], axis=1)
    leaves = conditions(context, NAMES, definitions(0.0))[:, 3]
    given = {name: torch.from_numpy(column) for name, column in zip(CONTEXT, context.T)}
    first = AfterLight(depth=0.0).first_light(given).numpy()
    speed = 299.792458 * p / np.hypot(p, AfterLight().mass)
    way = (leaves - z) / np.cos(np.radians(theta)) / speed
    light = 1.58 / 299.792458
    entrance, exit_ = (770.0 - z) * light, (770.0 - leaves) * light + way
    assert first == pytest.approx(np.minimum(entrance, exit_), abs=1e-9)
    spread = conditions(context, NAMES, definitions(0.0))[:, 4]
    assert spread == pytest.approx(exit_ - entrance, abs=1e-9)
    assert np.sum(spread < 0) > 10
    assert np.sum(spread > 0) > 10


def test_tracks_exactly_along_the_bar_leave_at_its_ends():
    context = np.array([[100.0, 0.0, 2.0], [100.0, 180.0, 2.0]])
    exits, spread = conditions(context, NAMES, definitions(0.0)).T[3:]
    assert exits.tolist() == [770.0, -735.0]
    slowness = np.hypot(2.0, AfterLight.mass) / 2.0 - AfterLight.index * np.array([1.0, -1.0])
    assert spread == pytest.approx(np.array([670.0, 835.0]) * slowness / 299.792458, rel=1e-9)


@pytest.mark.parametrize("theta", [0.0, 180.0])
def test_no_depth_is_no_way_along_the_bar_at_any_angle(theta):
    assert along(np.array([theta]), 0.0) == 0.0
    assert np.isfinite(along(np.array([theta]), 5.0))


def test_models_that_know_no_exit_get_none_and_others_must_know_their_bar():
    context = np.ones((2, 2, 3))
    assert conditions(context, CONTEXT, {}) is context
    assert conditions(context, NAMES, definitions(0.0)).shape == (2, 2, 5)
    alone = conditions(context, (*CONTEXT, EXIT), definitions(0.0))
    assert np.array_equal(alone, conditions(context, NAMES, definitions(0.0))[..., :4])
    with pytest.raises(ValueError, match="must define gap_mm, thickness_mm"):
        conditions(context, NAMES, {"lever_arm_mm": 1.0})
