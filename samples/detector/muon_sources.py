"""Muon candidates before reconstruction: generator muons, hadrons that look like one."""

from __future__ import annotations

import awkward as ak
import numpy as np

from samples.detector.shapes import bernoulli, expit
from samples.detector.tables import Flat, delta_phi, make_flat, pair_up, rows_of_index

__all__ = ["FAKE_PT_GEV", "LAST_COPY_BIT", "muon_candidates", "origin_flavour"]

LAST_COPY_BIT = 13
PROMPT_BIT, PROMPT_TAU_BIT = 0, 5
ANCESTOR_STEPS = 30  # more than any decay chain in a pruned record
FAKE_PT_GEV = 2.5
# Rates per charged hadron; chosen to give the 0.35 unmatched muons per ttbar event of v12.
PION_DECAY, KAON_DECAY = 0.032, 0.090  # at 5 GeV, falling with the boost
DECAY_PT_GEV = 5.0
PUNCH_THROUGH = 0.014
PUNCH_PT_GEV, PUNCH_SLOPE = 12.0, 0.5
KAON, PION = 321, 211
FLIGHT_ANGLE_RAD = 0.035  # between hadron flight direction and jet axis at 20 GeV
FLIGHT_PT_GEV = 20.0
MATCH_DR = 0.03


def origin_flavour(parts: Flat, rows: np.ndarray) -> np.ndarray:
    """``genPartFlav`` of generator muons: 1 prompt, 15 tau, 5 b, 4 c, 3 other."""
    flags = parts["statusFlags"][rows].astype(np.int64)
    identity = np.abs(parts["pdgId"]).astype(np.int64)
    mother = rows_of_index(parts, parts.event, parts["genPartIdxMother"].astype(np.int64))
    heavy = _heavy_hadron(identity)
    current, found = mother[rows], np.zeros(len(rows), dtype=np.int64)
    for _ in range(ANCESTOR_STEPS):
        alive = current >= 0
        if not alive.any():
            break
        found = np.maximum(found, np.where(alive, heavy[current], 0))
        current = np.where(alive, mother[current], -1)
    flavour = np.where(found > 0, found, 3)
    flavour = np.where((flags >> PROMPT_TAU_BIT) & 1 == 1, 15, flavour)
    return np.where((flags >> PROMPT_BIT) & 1 == 1, 1, flavour)


def _heavy_hadron(identity: np.ndarray) -> np.ndarray:
    digits = np.maximum(identity // 100 % 10, identity // 1000 % 10)
    return np.where((identity > 100) & (digits >= 4) & (digits <= 5), digits, 0)


def muon_candidates(
    truth: ak.Array, parts: Flat, particles: Flat, jets: Flat, rng: np.random.Generator
) -> Flat:
    """Everything that may become a reconstructed muon, sorted by event.

    Columns: pt, eta, phi (GeV, 1, rad), charge, gen_row (of ``parts``, -1 for fakes), flavour
    (0 for fakes), lxy (cm), axis_eta, axis_phi (flight direction of the mother), jet_row.
    """
    last = (parts["statusFlags"].astype(np.int64) >> LAST_COPY_BIT) & 1 == 1
    rows = np.flatnonzero((np.abs(parts["pdgId"]) == 13) & last)
    muons = parts.take(rows)
    track = _matching_track(muons, particles)
    safe = np.maximum(track, 0)
    lxy = np.where(track >= 0, particles["lxy"][safe], 0.0)
    jet = np.where(track >= 0, particles["jetIdx"][safe], -1)
    fake = _fake_rows(particles, rng)
    gen = {
        "pt": muons["pt"], "eta": muons["eta"], "phi": muons["phi"],
        "charge": -np.sign(muons["pdgId"]), "gen_row": rows, "track": track,
        "flavour": origin_flavour(parts, rows), "lxy": lxy, "jet": jet,
    }  # fmt: skip
    other = {
        "pt": particles["pt"][fake], "eta": particles["eta"][fake], "phi": particles["phi"][fake],
        "charge": np.sign(particles["charge"][fake]), "gen_row": np.full(len(fake), -1),
        "track": fake, "flavour": np.zeros(len(fake), dtype=np.int64),
        "lxy": particles["lxy"][fake], "jet": particles["jetIdx"][fake],
    }  # fmt: skip
    event = np.concatenate([muons.event, particles.event[fake]])
    order = np.argsort(event, kind="stable")
    columns = {name: np.concatenate([gen[name], other[name]])[order] for name in gen}
    table = make_flat(columns, event[order], len(truth))
    return _with_axis(table, jets, rng)


def _matching_track(muons: Flat, particles: Flat) -> np.ndarray:
    """Row of the stable muon that each generator muon is, -1 if it left no visible particle."""
    stable = np.flatnonzero(np.abs(particles["pdgId"]) == 13)
    pairs = pair_up(muons, particles.take(stable))
    good = pairs.dr < MATCH_DR
    order = np.lexsort((-pairs.dr[good],))
    match = np.full(len(muons), -1)
    match[pairs.left[good][order]] = stable[pairs.right[good][order]]
    return match


def _fake_rows(particles: Flat, rng: np.random.Generator) -> np.ndarray:
    identity = np.abs(particles["pdgId"])
    hard = np.flatnonzero(
        ((identity == PION) | (identity == KAON)) & (particles["pt"] > FAKE_PT_GEV)
        & (np.abs(particles["eta"]) < 2.4)
    )  # fmt: skip
    pt = particles["pt"][hard]
    decay = np.where(identity[hard] == KAON, KAON_DECAY, PION_DECAY)
    decay = decay * DECAY_PT_GEV / (pt + DECAY_PT_GEV)
    punch = PUNCH_THROUGH * expit(np.log(pt / PUNCH_PT_GEV) / PUNCH_SLOPE)
    return hard[bernoulli(rng, decay + punch)]


def _with_axis(table: Flat, jets: Flat, rng: np.random.Generator) -> Flat:
    row = rows_of_index(jets, table.event, table["jet"].astype(np.int64))
    inside = row >= 0
    safe = np.maximum(row, 0)
    eta = np.where(inside, jets["eta"][safe] if len(jets) else 0.0, table["eta"])
    phi = np.where(inside, jets["phi"][safe] if len(jets) else 0.0, table["phi"])
    pt = np.where(inside, jets["pt"][safe] if len(jets) else 0.0, table["pt"])
    width = FLIGHT_ANGLE_RAD * (FLIGHT_PT_GEV / np.maximum(pt, FLIGHT_PT_GEV)) ** 0.5
    eta = eta + rng.standard_normal(len(table)) * width
    phi = phi + rng.standard_normal(len(table)) * width
    return table.with_columns(
        {"axis_eta": eta, "axis_dphi": delta_phi(phi, table["phi"]), "jet_row": row}
    )
