"""Jets of stable visible particles, their flavour by ghost association, what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import fastjet
import numpy as np

from samples.truth import heavy_hadrons, pseudorapidity

if TYPE_CHECKING:
    from samples.generator import EventRecord
    from samples.truth import Lineage

__all__ = ["AK4", "AK8", "Inputs", "JetKind", "cluster", "jet_inputs", "visible_particles"]

GHOST_SCALE = 1e-18
"""Ghosts keep their direction and lose their momentum (as CMS's JetFlavourClustering)."""
MIN_GHOST_PARTON_PT = 1.0
"""GeV; softer partons cannot decide the flavour of a jet above 10 GeV (chosen)."""
MIN_PARTICLE_PT, MAX_PARTICLE_ETA = 0.2, 5.0
"""Acceptance of the particles handed to the detector (GeV; chosen)."""
DISPLACED_LXY = 0.01
"""cm; charged particles from further out count as displaced (chosen)."""


class JetKind(NamedTuple):
    """Radius and smallest pt in GeV of a jet collection (NanoAOD v9, genparticles and jets)."""

    radius: float
    min_pt: float


AK4 = JetKind(0.4, 10.0)
AK8 = JetKind(0.8, 100.0)


class Inputs(NamedTuple):
    """What is clustered: visible particles at full momentum, everything else as ghosts."""

    rows: np.ndarray
    """Rows of the event record."""
    ends: np.ndarray
    """Inputs of event ``i`` are ``ends[i]:ends[i + 1]``."""
    visible: np.ndarray
    neutrino: np.ndarray
    hadron: np.ndarray
    """Flavour of heavy hadrons, 4 or 5; 0 for everything else."""
    parton: np.ndarray
    """Partons that enter hadronisation."""
    decay_lxy: np.ndarray
    """Transverse decay length of heavy hadrons in cm, 0 for everything else."""


def jet_inputs(record: EventRecord, line: Lineage) -> Inputs:
    """Select particles and ghosts of every event."""
    stable = record.status == 1
    neutrino = stable & ((line.absolute == 12) | (line.absolute == 14) | (line.absolute == 16))
    visible = stable & ~neutrino
    coloured = ((line.absolute >= 1) & (line.absolute <= 5)) | (line.absolute == 21)
    partons = (record.status > 70) & (record.status < 80) & coloured
    partons &= line.pt > MIN_GHOST_PARTON_PT
    hadron = np.zeros(len(stable), np.int8)
    for flavour in (4, 5):
        hadron[heavy_hadrons(line, flavour)] = flavour
    decay = np.where((hadron > 0) & (record.daughter >= 0), record.lxy[record.daughter], 0.0)
    rows = np.flatnonzero(visible | neutrino | partons | (hadron > 0))
    ends = np.searchsorted(rows, record.offsets)
    return Inputs(
        rows, ends, visible[rows], neutrino[rows], hadron[rows], partons[rows], decay[rows]
    )


def cluster(
    record: EventRecord, line: Lineage, inputs: Inputs, kind: JetKind, *, details: bool
) -> tuple[ak.Array, np.ndarray]:
    """Anti-kt jets of every event, hardest first, and the jet of every input (-1: none).

    Jets have pt, eta, phi, mass (GeV), partonFlavour, hadronFlavour and, with ``details``,
    summaries of their contents that no file shows.
    """
    members, jet_of_member, jets_per_event = _constituents(record, inputs, kind)
    total = int(jets_per_event.sum())
    momenta = _momenta(record, inputs, members, jet_of_member, total)
    event = np.repeat(np.arange(record.events), jets_per_event)
    order = np.lexsort((-momenta[:, 0], event))
    rank = np.empty(total, np.int64)
    rank[order] = np.arange(total)
    momenta, jet_of_member = momenta[order], rank[jet_of_member]
    columns = {
        name: momenta[:, i].astype(np.float32)
        for i, name in enumerate(("pt", "eta", "phi", "mass"))
    }
    columns |= _flavours(record, line, inputs, members, jet_of_member, total)
    if details:
        columns |= _contents(record, line, inputs, members, jet_of_member, momenta)
    first = np.concatenate(([0], np.cumsum(jets_per_event)))[:-1]
    jet_of_input = np.full(len(inputs.rows), -1, np.int32)
    jet_of_input[members] = jet_of_member - first[event[jet_of_member]]
    jets = ak.zip({k: ak.unflatten(v, jets_per_event) for k, v in columns.items()})
    return jets, jet_of_input


def _constituents(
    record: EventRecord, inputs: Inputs, kind: JetKind
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs that are in jets, the jet of each, and the number of jets per event."""
    scale = np.where(inputs.visible, 1.0, GHOST_SCALE)
    four = {
        name: ak.contents.NumpyArray(column[inputs.rows] * scale)
        for name, column in zip(("px", "py", "pz", "E"), _four(record), strict=True)
    }
    content = ak.contents.RecordArray(
        list(four.values()), list(four), parameters={"__record__": "Momentum4D"}
    )
    events = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(inputs.ends), content))
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # the library prints nothing
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, kind.radius)
    found = fastjet.ClusterSequence(events, definition).constituent_index(min_pt=kind.min_pt)
    jets_per_event = ak.to_numpy(ak.num(found, axis=1))
    sizes = ak.to_numpy(ak.flatten(ak.num(found, axis=2)))
    jet = np.repeat(np.arange(len(sizes)), sizes)
    start = np.repeat(np.repeat(inputs.ends[:-1], jets_per_event), sizes)
    return ak.to_numpy(ak.flatten(found, axis=None)) + start, jet, jets_per_event


def _four(record: EventRecord) -> tuple[np.ndarray, ...]:
    return record.px, record.py, record.pz, record.energy


def _momenta(
    record: EventRecord, inputs: Inputs, members: np.ndarray, jet: np.ndarray, total: int
) -> np.ndarray:
    """Columns pt, eta, phi, mass of each jet: the sum of its visible particles."""
    rows, weight = inputs.rows[members], inputs.visible[members]
    px, py, pz, energy = (
        np.bincount(jet, column[rows] * weight, total) for column in _four(record)
    )
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))
    return np.stack([pt, pseudorapidity(pt, pz), np.arctan2(py, px), mass], axis=1)


def _flavours(
    record: EventRecord, line: Lineage, inputs: Inputs, members: np.ndarray, jet: np.ndarray,
    total: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Hadron flavour: 5, else 4, else 0. Parton flavour: hardest b, else c, else of all."""
    hadron = np.zeros(total, np.uint8)
    np.maximum.at(hadron, jet, inputs.hadron[members].astype(np.uint8))
    is_parton = inputs.parton[members]
    rows, of = inputs.rows[members][is_parton], jet[is_parton]
    kind = np.where(line.absolute[rows] <= 5, np.maximum(line.absolute[rows] - 3, 0), 0)
    order = np.lexsort((line.pt[rows], kind, of))
    parton = np.zeros(total, np.int32)
    parton[of[order]] = record.pdg_id[rows[order]]
    return {"partonFlavour": parton, "hadronFlavour": hadron}


def _contents(
    record: EventRecord, line: Lineage, inputs: Inputs, members: np.ndarray, jet: np.ndarray,
    momenta: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Energy fractions, multiplicities and shapes of the jets' particles (float32, int32)."""
    total = len(momenta)
    rows = inputs.rows[members]
    ghost = ~inputs.visible[members]
    lost = np.zeros(total)
    neutrinos = inputs.neutrino[members]
    np.add.at(lost, jet[neutrinos], line.pt[rows[neutrinos]])
    length = np.zeros(total)
    np.maximum.at(length, jet, inputs.decay_lxy[members])
    rows, jet = rows[~ghost], jet[~ghost]
    absolute, charge, pt = line.absolute[rows], record.charge[rows], line.pt[rows]
    energy = record.energy[rows]

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(jet, values, total)

    whole = summed(energy)
    lepton = (absolute == 11) | (absolute == 13)
    charged = charge != 0
    share = {
        "chargedFraction": charged & ~lepton,
        "photonFraction": absolute == 22,
        "electronFraction": absolute == 11,
        "muonFraction": absolute == 13,
        "neutralFraction": ~charged & (absolute != 22),
    }
    out = {name: (summed(energy * mask) / whole).astype(np.float32) for name, mask in share.items()}
    out["nCharged"] = summed(charged).astype(np.int32)
    out["nNeutral"] = summed(~charged).astype(np.int32)
    total_pt = summed(pt)
    out["ptD"] = (np.sqrt(summed(pt**2)) / total_pt).astype(np.float32)
    deta = pseudorapidity(pt, record.pz[rows]) - momenta[jet, 1]
    dphi = np.arctan2(record.py[rows], record.px[rows]) - momenta[jet, 2]
    dphi = (dphi + np.pi) % (2 * np.pi) - np.pi
    out["girth"] = (summed(pt * np.hypot(deta, dphi)) / total_pt).astype(np.float32)
    out["nDisplaced"] = summed(charged & (record.lxy[rows] > DISPLACED_LXY)).astype(np.int32)
    out["lxy"] = length.astype(np.float32)
    out["neutrinoPt"] = lost.astype(np.float32)
    hardest = np.zeros(total)
    np.maximum.at(hardest, jet[charged], pt[charged])
    out["leadingChargedPt"] = hardest.astype(np.float32)
    return out


def visible_particles(
    record: EventRecord, line: Lineage, inputs: Inputs, jet_of_input: np.ndarray
) -> ak.Array:
    """Stable visible particles in acceptance, with the AK4 jet that holds them (-1: none)."""
    rows = inputs.rows
    eta = pseudorapidity(line.pt[rows], record.pz[rows])
    keep = inputs.visible & (line.pt[rows] > MIN_PARTICLE_PT) & (np.abs(eta) < MAX_PARTICLE_ETA)
    chosen = rows[keep]
    counts = np.diff(np.concatenate(([0], np.cumsum(keep)))[inputs.ends])
    columns = {
        "pt": line.pt[chosen].astype(np.float32),
        "eta": eta[keep].astype(np.float32),
        "phi": np.arctan2(record.py[chosen], record.px[chosen]).astype(np.float32),
        "mass": record.mass[chosen].astype(np.float32),
        "pdgId": record.pdg_id[chosen],
        "charge": record.charge[chosen],
        "lxy": record.lxy[chosen].astype(np.float32),
        "jetIdx": jet_of_input[keep],
    }
    return ak.zip({k: ak.unflatten(v, counts) for k, v in columns.items()})
