"""The generator particles that NanoAOD keeps, with mother links into the kept list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np

from samples import ancestry

if TYPE_CHECKING:
    from samples.generator import EventRecord

__all__ = ["Lineage", "between", "gen_particles", "heavy_hadrons", "lineage", "pseudorapidity"]

_MASSLESS_IN_FILE = np.array([1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 21, 111, 211, 411, 421])
"""|pdgId| whose mass NanoAOD v9 stores as 0 (PhysicsTools/NanoAOD, genparticles_cff.py)."""
_BEAM_ETA = 23_000.0
"""What NanoAOD shows for particles along the beam is about this; infinite otherwise."""


class Lineage(NamedTuple):
    """Relations between the rows of an event record, worked out once per batch."""

    absolute: np.ndarray
    """|pdgId|."""
    pt: np.ndarray
    previous: np.ndarray
    following: np.ndarray
    hadron: np.ndarray
    decayed: np.ndarray
    """Last copy of a decayed hadron, muon or tau."""
    string: np.ndarray
    """Hadrons whose mothers are all partons between first and second mother."""


def between(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Whether ``low < value < high``, both ends out."""
    return (values > low) & (values < high)


def pseudorapidity(pt: np.ndarray, pz: np.ndarray) -> np.ndarray:
    """Pseudorapidity; particles along the beam get a large finite value with the sign of ``pz``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(pz / pt)
    return np.where(pt > 1e-9, eta, np.copysign(_BEAM_ETA, pz))


def lineage(record: EventRecord) -> Lineage:
    """Find copies, hadrons and decays of every row of the record."""
    absolute = np.abs(record.pdg_id)
    previous, following = ancestry.copies(
        record.pdg_id, record.mother, record.mother2, record.daughter, record.daughter2
    )
    hadron = _is_hadron(absolute)
    decayed = (
        (record.status == 2) & (hadron | (absolute == 13) | (absolute == 15)) & (following < 0)
    )
    parton_mother = ~hadron[record.mother] & (record.mother2 > record.mother)
    return Lineage(
        absolute,
        np.hypot(record.px, record.py),
        previous,
        following,
        hadron,
        decayed,
        hadron & parton_mother & (record.mother >= 0),
    )


def _is_hadron(absolute: np.ndarray) -> np.ndarray:
    """Mesons and baryons by their quark digits; diquarks have none for the third quark."""
    last, second, third = absolute % 10, absolute // 10 % 10, absolute // 100 % 10
    common = (absolute > 100) & (absolute < 10_000_000) & (second > 0) & (third > 0)
    neutral_kaons = (absolute == 130) | (absolute == 310)
    return (common & (last > 0) & (absolute % 1_000_000 < 100_000)) | neutral_kaons


def heavy_hadrons(record: EventRecord, line: Lineage, flavour: int) -> np.ndarray:
    """Rows of hadrons with the given quark (4 or 5) that decay into no other such hadron."""
    holds = line.hadron & (
        (line.absolute // 100 % 10 == flavour) | (line.absolute // 1000 % 10 == flavour)
    )
    mothers = np.zeros(len(holds), bool)
    mothers[record.mother[holds & (record.mother >= 0)]] = True
    return np.flatnonzero(holds & ~mothers)


def gen_particles(record: EventRecord, line: Lineage) -> ak.Array:
    """``GenPart`` of every event: pt, eta, phi, mass, pdgId, status, statusFlags, genPartIdxMother.

    The rules are those of MiniAOD followed by those of NanoAOD v9 (cms-sw/cmssw,
    prunedGenParticles_cfi.py and genparticles_cff.py). Masses are those of the generator;
    the writer sets to 0 what NanoAOD does not store.
    """
    hard = ancestry.from_hard_process(
        record.status, record.mother, line.previous, line.following
    )
    kept = _nano_rules(record, line, hard, _mini_rules(record, line, hard))
    rows = np.flatnonzero(kept)
    flags = ancestry.flag_rows(
        rows, record.pdg_id, record.status, record.mother, record.daughter, record.daughter2,
        line.previous, line.following, line.decayed, line.hadron,
    )  # fmt: skip
    mother = ancestry.nearest_kept(rows, line.string, kept, record.mother, record.mother2)
    ends = np.searchsorted(rows, record.offsets)
    position = np.cumsum(kept) - 1
    first = np.repeat(ends[:-1], np.diff(ends))
    local = np.where(mother >= 0, position[mother] - first, -1)
    columns = {
        "pt": line.pt[rows].astype(np.float32),
        "eta": pseudorapidity(line.pt[rows], record.pz[rows]).astype(np.float32),
        "phi": np.arctan2(record.py[rows], record.px[rows]).astype(np.float32),
        "mass": record.mass[rows].astype(np.float32),
        "pdgId": record.pdg_id[rows],
        "status": record.status[rows],
        "statusFlags": flags,
        "genPartIdxMother": local.astype(np.int32),
    }
    return ak.zip({k: ak.unflatten(v, np.diff(ends)) for k, v in columns.items()})


def stored_mass(pdg_id: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Mass as NanoAOD v9 stores it: 0 for light and well-known particles, photons below 1 GeV."""
    known = np.isin(np.abs(pdg_id), _MASSLESS_IN_FILE) | ((pdg_id == 22) & (mass < 1.0))
    return np.where(known, 0.0, mass).astype(np.float32)


def _prompt_stable(
    record: EventRecord, line: Lineage, of: np.ndarray, above: float
) -> np.ndarray:
    """Stable rows among ``of`` that are above a pt in GeV or prompt."""
    out = of & (record.status == 1) & (line.pt > above)
    rows = np.flatnonzero(of & (record.status == 1) & ~out)
    out[rows] = ancestry.prompt(rows, record.mother, line.decayed)
    return out


def _heavy(absolute: np.ndarray) -> np.ndarray:
    return between(absolute, 400, 600) | between(absolute, 4000, 6000)


def _hard_summary(record: EventRecord, line: Lineage, hard: np.ndarray) -> np.ndarray:
    """The event summary by flags: last copies, final and decayed copies, the process itself."""
    code = between(record.status, 20, 30)
    return code | (hard & ((line.following < 0) | (record.status == 1) | line.decayed))


def _mini_rules(record: EventRecord, line: Lineage, hard: np.ndarray) -> np.ndarray:
    """What MiniAOD keeps, in the order of its rules: later rules overrule earlier ones."""
    a, status, mothers = line.absolute, record.status, (record.mother, record.mother2)
    lepton = (a == 11) | (a == 13) | (a == 15)
    kept = lepton | ancestry.mark_ancestors(lepton, line.string, *mothers)
    kept[status == 2] = False
    heavy = _heavy(a) & line.hadron
    kept |= heavy | ancestry.mark_descendants(heavy, record.mother)
    kept[status == 1] = False
    of_heavy = np.zeros(len(kept), bool)
    has_mother = record.mother >= 0
    of_heavy[has_mother] = heavy[record.mother[has_mother]]
    kept |= heavy | of_heavy | lepton | (a == 12) | (a == 14) | (a == 16)
    seeds = _prompt_stable(record, line, a == 22, 10.0) | _prompt_stable(
        record, line, a == 11, 3.0
    )
    seeds |= (a == 13) & (status == 1)
    seeds_mothers = _direct_mothers(seeds, record.mother)
    kept |= seeds | seeds_mothers | ancestry.mark_descendants(a == 15, record.mother)
    gluon = record.pdg_id == 21
    kept[between(status, 30, 70) | (gluon & ((line.pt < 5) | (status == 2)))] = False
    kept |= (a == 6) | between(a, 22, 26) | (a == 37) | (a == 4) | (a == 5)
    kept |= (a == 13) & (status == 1) | _direct_mothers((a == 13) & (status == 1), record.mother)
    light = ((a >= 1) & (a <= 3)) | gluon
    kept |= light & ((status == 71) | (status == 72)) & (line.pt > 5)
    return kept | _hard_summary(record, line, hard)


def _direct_mothers(rows: np.ndarray, mother: np.ndarray) -> np.ndarray:
    out = np.zeros(len(rows), bool)
    mothers = mother[rows]
    out[mothers[mothers >= 0]] = True
    return out


def _nano_rules(
    record: EventRecord, line: Lineage, hard: np.ndarray, mini: np.ndarray
) -> np.ndarray:
    """What NanoAOD keeps of MiniAOD's list."""
    a, status, mother = line.absolute, record.status, record.mother
    tau = (a == 15) & mini
    long = tau & (line.pt > 15)
    rows = np.flatnonzero(tau & line.decayed)
    long[rows] |= ancestry.prompt(rows, mother, line.decayed)
    kept = tau | ancestry.mark_descendants(long, mother)
    has_mother = mother >= 0
    kept[has_mother] |= tau[mother[has_mother]]
    seeds = mini & (_prompt_stable(record, line, a == 22, 10.0) | (a == 11) | (a == 13) | (a == 15))
    kept |= seeds | ancestry.mark_mothers(seeds, line.string, mini, mother, record.mother2)
    kept[a == 2212] = False
    kept |= between(a, 400, 600) | between(a, 4000, 6000)
    kept |= (a == 12) | (a == 14) | (a == 16)
    kept |= _hard_summary(record, line, hard)
    kept |= between(status, 70, 80) & (line.pt > 15)
    kept |= (a == 23) | (a == 24) | (a == 25) | (a == 37)
    return kept & mini
