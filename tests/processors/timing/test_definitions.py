"""Where z lies behind the entrance of a bar, wherever the gun stood."""

from __future__ import annotations

import numpy as np
import pytest

from processors.errors import InputError
from processors.timing.definitions import carried
from processors.timing.tables import PhotonTable

NEAR = {"lever_arm_mm": 1.0, "gap_mm": 1.0}
FAR = {"lever_arm_mm": 20.0, "gap_mm": 20.0}


def photons(theta):
    rows, one = np.zeros(len(theta)), np.ones(len(theta), dtype=np.int64)
    columns = dict.fromkeys(("z", "p", "hit_time", "energy"), rows)
    return PhotonTable(theta=theta, number=one, kept=one, muon=one, time=rows, **columns)


@pytest.mark.parametrize(
    ("found", "wanted", "depth"),
    [
        (NEAR, FAR, 0.0),
        (FAR, NEAR | {"lever_arm_mm": 6.0}, 5.0),
        # imported models do not say where the gun stood: 1 mm before the bar
        (NEAR, {"lever_arm_mm": 6.0}, 5.0),
        ({"lever_arm_mm": 6.0}, FAR, -5.0),
    ],
)
def test_z_is_carried_from_depth_to_depth(found, wanted, depth):
    theta = np.array([20.0, 90.0, 135.0])
    table = carried(photons(theta), found, wanted)
    assert table.z == pytest.approx(depth / np.tan(np.radians(theta)), abs=1e-12)


@pytest.mark.parametrize("wanted", [NEAR, FAR, {"lever_arm_mm": 6.0}])
def test_muons_along_the_bar_are_refused(wanted):
    with pytest.raises(InputError, match="2 of 3 muons run along the bar"):
        carried(photons(np.array([0.0, 90.0, 180.0])), NEAR, wanted)
