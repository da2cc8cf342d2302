"""Reconstruction of muons: efficiency, track parameters, impact parameters."""

from __future__ import annotations

import numpy as np

from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, expit, lognormal, tailed
from samples.detector.tables import Flat, delta_phi, pair_up

__all__ = ["MUON_MASS_GEV", "MUON_PT_THRESHOLD_GEV", "reconstruct_muons"]

MUON_MASS_GEV = 0.1056583755  # PDG 2022
MUON_PT_THRESHOLD_GEV = 3.0  # NanoAOD

# Efficiency: threshold of the range-out, in total momentum (CMS-DP-2018; plateau from v12/v15).
PLATEAU = 0.988
RANGE_OUT_PT_GEV, RANGE_OUT_SLOPE = 3.4, 0.10  # barrel, in ln pt
ENDCAP_PT_GEV = 2.3
ETA_EDGE, ETA_EDGE_WIDTH = 2.42, 0.03
CRACK_ETA, CRACK_WIDTH, CRACK_LOSS = 0.25, 0.06, 0.05  # between the central wheels
CORE_LOSS, CORE_DR = 0.10, 0.03  # beside a hard jet axis
PILEUP_LOSS = 0.0004  # per pile-up interaction
FAKE_EFFICIENCY = 0.75

# (the widths of the turn-ons and the losses are chosen)

# Relative pt error: a (+) b pt, CMS tracker at 7 TeV, arXiv:1405.6569 figure 14, v12 medians.
ERROR_BARREL, ERROR_ENDCAP, ERROR_TURN, ERROR_WIDTH = 0.0085, 0.0150, 1.35, 0.25
ERROR_PER_GEV = 0.00016
ERROR_SPREAD = 0.12
RESOLUTION_TAIL_LOW, RESOLUTION_TAIL_HIGH = (1.5, 0.55), (1.6, 0.40)
# From here on to the impact parameters: chosen.
RADIATION_RATE, RADIATION_LOSS = 0.025, 0.04  # muons that lose energy before the chambers
ANGLE_CONSTANT_RAD, ANGLE_GEV = 0.0005, 0.005  # multiple scattering / pt
ANGLE_BARREL_ENDCAP = 0.35
ANGLE_TAIL = (1.7, 0.8)
FLIP_AT_100_GEV, FLIP_POWER, FLIP_FLOOR = 1.5e-3, 1.5, 4e-4

# Impact parameter errors in cm: constant + multiple scattering / pt, v12 medians.
DXY_CONSTANT_CM, DXY_GEV_CM = 0.0008, 0.0060
DZ_CONSTANT_CM, DZ_GEV_CM = 0.0014, 0.0065
FORWARD_DXY, FORWARD_DZ, FORWARD_DZ4 = 0.08, 0.22, 0.05  # growth with eta^2, eta^4
IP_ERROR_SPREAD, DZ_ERROR_SPREAD = 0.11, 0.22
IP_TAIL = (1.8, 0.7)
LOST_PIXEL_RATE = 0.006  # tracks without a hit in the innermost layers
LOST_PIXEL_FACTOR, LOST_PIXEL_SPREAD = 2.5, 0.4  # how much worse both errors then are
KINK_CM = 0.03  # extra displacement of decays in flight


def reconstruct_muons(
    candidates: Flat, jets: Flat, state: EventState, rng: np.random.Generator
) -> Flat:
    """Candidates that are found, with their measured track; columns as NanoAOD plus hidden ones.

    Adds: true_pt, gen_charge, quality (standard normal, hidden: shared by errors, hits, scores).
    """
    found = bernoulli(rng, _efficiency(candidates, jets, state))
    muons = candidates.take(np.flatnonzero(found))
    quality = rng.standard_normal(len(muons))
    muons = _track(muons, quality, rng)
    muons = _impact(muons, state, rng)
    return muons.take(np.flatnonzero(muons["pt"] > MUON_PT_THRESHOLD_GEV))


def _efficiency(muons: Flat, jets: Flat, state: EventState) -> np.ndarray:
    eta = np.abs(muons["eta"])
    threshold = ENDCAP_PT_GEV + (RANGE_OUT_PT_GEV - ENDCAP_PT_GEV) * expit((1.2 - eta) / 0.12)
    turn_on = expit(np.log(muons["pt"] / threshold) / RANGE_OUT_SLOPE)
    edge = expit((ETA_EDGE - eta) / ETA_EDGE_WIDTH)
    crack = 1.0 - CRACK_LOSS * np.exp(-0.5 * ((eta - CRACK_ETA) / CRACK_WIDTH) ** 2)
    pairs = pair_up(muons, jets)
    harder = pairs.dr[jets["pt"][pairs.right] > 2 * muons["pt"][pairs.left]]
    left = pairs.left[jets["pt"][pairs.right] > 2 * muons["pt"][pairs.left]]
    closest = np.full(len(muons), 9.0)
    np.minimum.at(closest, left, harder)
    core = 1.0 - CORE_LOSS * np.exp(-closest / CORE_DR)
    crowd = 1.0 - PILEUP_LOSS * state.npu[muons.event]
    fake = np.where(muons["gen_row"] < 0, FAKE_EFFICIENCY, 1.0)
    return PLATEAU * turn_on * edge * crack * core * crowd * fake


def _track(muons: Flat, quality: np.ndarray, rng: np.random.Generator) -> Flat:
    n, pt, eta = len(muons), muons["pt"], np.abs(muons["eta"])
    fake = muons["gen_row"] < 0
    forward = expit((eta - ERROR_TURN) / ERROR_WIDTH)
    constant = ERROR_BARREL + (ERROR_ENDCAP - ERROR_BARREL) * forward
    relative = np.hypot(constant, ERROR_PER_GEV * pt * (1 + 1.5 * forward))
    spread = np.exp(ERROR_SPREAD * (0.7 * quality + 0.7 * rng.standard_normal(n)))
    relative = relative * spread * np.where(fake, 1.6, 1.0)
    pull = tailed(rng, n, RESOLUTION_TAIL_LOW, RESOLUTION_TAIL_HIGH)
    response = np.exp(relative * pull * np.where(fake, 2.5, 1.0))
    radiated = bernoulli(rng, np.full(n, RADIATION_RATE))
    response = response * np.exp(-RADIATION_LOSS * radiated * rng.gamma(1.5, 1.0, n))
    angle = np.hypot(ANGLE_CONSTANT_RAD, ANGLE_GEV / pt) * (1 + ANGLE_BARREL_ENDCAP * forward)
    reco_pt = pt * response
    flips = FLIP_FLOOR + FLIP_AT_100_GEV * (pt / 100.0) ** FLIP_POWER + 0.02 * fake
    flips = np.minimum(flips * np.exp(0.5 * quality), 0.5)
    charge = muons["charge"] * np.where(bernoulli(rng, flips), -1, 1)
    error = reco_pt * relative * lognormal(rng, 0.05, n)
    return muons.with_columns(
        {
            "true_pt": pt, "gen_charge": muons["charge"], "quality": quality,
            "pt": reco_pt, "ptErr": error, "charge": charge,
            "eta": muons["eta"] + angle * tailed(rng, n, ANGLE_TAIL, ANGLE_TAIL),
            "phi": delta_phi(muons["phi"] + angle * tailed(rng, n, ANGLE_TAIL, ANGLE_TAIL), 0.0),
        }
    )  # fmt: skip


def _impact(muons: Flat, state: EventState, rng: np.random.Generator) -> Flat:
    n, pt, eta, event = len(muons), muons["true_pt"], muons["eta"], muons.event
    slope = np.sinh(eta)
    kink = np.where(muons["gen_row"] < 0, np.abs(rng.normal(0.0, KINK_CM, n)), 0.0)
    lxy = muons["lxy"] + kink
    turn = muons["axis_dphi"]
    true_dxy = lxy * np.sin(turn)
    true_dz = lxy * (np.sinh(muons["axis_eta"]) - np.cos(turn) * slope)
    spread = np.exp(IP_ERROR_SPREAD * (0.6 * muons["quality"] + 0.8 * rng.standard_normal(n)))
    lost = bernoulli(rng, np.full(n, LOST_PIXEL_RATE))
    worse = np.where(lost, LOST_PIXEL_FACTOR * lognormal(rng, LOST_PIXEL_SPREAD, n), 1.0)
    dxy_error = worse * (DXY_CONSTANT_CM + DXY_GEV_CM / pt) * (1 + FORWARD_DXY * eta**2) * spread
    forward = 1 + FORWARD_DZ * eta**2 + FORWARD_DZ4 * eta**4
    dz_error = worse * (DZ_CONSTANT_CM + DZ_GEV_CM / pt) * forward * spread**0.5
    dz_error = dz_error * lognormal(rng, DZ_ERROR_SPREAD, n)
    dxy_beam = true_dxy + dxy_error * tailed(rng, n, IP_TAIL, IP_TAIL)
    phi, shift, beam = muons["phi"], state.pv_shift[event], state.beam_shift[event]
    dz = true_dz + dz_error * tailed(rng, n, IP_TAIL, IP_TAIL) - shift[:, 2]
    along = shift[:, 0] * np.sin(phi) - shift[:, 1] * np.cos(phi)
    from_spot = -beam[:, 0] * np.sin(phi) + beam[:, 1] * np.cos(phi)
    return muons.with_columns(
        {
            "dxy": dxy_beam + along, "dxybs": dxy_beam + from_spot, "dz": dz,
            "dxyErr": dxy_error, "dzErr": dz_error, "displacement": np.hypot(true_dxy, true_dz),
        }
    )  # fmt: skip
