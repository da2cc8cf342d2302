"""The generator particles that NanoAOD keeps, with mother links into the kept list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from samples import ancestry
from samples.ancestry import Bools, Family, Ints
from samples.flags import from_hard_process, status_flags

if TYPE_CHECKING:
    from samples.generator import EventRecord

__all__ = [
    "Floats",
    "Lineage",
    "gen_particles",
    "heavy_hadrons",
    "lineage",
    "pseudorapidity",
    "stored_mass",
]

Floats = NDArray[np.floating]

_MASSLESS_IN_FILE = np.array([1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 21, 111, 211, 411, 421])
"""|pdgId| whose mass NanoAOD v9 stores as 0 (PhysicsTools/NanoAOD, genparticles_cff.py)."""
_SPECIAL_CODES = 9_900_000
"""PDG codes from here on are free; Pythia has its diffractive states there."""
_PARTON_PT = 6.0
"""GeV, for partons before hadronisation. NanoAOD has 15; its files hold the partons of a next-to-
leading-order emission besides, and 6 makes the list of leading-order events as long (chosen)."""
_BEAM_ETA = 23_000.0
"""What NanoAOD shows for particles along the beam is about this; infinite otherwise."""


class Lineage(NamedTuple):
    """What is worked out once per batch and used by all that follows."""

    absolute: NDArray[np.int32]
    """|pdgId|."""
    pt: Floats
    family: Family


def pseudorapidity(pt: Floats, pz: Floats) -> Floats:
    """Pseudorapidity; particles along the beam get a large finite value with the sign of ``pz``."""
    eta: Floats = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return np.where(pt > 1e-9, eta, np.copysign(_BEAM_ETA, pz))


def lineage(record: EventRecord) -> Lineage:
    """Find copies, hadrons and decays of every row of the record."""
    absolute = np.abs(record.pdg_id)
    links = (record.mother, record.mother2, record.daughter, record.daughter2)
    previous, following = ancestry.copies(record.pdg_id, *links)
    hadron = _is_hadron(absolute)
    decays = hadron | (absolute == 13) | (absolute == 15)
    decayed = (record.status == 2) & decays & (following < 0)
    from_partons = (record.mother >= 0) & ~hadron[record.mother]
    string = hadron & from_partons & (record.mother2 > record.mother)
    family = Family(
        record.pdg_id, record.status, *links, previous, following, hadron, decayed, string
    )
    return Lineage(absolute, np.hypot(record.px, record.py), family)


def _is_hadron(absolute: NDArray[np.int32]) -> Bools:
    """Mesons and baryons: PDG's codes with two or three quark digits and a spin digit."""
    spin, first, second = absolute % 10, absolute // 10 % 10, absolute // 100 % 10
    particles = (absolute > 100) & (absolute < _SPECIAL_CODES)
    quarks: Bools = particles & (first > 0) & (second > 0) & (spin > 0)
    return quarks | (absolute == 130) | (absolute == 310)


def heavy_hadrons(line: Lineage, flavour: int) -> Ints:
    """Rows of hadrons with the given quark (4 or 5) that decay into no other such hadron."""
    leading, second = line.absolute // 1000 % 10, line.absolute // 100 % 10
    holds = line.family.hadron & ((leading == flavour) | (second == flavour))
    mothers = _mothers(holds, line)
    return np.flatnonzero(holds & ~mothers)


def gen_particles(record: EventRecord, line: Lineage) -> ak.Array:
    """``GenPart`` of every event: pt, eta, phi, mass, pdgId, status, statusFlags, genPartIdxMother.

    The rules are those of MiniAOD followed by those of NanoAOD v9 (cms-sw/cmssw,
    prunedGenParticles_cfi.py and genparticles_cff.py). Masses are those of the generator;
    see :func:`stored_mass` for what a file shows. One threshold differs, :data:`_PARTON_PT`.
    """
    summary = _hard_summary(line)
    kept = _nano_rules(line, summary, _mini_rules(line, summary))
    rows = np.flatnonzero(kept)
    mother = ancestry.nearest_kept(rows, kept, line.family)
    ends = np.searchsorted(rows, record.offsets)
    position = np.cumsum(kept) - 1
    first = np.repeat(ends[:-1], np.diff(ends))
    columns = {
        "pt": line.pt[rows].astype(np.float32),
        "eta": pseudorapidity(line.pt[rows], record.pz[rows]).astype(np.float32),
        "phi": np.arctan2(record.py[rows], record.px[rows]).astype(np.float32),
        "mass": record.mass[rows].astype(np.float32),
        "pdgId": record.pdg_id[rows],
        "status": record.status[rows],
        "statusFlags": status_flags(rows, line.family),
        "genPartIdxMother": np.where(mother >= 0, position[mother] - first, -1).astype(np.int32),
    }
    return ak.zip({k: ak.unflatten(v, np.diff(ends)) for k, v in columns.items()})


def stored_mass(pdg_id: NDArray[np.int32], mass: Floats) -> NDArray[np.float32]:
    """Mass as NanoAOD v9 stores it: 0 for light and well-known particles, photons below 1 GeV."""
    known = np.isin(np.abs(pdg_id), _MASSLESS_IN_FILE) | ((pdg_id == 22) & (mass < 1.0))
    return np.where(known, 0.0, mass).astype(np.float32)


def _within(values: NDArray[np.int32], low: int, high: int) -> Bools:
    """Whether ``low < value < high``, both ends out."""
    out: Bools = (values > low) & (values < high)
    return out


def _mothers(rows: Bools, line: Lineage) -> Bools:
    """First mothers of the given rows."""
    out = np.zeros(len(rows), np.bool_)
    mothers = line.family.mother[rows]
    out[mothers[mothers >= 0]] = True
    return out


def _daughters(rows: Bools, line: Lineage) -> Bools:
    """Rows whose first mother is among the given rows."""
    mother = line.family.mother
    return (mother >= 0) & rows[mother]


def _visible_light(line: Lineage, identity: int, above: float) -> Bools:
    """Stable photons or electrons that are above a pt in GeV or prompt."""
    stable = (line.absolute == identity) & (line.family.status == 1)
    out: Bools = stable & (line.pt > above)
    rows = np.flatnonzero(stable & ~out)
    out[rows] = ancestry.prompt(rows, line.family)
    return out


def _hard_summary(line: Lineage) -> Bools:
    """The hard process: its own rows and the last, stable or decayed copies of its particles."""
    family = line.family
    ends = (family.following < 0) | (family.status == 1) | family.decayed
    return _within(family.status, 20, 30) | (from_hard_process(family) & ends)


def _mini_rules(line: Lineage, summary: Bools) -> Bools:
    """What MiniAOD keeps, in the order of its rules: later rules overrule earlier ones."""
    a, status, family = line.absolute, line.family.status, line.family
    lepton = (a == 11) | (a == 13) | (a == 15)
    kept = ancestry.mark_ancestors(lepton, family)
    kept[status == 2] = False
    heavy = (_within(a, 400, 600) | _within(a, 4000, 6000)) & family.hadron
    kept |= ancestry.mark_descendants(heavy, family)
    kept[status == 1] = False
    kept |= heavy | _daughters(heavy, line) | lepton | (a == 12) | (a == 14) | (a == 16)
    muons = (a == 13) & (status == 1)
    with_mother = _visible_light(line, 22, 10.0) | _visible_light(line, 11, 3.0)
    kept |= with_mother | _mothers(with_mother, line)
    kept |= ancestry.mark_descendants(a == 15, family)
    gluon = family.pdg_id == 21
    kept[_within(status, 30, 70) | (gluon & ((line.pt < 5) | (status == 2)))] = False
    kept |= muons | _mothers(muons, line)
    kept |= (a == 4) | (a == 5) | (a == 6) | _within(a, 22, 26) | (a == 37)
    light = ((a >= 1) & (a <= 3)) | gluon
    kept |= light & ((status == 71) | (status == 72)) & (line.pt > 5)
    return kept | summary


def _nano_rules(line: Lineage, summary: Bools, mini: Bools) -> Bools:
    """What NanoAOD keeps of MiniAOD's list."""
    a, status, family = line.absolute, line.family.status, line.family
    tau = (a == 15) & mini
    whole = tau & (line.pt > 15)
    rows = np.flatnonzero(tau & family.decayed)
    whole[rows] |= ancestry.prompt(rows, family)
    kept = tau | ancestry.mark_descendants(whole, family) | _daughters(tau, line)
    lepton = (a == 11) | (a == 13) | (a == 15)
    with_mother = mini & (_visible_light(line, 22, 10.0) | lepton)
    kept |= with_mother | ancestry.mark_mothers(with_mother, mini, family)
    kept[a == 2212] = False
    kept |= _within(a, 400, 600) | _within(a, 4000, 6000)
    kept |= (a == 12) | (a == 14) | (a == 16) | summary
    kept |= _within(status, 70, 80) & (line.pt > _PARTON_PT)
    kept |= (a == 23) | (a == 24) | (a == 25) | (a == 37)
    return kept & mini
