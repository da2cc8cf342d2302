"""Jets of pile-up collisions that survive the subtraction."""

from __future__ import annotations

import numpy as np

from samples.detector.composition import Deposits
from samples.detector.event import EventState
from samples.detector.jets import (
    AREA,
    AREA_WIDTH,
    CALORIMETER_ETA,
    JET_PT_THRESHOLD_GEV,
    raw_factor,
)
from samples.detector.shapes import bernoulli, expit, lognormal
from samples.detector.tables import Flat, delta_phi, pair_up

__all__ = ["jets_from_pileup"]

# Chosen to give the 0.84 unmatched jets per event of v12: most beyond the tracker.
KEPT_CENTRAL, KEPT_FORWARD = 0.10, 0.60
EDGE, EDGE_WIDTH = 2.5, 0.1
SCALE_CENTRAL, SCALE_FORWARD, SCALE_SPREAD = 1.05, 1.25, 0.30
ANGLE_RAD = 0.05
OVERLAP_DR = 0.4
MASS_SHARE, MASS_SPREAD = 0.13, 0.3


def jets_from_pileup(
    pileup: Flat, jets: Flat, gen: Flat, state: EventState, rng: np.random.Generator
) -> tuple[Flat, Deposits]:
    """Unmatched jets with the same columns as ``jets``; none overlaps a jet or generator jet."""
    n, eta = len(pileup), np.abs(pileup["eta"])
    forward = expit((eta - EDGE) / EDGE_WIDTH)
    scale = SCALE_CENTRAL + (SCALE_FORWARD - SCALE_CENTRAL) * forward
    pt = pileup["pt"] * scale * lognormal(rng, SCALE_SPREAD, n)
    kept = bernoulli(rng, KEPT_CENTRAL + (KEPT_FORWARD - KEPT_CENTRAL) * forward)
    kept &= ~_overlapping(pileup, jets) & ~_overlapping(pileup, gen)
    kept &= eta < CALORIMETER_ETA - ANGLE_RAD
    rows = np.flatnonzero(kept & (pt > JET_PT_THRESHOLD_GEV))
    source, pt = pileup.take(rows), pt[rows]
    deposits = _deposits(source, pt, rng)
    return _columns(source, pt, deposits, jets, state, rng), deposits


def _overlapping(left: Flat, right: Flat) -> np.ndarray:
    pairs = pair_up(left, right)
    near = np.zeros(len(left), dtype=bool)
    near[pairs.left[pairs.dr < OVERLAP_DR]] = True
    return near


def _deposits(source: Flat, pt: np.ndarray, rng: np.random.Generator) -> Deposits:
    n = len(source)
    inside = expit((EDGE - np.abs(source["eta"])) / EDGE_WIDTH)
    charged = bernoulli(rng, inside) * rng.beta(3.0, 3.0, n)
    photons = (1 - charged) * rng.beta(2.0, 2.5, n)
    neutral = 1 - charged - photons
    zero = np.zeros(n)
    parts = (charged * pt, neutral * pt, photons * pt)
    return Deposits(*parts, zero, zero, pt, np.zeros(n, dtype=np.int64))


def _columns(
    source: Flat,
    pt: np.ndarray,
    deposits: Deposits,
    jets: Flat,
    state: EventState,
    rng: np.random.Generator,
) -> Flat:
    n = len(source)
    columns = {name: np.zeros(n, dtype=values.dtype) for name, values in jets.columns.items()}
    number = np.rint(0.6 * source["nCharged"] + 0.6 * source["nNeutral"] + rng.normal(0, 1, n))
    area = AREA * lognormal(rng, 1.5 * AREA_WIDTH, n)
    columns |= {
        "gen_row": np.full(n, -1), "pt": pt,
        "eta": source["eta"] + rng.normal(0, ANGLE_RAD, n),
        "phi": delta_phi(source["phi"] + rng.normal(0, ANGLE_RAD, n), 0.0),
        "mass": pt * MASS_SHARE * lognormal(rng, MASS_SPREAD, n), "area": area,
        "nConstituents": np.clip(number, 1, 254).astype(np.int64),
        "rawFactor": raw_factor(pt, source["eta"], state.rho[source.event], rng),
        "response": np.ones(n), "dr_harder": np.full(n, 9.0),
        "gen_pt": source["pt"], "gen_mass": source["mass"],
        "gen_nCharged": source["nCharged"], "gen_nNeutral": source["nNeutral"],
        "gen_chargedFraction": deposits.charged / pt, "gen_ptD": rng.beta(6.0, 12.0, n),
        "gen_girth": rng.gamma(6.0, 0.025, n),
    }  # fmt: skip
    return source.only(columns)
