"""Conditions of every generator object: one function for training tables as for simulation.

Objects without a neighbour within the search radius have distance 1 (the radius), differences,
momentum, mass zero, flavour flags zero: the continuous limit of a neighbour that fades away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from processors.errors import MissingBranchError, NotSimulationError
from processors.flashsim.matching import Neighbours, clean_jets, closest
from processors.jagged import Flat, flatten, local_index
from processors.location import location
from processors.objects.statusflags import STATUS_FLAGS
from processors.objects.table import ObjectTable
from processors.objects.vocabulary import (
    HADRON_FLAVOURS,
    PARTON_FLAVOURS,
    PILEUP_FIELDS,
)

__all__ = [
    "GEN_JET_FIELDS",
    "GEN_PART_FIELDS",
    "GenContent",
    "Source",
    "absent_pileup",
    "conditions",
    "event_weights",
    "has_pileup",
    "pileup_columns",
    "read_pileup",
    "read_gen",
    "require_simulation",
]

GEN_PART_FIELDS = ("pt", "eta", "phi", "pdgId", "statusFlags", "genPartIdxMother")
GEN_JET_FIELDS = ("pt", "eta", "phi", "mass", "partonFlavour", "hadronFlavour")
LAST_COPY = 1 << STATUS_FLAGS.index("isLastCopy")
ELECTRON, MUON = 11, 13
NO_FLAVOUR = -1
"""Where there is no jet: none of the flags is set, not even that of an undefined flavour."""
TILE = 4096
"""Rows written at a time (measured: three times faster than whole columns)."""


class GenContent(NamedTuple):
    """What the conditions of a block of events are made of.

    Attributes:
        particles: Generator particles.
        jets: Generator jets.
        leptons: Electrons and muons among the particles, every copy; their flat positions among
            all particles are the column ``position``.
    """

    particles: Flat
    jets: Flat
    leptons: Flat


class Source(NamedTuple):
    """Generator objects to simulate, one row each.

    Attributes:
        matrix: Conditions ``(n, C)`` float32 in the table's order and units.
        counts: Objects per event, ``(n_events,)``.
        event: Event of each object within the block, ``(n,)``.
        index: Position in the source collection before any selection, ``(n,)``.
        gen: Generator quantities by field name, each ``(n,)``.
        position: Flat position in the source collection of the block, ``(n,)``.
        source_counts: Objects per event of the whole source collection, ``(n_events,)``.
    """

    matrix: np.ndarray
    counts: np.ndarray
    event: np.ndarray
    index: np.ndarray
    gen: Mapping[str, np.ndarray]
    position: np.ndarray
    source_counts: np.ndarray


def require_simulation(events: Any) -> None:
    """Check that the generator content that every condition is made of is there.

    Pile-up may be absent as a whole, as in NANOGEN; a part of it is an error, because what is
    stored must neither be replaced nor be combined with numbers that know nothing of it.

    Raises: NotSimulationError without any generator collection, MissingBranchError naming the
        absent branches of one, or of the pile-up.
    """
    present = set(events.fields)
    needed = {"GenPart": GEN_PART_FIELDS, "GenJet": GEN_JET_FIELDS}
    if not present & set(needed):
        message = (
            f"no generator collections (GenPart, GenJet) in {location(events)}: collision data "
            "cannot be flash-simulated. Run on simulated NanoAOD or NANOGEN"
        )
        raise NotSimulationError(message)
    missing = [
        f"{name}_{field}"
        for name, fields in needed.items()
        for field in fields
        if name not in present or field not in events.layout[name].fields
    ]
    absent = absent_pileup(events)
    if len(absent) < len(PILEUP_FIELDS):
        missing += absent
    if missing:
        message = (
            f"branches {', '.join(missing)} not found in {location(events)}; the models condition "
            "on them. Keep them when skimming, or run on the unskimmed file"
        )
        raise MissingBranchError(message)


def absent_pileup(events: Any) -> list[str]:
    """Branches of the six pile-up conditions that are not stored."""
    stored = set(events.Pileup.fields) if "Pileup" in events.fields else set()
    return [f"Pileup_{name}" for name in PILEUP_FIELDS if name not in stored]


def has_pileup(events: Any) -> bool:
    """Whether all six pile-up conditions are stored."""
    return not absent_pileup(events)


def read_pileup(events: Any) -> np.ndarray:
    """The six pile-up conditions of each event, ``(n_events, 6)`` float32."""
    columns = [ak.to_numpy(events.Pileup[name]).astype(np.float32) for name in PILEUP_FIELDS]
    return np.stack(columns, axis=1)


def pileup_columns(pileup: np.ndarray) -> dict[str, np.ndarray]:
    """Branches of drawn pile-up conditions ``(n_events, 6)``."""
    integer = ("nPU", "sumEOOT", "sumLOOT")
    return {
        f"Pileup_{name}": pileup[:, i].astype(np.int32 if name in integer else np.float32)
        for i, name in enumerate(PILEUP_FIELDS)
    }


def event_weights(events: Any) -> np.ndarray:
    """Generator weight of each event, one where the file has none, ``(n_events,)`` float64."""
    if "genWeight" not in events.fields:
        return np.ones(len(events))
    return ak.to_numpy(events["genWeight"]).astype(np.float64)


def read_gen(events: Any) -> GenContent:
    """Generator particles and jets of a block, flat."""
    particles = flatten(events.GenPart, GEN_PART_FIELDS)
    kind = np.abs(particles["pdgId"])
    kept = (kind == ELECTRON) | (kind == MUON)
    leptons = particles.select(kept)
    columns = {**leptons.columns, "position": np.flatnonzero(kept)}
    jets = flatten(events.GenJet, GEN_JET_FIELDS)
    return GenContent(particles, jets, Flat(leptons.counts, columns))


def _flags(
    codes: np.ndarray, classes: Mapping[str, tuple[int, ...]], prefix: str
) -> dict[str, np.ndarray]:
    return {
        f"{prefix}_{name}": np.logical_or.reduce([codes == member for member in members])
        for name, members in classes.items()
    }


def _flavours(jets: Flat, rows: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    parton = _gather(np.abs(jets["partonFlavour"]), rows, NO_FLAVOUR)
    hadron = _gather(np.abs(jets["hadronFlavour"].astype(np.int32)), rows, NO_FLAVOUR)
    return _flags(parton, PARTON_FLAVOURS, f"{prefix}_parton") | _flags(
        hadron, HADRON_FLAVOURS, f"{prefix}_hadron"
    )


def _gather(values: np.ndarray, rows: np.ndarray, absent: int = 0) -> np.ndarray:
    """``values[rows]`` with ``absent`` where a row is -1."""
    if not len(values):
        return np.full(rows.shape, absent, dtype=values.dtype)
    return np.where(rows >= 0, values[rows], values.dtype.type(absent))


def _neighbour(prefix: str, near: Neighbours, column: int) -> dict[str, np.ndarray]:
    return {
        f"{prefix}_dr": near.dr[:, column],
        f"{prefix}_deta": near.deta[:, column],
        f"{prefix}_dphi": near.dphi[:, column],
    }


def _last_copy_muons(leptons: Flat) -> Flat:
    muon = np.abs(leptons["pdgId"]) == MUON
    return leptons.select(muon & (leptons["statusFlags"] & LAST_COPY != 0))


def _muon_source(gen: GenContent) -> tuple[Flat, np.ndarray, dict[str, np.ndarray]]:
    muons = _last_copy_muons(gen.leptons)
    charge = -np.sign(muons["pdgId"])
    clean = clean_jets(gen.jets, gen.leptons)
    near = closest(muons, gen.jets.select(clean, ("eta", "phi")))
    rows = _gather(np.flatnonzero(clean), near.index[:, 0])
    rows = np.where(near.index[:, 0] >= 0, rows, -1)
    flags = muons["statusFlags"].astype(np.int32)
    columns = {f"GenMuon_{name}": muons[name] for name in ("eta", "phi", "pt")}
    columns["GenMuon_charge"] = charge
    columns |= {f"GenMuon_{name}": (flags >> bit) & 1 for bit, name in enumerate(STATUS_FLAGS)}
    columns |= _neighbour("ClosestJet", near, 0)
    columns |= {f"ClosestJet_{name}": _gather(gen.jets[name], rows) for name in ("pt", "mass")}
    columns |= _flavours(gen.jets, rows, "ClosestJet")
    fields = {name: muons[name] for name in GEN_PART_FIELDS}
    return Flat(muons.counts, {**fields, "charge": charge}), muons["position"], columns


def _jet_source(gen: GenContent) -> tuple[Flat, np.ndarray, dict[str, np.ndarray]]:
    muons = _last_copy_muons(gen.leptons)
    near = closest(gen.jets, muons, k=2)
    columns: dict[str, np.ndarray] = {}
    for column, prefix in enumerate(("ClosestMuon", "SecondClosestMuon")):
        columns |= _neighbour(prefix, near, column)
        columns[f"{prefix}_pt"] = _gather(muons["pt"], near.index[:, column])
    columns |= {f"GenJet_{name}": gen.jets[name] for name in ("eta", "mass", "phi", "pt")}
    rows = np.arange(len(gen.jets))
    columns |= _flavours(gen.jets, rows, "GenJet")
    return gen.jets, rows, columns


SELECTIONS: Mapping[str, Callable[[GenContent], tuple[Flat, np.ndarray, dict[str, np.ndarray]]]] = {
    "muon": _muon_source,
    "jet": _jet_source,
}


def _stacked(columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns ``(n,)`` side by side, ``(n, C)`` float32, in tiles that stay in the cache."""
    matrix = np.empty((rows, len(columns)), dtype=np.float32)
    for start in range(0, rows, TILE):
        tile = matrix[start : start + TILE]
        for i, values in enumerate(columns):
            tile[:, i] = values[start : start + TILE]
    return matrix


def conditions(table: ObjectTable, gen: GenContent, pileup: np.ndarray) -> Source:
    """Select the table's generator objects and compute what its models condition on.

    Arguments:
        table: The object; its name picks the selection.
        gen: Generator content of the block.
        pileup: Pile-up conditions per event in the order of ``PILEUP_FIELDS``, ``(n_events, 6)``.
    Returns: the source rows, objects of an event consecutive.
    """
    objects, position, columns = SELECTIONS[table.name](gen)
    event = objects.event
    columns |= {f"Pileup_{name}": pileup[event, i] for i, name in enumerate(PILEUP_FIELDS)}
    counts = gen.particles.counts if table.source == "GenPart" else gen.jets.counts
    return Source(
        matrix=_stacked([columns[condition.name] for condition in table.conditions], len(objects)),
        counts=objects.counts,
        event=event,
        index=local_index(counts)[position],
        gen=objects.columns,
        position=position,
        source_counts=counts,
    )
