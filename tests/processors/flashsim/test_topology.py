from __future__ import annotations

import numpy as np
import pytest

from processors.flashsim.topology import event_quantities
from processors.jagged import Flat


def flat(counts: list[int], **columns: list[float]) -> Flat:
    return Flat(np.array(counts), {k: np.array(v, np.float32) for k, v in columns.items()})


def test_known_events_have_known_quantities() -> None:
    jets = flat(
        [3, 1], pt=[50, 40, 31, 20], eta=[0, 0, 3, 0], phi=[0, np.pi, 0, 0], mass=[0, 0, 0, 0]
    )
    muons = flat(
        [2, 2], pt=[45, 45, 20, 15], eta=[0, 0, 0, 0], phi=[0, np.pi, 0, 1], charge=[1, -1, 1, 1]
    )
    found = event_quantities(muons, jets)
    assert found["nJet"].tolist() == [3, 0]
    assert found["nMuon"].tolist() == [2, 2]
    assert found["ht"].tolist() == [90, 0]
    # back to back, massless: m^2 = 4 pt1 pt2
    assert found["mjj"][0] == pytest.approx(2 * np.sqrt(50 * 40), rel=1e-6)
    assert found["mmumu"][0] == pytest.approx(90, rel=1e-6)
    assert np.isnan(found["mjj"][1])
    assert np.isnan(found["mmumu"][1])
