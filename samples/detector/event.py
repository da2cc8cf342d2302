"""Hidden state of each event: what every object shares, what no condition tells."""

from __future__ import annotations

from typing import NamedTuple

import awkward as ak
import numpy as np

from samples.detector.shapes import expit, lognormal
from samples.pileup import BEAM_SPOT_XY

__all__ = ["EventState", "event_state"]

# All chosen, to give the multiplicities of the v12 ttbar file (nPU 36 -> npvs 30, npvsGood 27).
VERTEX_EFFICIENCY = 0.86  # of an isolated pile-up vertex
VERTEX_MERGING = 0.0013  # efficiency lost per pile-up vertex
GOOD_VERTEX_FRACTION = 0.91
VERTEX_SIGMA_CM = 0.0006  # transverse resolution at 100 GeV of charged pt
VERTEX_SIGMA_POWER = -0.15
VERTEX_SIGMA_SPREAD = 0.3
VERTEX_Z_OVER_XY = 1.4
WRONG_VERTEX_FLOOR = 0.0008  # however hard the collision: split and merged vertices
WRONG_VERTEX_MAX = 0.25  # probability without any hard track
WRONG_VERTEX_PT_GEV = 15.0
WRONG_VERTEX_SLOPE = 0.22
WRONG_VERTEX_Z_CM = 4.9  # sqrt(2) times the luminous region, 3.5 cm
RHO_SPREAD = 0.09
RHO_UNDERLYING_GEV = 1.2
OUT_OF_TIME_BUNCHES = 12.0  # bunch crossings summed in sumEOOT, per true interaction
LEAK_BASE, LEAK_DENSITY = 0.05, 0.10  # charged pile-up assigned to the first vertex
LEAK_SHAPE = 3.0


class EventState(NamedTuple):
    """One number per event, shape ``(events,)``; lengths in cm, energies in GeV."""

    npu: np.ndarray
    npvs: np.ndarray
    npvs_good: np.ndarray
    pv: np.ndarray  # (events, 3) reconstructed vertex
    pv_shift: np.ndarray  # (events, 3) reconstructed minus true vertex
    beam_shift: np.ndarray  # (events, 2) true vertex minus beam spot
    rho: np.ndarray
    charged_leak: np.ndarray  # fraction of charged pile-up that stays in jets and cones
    calo_noise: np.ndarray  # relative strength of out-of-time deposits, about 1


def event_state(truth: ak.Array, rng: np.random.Generator) -> EventState:
    """Draw the hidden state of every event of a batch."""
    n = len(truth)
    pileup = {name: ak.to_numpy(truth["Pileup", name]) for name in truth["Pileup"].fields}
    npu = pileup["nPU"].astype(np.int64)
    efficiency = VERTEX_EFFICIENCY - VERTEX_MERGING * npu
    npvs = 1 + rng.binomial(npu, np.clip(efficiency, 0.3, 1.0))
    npvs_good = 1 + rng.binomial(npvs - 1, GOOD_VERTEX_FRACTION)
    jets = truth["GenJet"]
    tracks = jets["chargedFraction"] + jets["muonFraction"] + jets["electronFraction"]
    hard = ak.to_numpy(ak.sum(jets["pt"] * tracks, axis=1)) + 1.0
    sigma = VERTEX_SIGMA_CM * (hard / 100.0) ** VERTEX_SIGMA_POWER
    sigma = sigma * lognormal(rng, VERTEX_SIGMA_SPREAD, n)
    shift = rng.standard_normal((n, 3)) * sigma[:, None]
    shift[:, 2] *= VERTEX_Z_OVER_XY
    odds = -np.log(hard / WRONG_VERTEX_PT_GEV) / WRONG_VERTEX_SLOPE
    wrong = rng.random(n) < WRONG_VERTEX_FLOOR + WRONG_VERTEX_MAX * expit(odds)
    shift[:, 2] += wrong * rng.normal(0.0, WRONG_VERTEX_Z_CM, n)
    true_vertex = np.column_stack([ak.to_numpy(truth["GenVtx", axis]) for axis in "xyz"])
    beam_shift = true_vertex[:, :2] - np.asarray(BEAM_SPOT_XY)
    rho = (ak.to_numpy(truth["rho_true"]) + RHO_UNDERLYING_GEV) * lognormal(rng, RHO_SPREAD, n)
    leak = LEAK_BASE + LEAK_DENSITY * pileup["gpudensity"]
    leak = leak * rng.gamma(LEAK_SHAPE, 1.0 / LEAK_SHAPE, n) + 0.005
    expected = OUT_OF_TIME_BUNCHES * np.maximum(pileup["nTrueInt"], 1.0)
    noise = lognormal(rng, 0.1, n) * (0.5 + 0.5 * np.clip(pileup["sumEOOT"] / expected, 0, 2))
    return EventState(
        npu, npvs, npvs_good, true_vertex + shift, shift, beam_shift, rho, leak, noise
    )
