"""The whole detector on one batch of events."""

from __future__ import annotations

import awkward as ak
import numpy as np

from samples.detector.composition import Deposits
from samples.detector.event import EventState, event_state
from samples.detector.isolation import isolate
from samples.detector.jets import jets_from_generator, with_fractions
from samples.detector.links import associate, order_by_pt, write_jets, write_muons
from samples.detector.muon_id import with_flags, with_jet_scores, with_scores
from samples.detector.muon_sources import muon_candidates
from samples.detector.muons import reconstruct_muons
from samples.detector.pileup_jets import jets_from_pileup
from samples.detector.regression import with_forward_shapes, with_regression
from samples.detector.tables import Flat, flatten, make_flat
from samples.detector.tagging import with_tags

__all__ = ["simulate"]

PARTS = ["pt", "eta", "phi", "pdgId", "status", "statusFlags", "genPartIdxMother"]
PARTICLES = ["pt", "eta", "phi", "pdgId", "charge", "lxy", "jetIdx"]
PILEUP_JETS = ["pt", "eta", "phi", "mass", "nCharged", "nNeutral"]
GEN_JETS = [
    "pt", "eta", "phi", "mass", "partonFlavour", "hadronFlavour", "chargedFraction",
    "photonFraction", "electronFraction", "muonFraction", "neutralFraction", "nCharged",
    "nNeutral", "ptD", "girth", "nDisplaced", "lxy", "neutrinoPt", "leadingChargedPt",
]  # fmt: skip
NEUTRINOS = (12, 14, 16)
MET_NOISE_GEV, MET_PER_SQRT_SUM = 12.0, 0.55  # GeV, sqrt(GeV); CMS run 2, arXiv:1903.06078
MET_PER_SQRT_RHO = 2.6


def simulate(truth: ak.Array, rng: np.random.Generator) -> ak.Array:
    """Reconstruct a batch of events.

    Arguments:
        truth: Events as ``samples.production.truth_batches`` makes them, hidden fields included.
        rng: Source of all randomness; the same state gives the same result.
    Returns: one record per event with ``Muon``, ``Jet`` (every branch of
        ``processors.objects.columns``), ``PV``, ``fixedGridRhoFastjetAll``, ``MET``.
    """
    state = event_state(truth, rng)
    parts = flatten(truth["GenPart"], PARTS)
    particles = flatten(truth["particles"], PARTICLES)
    gen = flatten(truth["GenJet"], GEN_JETS)
    pileup = flatten(truth["PileupJet"], PILEUP_JETS)
    muons = muon_candidates(truth, parts, particles, gen, rng)
    muons = with_flags(reconstruct_muons(muons, gen, state, rng), rng)
    jets = _all_jets(gen, pileup, muons, state, rng)
    muons = isolate(with_scores(muons, rng), particles, state, rng)
    muons = muons.take(order_by_pt(muons))
    row, dr = associate(muons, jets)
    muons = muons.with_columns({"jet_reco_row": row, "jet_reco_dr": dr})
    muons = with_jet_scores(muons, jets, rng)
    return ak.zip(
        {
            "Muon": write_muons(muons, jets, parts),
            "Jet": write_jets(jets, muons, gen),
            "PV": _vertices(state),
            "fixedGridRhoFastjetAll": state.rho.astype(np.float32),
            "MET": _missing(gen, jets, parts, state, rng),
        },
        depth_limit=1,
    )


def _all_jets(
    gen: Flat, pileup: Flat, muons: Flat, state: EventState, rng: np.random.Generator
) -> Flat:
    found, deposits = jets_from_generator(gen, muons, state, rng)
    extra, extra_deposits = jets_from_pileup(pileup, found, gen, state, rng)
    jets = make_flat(
        {name: np.concatenate([found[name], extra[name]]) for name in found.columns},
        np.concatenate([found.event, extra.event]),
        len(gen.counts),
    )
    merged = [np.concatenate(pair) for pair in zip(deposits, extra_deposits, strict=True)]
    order = order_by_pt(jets)
    jets = jets.take(order)
    parts = Deposits(*(values[order] for values in merged))
    jets = with_tags(with_fractions(jets, parts), parts, state, rng)
    return with_forward_shapes(with_regression(jets, parts, state, rng), rng)


def _vertices(state: EventState) -> ak.Array:
    return ak.zip(
        {
            "npvs": state.npvs.astype(np.int32),
            "npvsGood": state.npvs_good.astype(np.int32),
            "x": state.pv[:, 0].astype(np.float32),
            "y": state.pv[:, 1].astype(np.float32),
            "z": state.pv[:, 2].astype(np.float32),
        }
    )


def _invisible(parts: Flat) -> np.ndarray:
    return np.isin(np.abs(parts["pdgId"]), NEUTRINOS) & (parts["status"] == 1)


def _missing(
    gen: Flat, jets: Flat, parts: Flat, state: EventState, rng: np.random.Generator
) -> ak.Array:
    """Missing transverse momentum: neutrinos, mismeasured jets, soft noise."""
    events = len(gen.counts)

    def balance(table: Flat, pt: np.ndarray) -> np.ndarray:
        x = np.bincount(table.event, pt * np.cos(table["phi"]), minlength=events)
        y = np.bincount(table.event, pt * np.sin(table["phi"]), minlength=events)
        return np.column_stack([x, y])

    visible = np.bincount(gen.event, gen["pt"], minlength=events)
    variance = MET_NOISE_GEV**2 + MET_PER_SQRT_SUM**2 * visible
    width = np.sqrt(variance + MET_PER_SQRT_RHO**2 * state.rho)
    imbalance = rng.standard_normal((events, 2)) * width[:, None] / np.sqrt(2.0)
    lost = balance(parts, np.where(_invisible(parts), parts["pt"], 0.0))
    wrong = balance(jets, np.where(jets["gen_row"] >= 0, jets["gen_pt"] - jets["pt"], 0.0))
    x, y = (imbalance + lost + 0.5 * wrong).T
    return ak.zip(
        {
            "pt": np.hypot(x, y).astype(np.float32),
            "phi": np.arctan2(y, x).astype(np.float32),
        }
    )
