"""The content of output events: generator columns carried over, simulated collections, folds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from processors.content import Content
from processors.flashsim.conditions import GenContent
from processors.flashsim.links import jet_muons, muon_jets, muon_origin
from processors.flashsim.object_simulation import Simulated
from processors.identity import EventIds
from processors.jagged import Flat, counts_to_offsets, local_index
from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES, Branch
from processors.objects.muon import MUON_MASS

__all__ = ["collections", "event_content", "repeat_events"]

NONE = -1


def collections(simulated: Mapping[str, Simulated], gen: GenContent) -> dict[str, Flat]:
    """Simulated collections with every NanoAOD v9 column, indices between them included.

    Arguments:
        simulated: Results by collection, ``Muon``, ``Jet`` or both.
        gen: Generator content of the block.
    """
    muons, jets = simulated.get("Muon"), simulated.get("Jet")
    near = None
    if muons is not None and jets is not None:
        near = muon_jets(muons.objects, jets.objects)
    result = {}
    if muons is not None:
        result["Muon"] = _ordered(_muon_columns(muons, near, gen), muons.objects, MUON_BRANCHES)
    if jets is not None:
        muon_objects = muons.objects if muons is not None else None
        result["Jet"] = _ordered(_jet_columns(jets, muon_objects, near), jets.objects, JET_BRANCHES)
    return result


def _muon_columns(
    muons: Simulated, near: np.ndarray | None, gen: GenContent
) -> dict[str, np.ndarray]:
    number = len(muons.objects)
    return {
        **muons.objects.columns,
        "mass": np.full(number, MUON_MASS, dtype=np.float32),
        "pdgId": -13 * muons.objects["charge"],
        "jetIdx": np.full(number, NONE) if near is None else near,
        "genPartIdx": muons.index,
        "genPartFlav": muon_origin(gen.particles, muons.position),
    }


def _jet_columns(
    jets: Simulated, muons: Flat | None, near: np.ndarray | None
) -> dict[str, np.ndarray]:
    absent = np.full(len(jets.objects), NONE)
    first, second = absent, absent
    if muons is not None and near is not None:
        first, second = jet_muons(muons, jets.objects, near)
    return {
        **jets.objects.columns,
        "genJetIdx": jets.index,
        "muonIdx1": first,
        "muonIdx2": second,
        "electronIdx1": absent,
        "electronIdx2": absent,
    }


def _ordered(
    columns: Mapping[str, np.ndarray], objects: Flat, branches: tuple[Branch, ...]
) -> Flat:
    """Columns in the stored order and types."""
    stored = {b.name: columns[b.name].astype(b.dtype, copy=False) for b in branches}
    return Flat(objects.counts, stored)


def event_content(
    content: Content,
    made: Mapping[str, Flat],
    ids: EventIds,
    weights: np.ndarray,
    pileup: Mapping[str, np.ndarray],
    folds: int,
) -> Content:
    """All columns of the output events of a block.

    Each generated event gives ``folds`` consecutive events with the same generator content;
    ``fold`` numbers them, ``genWeight`` is divided by their number, so sums of weights stay.

    Arguments:
        content: Generator columns of the input.
        made: Simulated collections, folds innermost.
        ids: Identity of the events.
        weights: Generator weights, ``(n_events,)``.
        pileup: Pile-up columns that were drawn because the input lacks them; never in the place
            of stored ones.
        folds: Simulations per generated event.
    """
    base: Content = {
        "run": ids.run.astype(np.uint32),
        "luminosityBlock": ids.luminosity_block.astype(np.uint32),
        "event": ids.event.astype(np.uint64),
    }
    base |= {name: values for name, values in content.items() if name not in base}
    base |= {name: values for name, values in pileup.items() if name not in base}
    base["genWeight"] = (weights / folds).astype(np.float32)
    events = len(weights)
    repeated = {name: repeat_events(values, folds) for name, values in base.items()}
    repeated["fold"] = np.tile(np.arange(folds, dtype=np.uint16), events)
    return repeated | dict(made)


def repeat_events(values: Flat | np.ndarray, folds: int) -> Flat | np.ndarray:
    """Every event ``folds`` times, copies next to each other."""
    if folds == 1:
        return values
    if isinstance(values, np.ndarray):
        return np.repeat(values, folds)
    counts = np.repeat(values.counts, folds)
    start = np.repeat(counts_to_offsets(values.counts)[:-1], folds)
    rows = np.repeat(start, counts) + local_index(counts)
    return Flat(counts, {name: column[rows] for name, column in values.columns.items()})
