"""Indices between simulated collections, with the origin of a muon."""

from __future__ import annotations

import numpy as np

from processors.flashsim.matching import closest
from processors.jagged import Flat, counts_to_offsets, event_index, local_index

__all__ = ["ORIGINS", "jet_muons", "muon_jets", "muon_origin"]

ORIGINS = {"prompt": 1, "light": 3, "c": 4, "b": 5, "tau": 15}
"""Codes of ``Muon_genPartFlav``; 0 is a muon without generator partner. NanoAOD ``muons_cff``."""
JET_RADIUS = 0.4
IS_PROMPT, IS_PROMPT_TAU = 1 << 0, 1 << 5
"""Bits of ``GenPart_statusFlags``: isPrompt, isDirectPromptTauDecayProduct."""
LONGEST_CHAIN = 100
"""Generations followed upwards at most; NanoAOD prunes far below this."""


def muon_jets(muons: Flat, jets: Flat) -> np.ndarray:
    """Index in its event of the jet closest to each muon within 0.4, -1 if none, ``(n_muons,)``."""
    near = closest(muons, jets, radius=JET_RADIUS).index[:, 0]
    place = local_index(jets.counts)
    if not len(place):
        return np.full(len(muons), -1, dtype=np.int32)
    return np.where(near >= 0, place[near], -1).astype(np.int32)


def jet_muons(muons: Flat, jets: Flat, jet_of_muon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the first two muons of each jet, the inverse of :func:`muon_jets`, -1 if none."""
    first = np.full(len(jets), -1, dtype=np.int32)
    second = np.full(len(jets), -1, dtype=np.int32)
    inside = np.flatnonzero(jet_of_muon >= 0)
    target = counts_to_offsets(jets.counts)[muons.event[inside]] + jet_of_muon[inside]
    order = np.argsort(target, kind="stable")
    target, inside = target[order], inside[order]
    groups = np.unique(target, return_counts=True)[1] if len(target) else np.zeros(0, int)
    rank = local_index(groups)
    place = local_index(muons.counts)
    for array, wanted in ((first, 0), (second, 1)):
        chosen = rank == wanted
        array[target[chosen]] = place[inside[chosen]]
    return first, second


def muon_origin(particles: Flat, position: np.ndarray) -> np.ndarray:
    """``Muon_genPartFlav`` of generator muons.

    Prompt and prompt-tau muons by their status flags; the others by the heaviest hadron among
    their ancestors.

    Arguments:
        particles: ``pdgId``, ``statusFlags``, ``genPartIdxMother`` of the generator particles.
        position: Flat positions of the muons in ``particles``, ``(n,)``.
    """
    flags = particles["statusFlags"][position].astype(np.int32)
    origin = np.full(len(position), ORIGINS["light"], dtype=np.uint8)
    settled = (flags & (IS_PROMPT | IS_PROMPT_TAU)) != 0
    for name, code in (("c", 4), ("b", 5)):
        found = _has_ancestor(particles, position, ~settled, code)
        origin[found] = ORIGINS[name]
    origin[(flags & IS_PROMPT_TAU) != 0] = ORIGINS["tau"]
    origin[(flags & IS_PROMPT) != 0] = ORIGINS["prompt"]
    return origin


def _has_ancestor(
    particles: Flat, position: np.ndarray, search: np.ndarray, quark: int
) -> np.ndarray:
    """Which of the particles at ``position`` descend from a hadron with this heaviest quark."""
    start = counts_to_offsets(particles.counts)[event_index(particles.counts)[position]]
    found = np.zeros(len(position), dtype=bool)
    rows = np.flatnonzero(search)
    at = position[rows]
    for _ in range(LONGEST_CHAIN):
        mother = particles["genPartIdxMother"][at].astype(np.int64)
        rows, mother = rows[mother >= 0], mother[mother >= 0]
        if not len(rows):
            break
        at = start[rows] + mother
        hit = _heaviest_quark(particles["pdgId"][at]) == quark
        found[rows[hit]] = True
        rows, at = rows[~hit], at[~hit]
    return found


def _heaviest_quark(pdg_id: np.ndarray) -> np.ndarray:
    """4 or 5 for hadrons with c or b, 0 otherwise: digits of the numbering scheme of the PDG."""
    code = np.abs(pdg_id.astype(np.int64)) % 10_000
    meson, baryon = (code // 100) % 10, (code // 1000) % 10
    return np.where(baryon > 0, baryon, meson)
