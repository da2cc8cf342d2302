"""Events as ddsim writes them: EDM4hep collections of the tree ``events``, split into branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from samples.timing.bar import Bar
from samples.timing.muons import GAP, MUON_MASS, Crossings, Muons

if TYPE_CHECKING:
    from collections.abc import Mapping

    import uproot

    from samples.timing.light import Photons

__all__ = ["CELL", "TREE", "Collections", "collections", "make_tree"]

TREE = "events"
Collections = dict[str, ak.Array]
"""Jagged records by collection; the fields are the branches' names behind the collection's."""

CELL = {"system": (0, 8), "stave": (8, 4), "layer": (12, 6), "segment": (18, 4), "sensor": (22, 2)}
"""Offset, width in bits of the fields of a cell id; chosen, ``sensor`` is 0 in the bar itself."""
SYSTEM = 51
"""Id of the detector; chosen."""
PHOTON, MUON = -22, 13
PHOTON_ENERGY = 2.95e-9
"""GeV: 420 nm, where organic scintillators shine most."""
COARSE_BITS = 13
"""Mantissa bits of a float32 that photons' origins and directions lose: they tell nothing more."""
VECTOR = ("x", "y", "z")
HIT = {
    "cellID": "uint64",
    "EDep": "float32",
    "time": "float32",
    "pathLength": "float32",
    "quality": "int32",
    **{f"position.{axis}": "float64" for axis in VECTOR},
    **{f"momentum.{axis}": "float32" for axis in VECTOR},
}
PARTICLE = {
    "PDG": "int32",
    "generatorStatus": "int32",
    "simulatorStatus": "int32",
    "charge": "float32",
    "time": "float32",
    "mass": "float64",
    **{f"vertex.{axis}": "float64" for axis in VECTOR},
    **{f"momentum.{axis}": "float64" for axis in VECTOR},
    "parents_begin": "uint32",
    "parents_end": "uint32",
}
BRANCHES: dict[str, dict[str, str]] = {
    "EventHeader": {"eventNumber": "int32", "runNumber": "int32"},
    "MCParticles": PARTICLE,
    "_MCParticles_parents": {"index": "int32"},
    "HcalBarrelHits": HIT,
    "_HcalBarrelHits_MCParticle": {"index": "int32"},
}


def make_tree(file: uproot.WritableDirectory, baskets: int) -> uproot.WritableTree:
    """An empty tree for :func:`collections`."""
    types = {
        name: "var * {" + ", ".join(f'"{field}": {kind}' for field, kind in fields.items()) + "}"
        for name, fields in BRANCHES.items()
    }
    return file.mktree(
        TREE,
        types,
        title=TREE,
        field_name=lambda outer, inner: f"{outer}.{inner}",
        initial_basket_capacity=max(baskets, 1),
    )


def collections(
    muons: Muons, tracks: Crossings, photons: Photons, bar: Bar, events: int, first: int
) -> Collections:
    """What a file shows of a batch.

    Arguments:
        muons: Of the guns.
        tracks: Their ways through bars.
        photons: What the sensors see.
        bar: The bars.
        events: Number of events.
        first: Number of the first event.
    """
    track_event = muons.event[tracks.muon]
    photon_event = track_event[photons.crossing]
    numbers = np.bincount(muons.event, minlength=events)
    muon_place = _places(muons.event)
    photon_place = _places(photon_event) + numbers[photon_event]
    header = {"eventNumber": np.arange(first, first + events), "runNumber": np.zeros(events)}
    event = np.concatenate([muons.event, photon_event])
    hit_event = np.concatenate([track_event, photon_event])
    parent = muon_place[tracks.muon[photons.crossing]]
    links = np.concatenate([muon_place[tracks.muon], photon_place])
    particles = _joined(_muons(muons), _photons(muons, tracks, photons, bar))
    hits = _joined(_deposits(muons, tracks, bar), _detections(tracks, photons, bar))
    columns = {
        "EventHeader": (np.arange(events), header),
        "MCParticles": (event, particles | _parents(event, particles["PDG"])),
        "_MCParticles_parents": (photon_event, {"index": parent}),
        "HcalBarrelHits": (hit_event, hits),
        "_HcalBarrelHits_MCParticle": (hit_event, {"index": links}),
    }
    return {name: _jagged(name, *content, events) for name, content in columns.items()}


def _muons(muons: Muons) -> dict[str, np.ndarray]:
    number = len(muons.z)
    across, along = np.sin(muons.theta), np.cos(muons.theta)
    none = np.zeros(number)
    return {
        "PDG": np.full(number, MUON),
        "generatorStatus": np.ones(number),
        "simulatorStatus": none,
        "charge": np.full(number, -1.0),
        "time": none,
        "mass": np.full(number, MUON_MASS),
        **_vector("vertex", np.full(number, Bar.entrance - GAP), none, muons.z),
        **_vector("momentum", muons.momentum * across, none, muons.momentum * along),
    }


def _photons(muons: Muons, tracks: Crossings, photons: Photons, bar: Bar) -> dict[str, np.ndarray]:
    number = len(photons.time)
    theta = muons.theta[tracks.muon[photons.crossing]]
    depth = bar.entrance + bar.pitch * tracks.layer[photons.crossing]
    x = depth + photons.along * np.sin(theta)
    z = tracks.z[photons.crossing] + photons.along * np.cos(theta)
    none = np.zeros(number)
    return {
        "PDG": np.full(number, PHOTON),
        "generatorStatus": none,
        "simulatorStatus": none,
        "charge": none,
        "time": _coarse(tracks.time[photons.crossing]),
        "mass": none,
        **_vector("vertex", _coarse(x), none, _coarse(z)),
        **_vector("momentum", *_coarse(PHOTON_ENERGY * photons.direction.T)),
    }


def _deposits(muons: Muons, tracks: Crossings, bar: Bar) -> dict[str, np.ndarray]:
    number = len(tracks.z)
    theta = muons.theta[tracks.muon]
    none = np.zeros(number)
    return {
        "cellID": _cells(tracks.layer, none),
        "EDep": tracks.energy,
        "time": tracks.time,
        "pathLength": tracks.length,
        "quality": none,
        **_vector("position", bar.entrance + bar.pitch * tracks.layer, none, tracks.z),
        **_vector(
            "momentum", tracks.momentum * np.sin(theta), none, tracks.momentum * np.cos(theta)
        ),
    }


def _detections(tracks: Crossings, photons: Photons, bar: Bar) -> dict[str, np.ndarray]:
    """Hits of photons; what direction bounces leave them is not followed."""
    number = len(photons.time)
    layer = tracks.layer[photons.crossing]
    none = np.zeros(number)
    high = photons.sensor == 2
    depth = bar.entrance + bar.pitch * layer + bar.thickness / 2
    return {
        "cellID": _cells(layer, photons.sensor),
        "EDep": np.full(number, PHOTON_ENERGY),
        "time": photons.time,
        "pathLength": none,
        "quality": none,
        **_vector("position", depth, none, np.where(high, bar.high, bar.low)),
        **_vector("momentum", none, none, none),
    }


def _cells(layer: np.ndarray, sensor: np.ndarray) -> np.ndarray:
    """Cell ids of bars and of their sensors."""
    fields = {"system": SYSTEM, "layer": layer, "sensor": sensor}
    cell = np.zeros(len(layer), dtype=np.uint64)
    for name, values in fields.items():
        cell |= np.asarray(values, dtype=np.uint64) << np.uint64(CELL[name][0])
    return cell


def _parents(event: np.ndarray, kind: np.ndarray) -> dict[str, np.ndarray]:
    """Ranges in the list of parents: one entry of each photon, none of a muon."""
    order = np.argsort(event, kind="stable")
    child = (kind == PHOTON)[order]
    ends = np.cumsum(child)
    starts = np.searchsorted(event[order], event[order])
    before = (ends - child)[starts] if len(ends) else ends
    last = np.empty(len(event), dtype=np.int64)
    last[order] = ends - before
    return {"parents_begin": last - (kind == PHOTON), "parents_end": last}


def _places(event: np.ndarray) -> np.ndarray:
    """Position of each row among those of its event; events rise."""
    return np.arange(len(event)) - np.searchsorted(event, event)


def _coarse(values: np.ndarray) -> np.ndarray:
    """Numbers of fewer bits, which compress."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32(1 << (COARSE_BITS - 1))
    return (((bits + half) >> COARSE_BITS) << COARSE_BITS).view(np.float32)


def _vector(name: str, *values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}.{axis}": value for axis, value in zip(VECTOR, values, strict=True)}


def _joined(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: np.concatenate([first[name], second[name]]) for name in first}


def _jagged(
    name: str, event: np.ndarray, columns: Mapping[str, np.ndarray], events: int
) -> ak.Array:
    order = np.argsort(event, kind="stable")
    counts = np.bincount(event, minlength=events)
    fields = {
        field: np.asarray(columns[field])[order].astype(kind)
        for field, kind in BRANCHES[name].items()
    }
    return ak.unflatten(ak.Array(fields), counts)
