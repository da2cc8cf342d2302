"""Isolation of muons from the particles around them."""

from __future__ import annotations

import numpy as np

from samples.detector.event import EventState
from samples.detector.shapes import bernoulli, lognormal
from samples.detector.tables import Flat, pair_up

__all__ = ["isolate"]

CONE_03, CONE_04 = 0.3, 0.4
MINI_MIN, MINI_MAX, MINI_KT_GEV = 0.05, 0.20, 10.0  # radius = 10 GeV / pt, CMSSW miniIsolation
TRACK_VETO_DR, NEUTRAL_VETO_DR = 0.0001, 0.01  # MuonPFIsolationSequence
CHARGED_PT_GEV, NEUTRAL_PT_GEV = 0.5, 0.5
# Chosen, to give the isolations of the v12 ttbar file.
TRACK_EFFICIENCY = 0.92
PHOTON_EFFICIENCY, NEUTRAL_EFFICIENCY = 0.80, 0.65
SCALE_SPREAD = 0.15  # of a cone sum, per term
# Pile-up in a cone: compound sum with mean rho * area * fraction. Charged part leaks from other
# vertices; of the neutral part a half is left after the delta-beta correction. Chosen.
LEAK_GRAIN_GEV, NEUTRAL_GRAIN_GEV = 0.9, 1.0
NEUTRAL_REST, MINI_NEUTRAL_REST = 0.04, 0.05
TRACKER_EXTRA = 1.6  # tracks not tied to the vertex enter the tracker isolation


def isolate(muons: Flat, particles: Flat, state: EventState, rng: np.random.Generator) -> Flat:
    """Add the seven relative isolations; ``pt_around`` (hidden) is the charged pt within 0.4."""
    sums = _cone_sums(muons, particles, rng)
    n, pt, event = len(muons), muons["pt"], muons.event
    rho = state.rho[event] * state.calo_noise[event]
    leak = state.rho[event] * state.charged_leak[event]
    area = {"03": np.pi * CONE_03**2, "04": np.pi * CONE_04**2, "mini": np.pi * _radius(pt) ** 2}
    noise = {
        name: _deposits(rng, leak * area[name], LEAK_GRAIN_GEV) for name in ("03", "04", "mini")
    }
    rest = {"03": NEUTRAL_REST, "04": NEUTRAL_REST, "mini": MINI_NEUTRAL_REST}
    neutral = {
        name: sums["neutral", name] * lognormal(rng, 0.15, n)
        + _deposits(rng, rho * area[name] * rest[name], NEUTRAL_GRAIN_GEV)
        for name in rest
    }
    charged = {name: sums["charged", name] * lognormal(rng, SCALE_SPREAD, n) for name in rest}
    charged = {name: charged[name] + noise[name] for name in rest}
    tracks = sums["charged", "03"] * lognormal(rng, 0.12, n)
    tracks = tracks + noise["03"] * lognormal(rng, 0.2, n)
    tracks = tracks + _deposits(rng, (TRACKER_EXTRA - 1) * leak * area["03"], LEAK_GRAIN_GEV)
    all04 = charged["04"] * lognormal(rng, 0.04, n) + neutral["04"]
    return muons.with_columns(
        {
            "pfRelIso03_chg": charged["03"] / pt,
            "pfRelIso03_all": (charged["03"] + neutral["03"]) / pt,
            "pfRelIso04_all": all04 / pt,
            "miniPFRelIso_chg": charged["mini"] / pt,
            "miniPFRelIso_all": (charged["mini"] + neutral["mini"]) / pt,
            "tkRelIso": tracks / pt,
            "pt_around": charged["04"] + neutral["04"],
        }
    )


def _radius(pt: np.ndarray) -> np.ndarray:
    return np.clip(MINI_KT_GEV / pt, MINI_MIN, MINI_MAX)


def _deposits(rng: np.random.Generator, mean: np.ndarray, grain: float) -> np.ndarray:
    """Sum of a Poisson number of exponential deposits of ``grain`` GeV: often exactly zero."""
    number = rng.poisson(mean / grain)
    return np.where(number > 0, rng.gamma(np.maximum(number, 1), grain), 0.0)


def _cone_sums(
    muons: Flat, particles: Flat, rng: np.random.Generator
) -> dict[tuple[str, str], np.ndarray]:
    soft = particles["pt"] > min(CHARGED_PT_GEV, NEUTRAL_PT_GEV)
    near = particles.take(np.flatnonzero(soft & (np.abs(particles["eta"]) < 3.0)))
    pairs = pair_up(muons, near)
    inside = np.flatnonzero(pairs.dr < CONE_04)
    left, right, dr = pairs.left[inside], pairs.right[inside], pairs.dr[inside]
    identity = np.abs(near["pdgId"])[right]
    is_charged = (near["charge"] != 0)[right]
    itself = (dr < 0.02) & (np.abs(near["pt"][right] / muons["true_pt"][left] - 1.0) < 0.02)
    calorimeter = np.where(identity == 22, PHOTON_EFFICIENCY, NEUTRAL_EFFICIENCY)
    efficiency = np.where(is_charged, TRACK_EFFICIENCY, calorimeter)
    seen = bernoulli(rng, efficiency) & ~itself
    seen &= dr > np.where(is_charged, TRACK_VETO_DR, NEUTRAL_VETO_DR)
    pt = near["pt"][right] * seen
    radius = {"03": CONE_03, "04": CONE_04, "mini": _radius(muons["pt"])[left]}
    kinds = {"charged": is_charged, "neutral": ~is_charged}
    return {
        (kind, name): np.bincount(left, pt * chosen * (dr < cone), minlength=len(muons))
        for name, cone in radius.items()
        for kind, chosen in kinds.items()
    }
