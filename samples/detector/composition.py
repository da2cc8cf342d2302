"""What a jet is made of after the detector: deposits in GeV per particle kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, expit, lognormal
from samples.detector.tables import Flat, pair_up

__all__ = ["Deposits", "muons_in_jets", "reconstruct_deposits"]

JET_RADIUS = 0.4
# All chosen, to give the energy fractions of the v12 ttbar file; energies in GeV.
TRACKER_EDGE, TRACKER_WIDTH = 2.65, 0.09
TRACK_LOSS, CORE_LOSS, CORE_LN_PT, CORE_WIDTH = 0.04, 0.06, 5.8, 0.5  # ln(GeV)
TRACK_SPREAD, TRACK_GRAIN = 0.03, 0.22  # constant, over sqrt(number of tracks)
PHOTON_CONSTANT, PHOTON_STOCHASTIC = 0.05, 0.25  # over sqrt(GeV)
HADRON_RESPONSE, HADRON_CONSTANT, HADRON_STOCHASTIC = 0.55, 0.12, 0.85
HADRON_FOUND_GEV, HADRON_FOUND_WIDTH_GEV = 2.5, 0.9
LOST_TRACK_RESPONSE = 0.25, 0.55  # of calorimeters alone: inside, outside the tracker
OVERLAP_TO_PHOTONS = 0.02  # charged-hadron energy taken for photons
ELECTRON_LEAK = 0.04  # of lepton energy behind the crystals
HADRON_FLOOR, HADRON_FLOOR_SPREAD = 0.010, 0.9  # of the jet, noise: neHEF is never zero
ELECTRON_ID = 0.80
CONVERSION_RATE, CONVERSION_SHARE, CONVERSION_SPREAD = 0.24, 0.28, 0.9
# (hadrons or converted photons found as an electron: rate, share of the energy, its spread)
CONVERSION_COUNTED = 0.85
GHOST_ELECTRONS = 0.09
FAKE_ELECTRON_GEV = 9.0
MUON_SHARE_SPREAD = 0.04
PILEUP_CHARGED, PILEUP_NEUTRAL = 0.5, 0.10  # of rho * area, left after subtraction
PILEUP_SHAPE = 1.6
PILEUP_EM_SHAPE = (1.5, 4.0)  # electromagnetic share of neutral pile-up
ECAL_THRESHOLD_GEV, ECAL_WIDTH_GEV = 1.7, 0.5
TRACK_THRESHOLD_GEV, TRACK_WIDTH_GEV = 0.8, 0.2
FORWARD_ETA, FORWARD_WIDTH = 3.0, 0.06
FORWARD_EM_MEAN, FORWARD_EM_SHAPE = -2.6, 0.9  # logit of the electromagnetic share there
ENDCAP_ETA, ENDCAP_WIDTH, ENDCAP_PHOTON_LOSS = 2.55, 0.08, 0.70  # called hadrons without tracks
PRESHOWER_ETA, PRESHOWER_WIDTH, PRESHOWER_LOSS = 1.4, 0.25, 0.42
PHOTON_SOFT_GEV, PHOTON_SOFT_SLOPE, PHOTON_SCALE = 18.0, 0.5, 1.2  # clusters lost in soft jets
PHOTON_MULTIPLICITY, PHOTON_MULTIPLICITY_POWER = 7.0, 0.6


class Deposits(NamedTuple):
    """GeV of each kind, shape ``(n,)``; exact zeros where nothing was found."""

    charged: np.ndarray
    neutral: np.ndarray
    photons: np.ndarray
    electrons: np.ndarray
    muons: np.ndarray
    pileup: np.ndarray  # part of the above that came from pile-up
    n_electrons: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Sum of all kinds."""
        return self.charged + self.neutral + self.photons + self.electrons + self.muons


def muons_in_jets(jets: Flat, muons: Flat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """GeV and number of reconstructed particle-flow muons within 0.4, number of all muons."""
    pairs = pair_up(muons, jets)
    near = np.flatnonzero(pairs.dr < JET_RADIUS)
    order = near[np.lexsort((pairs.dr[near], pairs.left[near]))]
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(pairs.left[order]) > 0
    left, right = pairs.left[order][first], pairs.right[order][first]
    flow = muons["isPFcand"][left].astype(float)
    size = len(jets)
    pt = np.bincount(right, muons["pt"][left] * flow, minlength=size)
    return pt, np.bincount(right, flow, minlength=size), np.bincount(right, minlength=size)


def reconstruct_deposits(
    jets: Flat, muon_pt: np.ndarray, state: EventState, rng: np.random.Generator
) -> Deposits:
    """Measure every kind of particle of generator jets separately."""
    n, pt, eta = len(jets), jets["pt"], np.abs(jets["eta"])
    inside = expit((TRACKER_EDGE - eta) / TRACKER_WIDTH)
    forward = expit((eta - FORWARD_ETA) / FORWARD_WIDTH)
    loss = TRACK_LOSS + CORE_LOSS * expit((np.log(pt) - CORE_LN_PT) / CORE_WIDTH)
    tracks = np.maximum(jets["nCharged"], 1.0)
    kept = np.clip(inside * (1 - loss), 0.0, 1.0)
    kept = kept * lognormal(rng, np.hypot(TRACK_SPREAD, TRACK_GRAIN / np.sqrt(tracks)), n)
    hadrons = pt * jets["chargedFraction"]
    charged = hadrons * kept
    within, beyond = LOST_TRACK_RESPONSE
    missed = hadrons * (within * inside * loss + beyond * (1 - inside))
    many = ((jets["nNeutral"] + 1.0) / PHOTON_MULTIPLICITY) ** PHOTON_MULTIPLICITY_POWER
    ecal = (pt * jets["photonFraction"] + OVERLAP_TO_PHOTONS * hadrons) * np.tanh(many)
    ecal = ecal * PHOTON_SCALE * expit(np.log(pt / PHOTON_SOFT_GEV) / PHOTON_SOFT_SLOPE)
    ecal = ecal * (1 - PRESHOWER_LOSS * expit((eta - PRESHOWER_ETA) / PRESHOWER_WIDTH))
    photons = ecal * lognormal(rng, PHOTON_CONSTANT + PHOTON_STOCHASTIC / np.sqrt(ecal + 0.5), n)
    hcal = pt * jets["neutralFraction"] * HADRON_RESPONSE + missed
    hcal = hcal + ELECTRON_LEAK * pt * (jets["electronFraction"] + jets["muonFraction"])
    width = HADRON_CONSTANT + HADRON_STOCHASTIC / np.sqrt(hcal + 1.0)
    neutral = hcal * lognormal(rng, width, n)
    found = bernoulli(rng, expit((hcal - HADRON_FOUND_GEV) / HADRON_FOUND_WIDTH_GEV))
    neutral = neutral * found + HADRON_FLOOR * pt * lognormal(rng, HADRON_FLOOR_SPREAD, n)
    charged, neutral, photons, pileup = _add_pileup(
        jets, charged, neutral, photons, inside, state, rng
    )
    charged, photons, electrons, number = _electrons(jets, charged, photons, inside, rng)
    lost = ENDCAP_PHOTON_LOSS * expit((eta - ENDCAP_ETA) / ENDCAP_WIDTH) * rng.beta(5.0, 2.0, n)
    neutral, photons = neutral + lost * photons, (1 - lost) * photons
    charged, neutral, photons = _forward_sharing(charged, neutral, photons, forward, rng)
    photons = photons * bernoulli(rng, expit((photons - ECAL_THRESHOLD_GEV) / ECAL_WIDTH_GEV))
    charged = charged * bernoulli(rng, expit((charged - TRACK_THRESHOLD_GEV) / TRACK_WIDTH_GEV))
    muons = muon_pt * lognormal(rng, MUON_SHARE_SPREAD, n)
    return Deposits(charged, neutral, photons, electrons, muons, pileup, number)


def _add_pileup(
    jets: Flat,
    charged: np.ndarray,
    neutral: np.ndarray,
    photons: np.ndarray,
    inside: np.ndarray,
    state: EventState,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, event = len(jets), jets.event
    area = np.pi * JET_RADIUS**2
    mean = state.rho[event] * area
    tracks = mean * PILEUP_CHARGED * state.charged_leak[event] * inside
    rest = mean * PILEUP_NEUTRAL * state.calo_noise[event] * (2.0 - inside)
    tracks = tracks * rng.gamma(PILEUP_SHAPE, 1 / PILEUP_SHAPE, n)
    rest = rest * rng.gamma(PILEUP_SHAPE, 1 / PILEUP_SHAPE, n)
    share = rng.beta(*PILEUP_EM_SHAPE, n)
    return charged + tracks, neutral + (1 - share) * rest, photons + share * rest, tracks + rest


def _electrons(
    jets: Flat,
    charged: np.ndarray,
    photons: np.ndarray,
    inside: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(jets)
    true = jets["pt"] * jets["electronFraction"]
    reach = expit((true - 3.0) / 0.8) * inside
    good = bernoulli(rng, ELECTRON_ID * reach)
    found = true * lognormal(rng, 0.04, n)
    electrons = np.where(good, found, 0.0)
    photons = photons + np.where(good, 0.0, 0.6 * true)
    charged = charged + np.where(good, 0.0, 0.4 * true * inside)
    odds = CONVERSION_RATE * expit((photons - FAKE_ELECTRON_GEV) / 4.0) * inside
    extra = bernoulli(rng, odds)
    share = CONVERSION_SHARE * lognormal(rng, CONVERSION_SPREAD, n)
    share = np.where(extra, share / (1 + share), 0.0)
    moved = photons + charged
    number = good.astype(np.int64) + (extra & bernoulli(rng, np.full(n, CONVERSION_COUNTED)))
    ghost = bernoulli(rng, GHOST_ELECTRONS * expit((charged - FAKE_ELECTRON_GEV) / 4.0) * inside)
    rest = 1 - share
    return charged * rest, photons * rest, electrons + moved * share, number + ghost


def _forward_sharing(
    charged: np.ndarray,
    neutral: np.ndarray,
    photons: np.ndarray,
    forward: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beyond the endcaps one calorimeter sees all: most energy is called hadronic."""
    n = len(charged)
    moved = bernoulli(rng, forward)
    total = charged + neutral + photons
    share = FORWARD_EM_MEAN + FORWARD_EM_SHAPE * rng.standard_normal(n)
    share = expit(share + photons / (total + 1e-9))
    return (
        np.where(moved, 0.0, charged),
        np.where(moved, total * (1 - share), neutral),
        np.where(moved, total * share, photons),
    )
