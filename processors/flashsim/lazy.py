"""Simulated collections as an awkward array, for events that may not have been read yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Literal

import awkward as ak
import numpy as np
from coffea.nanoevents.methods import nanoaod

from processors.config import FlashSimConfig
from processors.counters import Counters
from processors.flashsim.conditions import (
    GEN_JET_FIELDS,
    GEN_PART_FIELDS,
    has_pileup,
    require_simulation,
)
from processors.flashsim.event_simulation import EventSimulation
from processors.flashsim.processor import FlashSim
from processors.jagged import Flat
from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES, Branch
from processors.objects.vocabulary import PILEUP_FIELDS

__all__ = ["simulated_collections"]

logger = logging.getLogger(__name__)
BRANCHES: Mapping[str, tuple[Branch, ...]] = {"Muon": MUON_BRANCHES, "Jet": JET_BRANCHES}
IDENTITY = ("run", "luminosityBlock", "event")


def simulated_collections(
    events: ak.Array,
    *,
    dataset: str,
    seed: int = 1,
    bundles: Sequence[str | PathLike[str]] = (),
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> ak.Array:
    """Flash-simulated collections of every event.

    An event gets the objects that :class:`processors.flashsim.processor.FlashSim` writes for it
    with the same seed, dataset and bundles, bit for bit. The function knows typetracers, so it may
    stand in a graph of dask-awkward; of the input only the branches that the conditions are made of
    are read then (about twenty):

        flash = dask_awkward.map_partitions(simulated_collections, events, dataset="ttbar")
        flash.Jet.pt

    Beside the events, it is computed where it is used; assigned to a field of them, wherever they
    are.
    What was clipped or left out is logged as information; the processor's report counts it.

    Arguments:
        events: NanoEvents, in memory, lazily read, or a typetracer of them.
        dataset: Name of the dataset, which the noise depends on.
        seed: Seed of every random number.
        bundles: Paths of the models, one per object; the shipped ones if empty.
        device: Where models compute: ``auto``, ``cpu`` or ``cuda``.
    Returns: record array ``(n_events,)`` with a jagged field per object of the bundles, ``Muon``
        and ``Jet``; they hold the columns of NanoAOD v9 and behave as coffea's own.
    Raises: NotSimulationError, MissingBranchError, ConfigurationError, flows.bundle.BundleError.
    """
    require_simulation(events)
    paths = tuple(map(str, bundles)) or tuple(map(str, FlashSim.default_bundles()))
    processor = FlashSim(FlashSimConfig(bundles=paths, seed=seed, device=device))
    if ak.backend(events) == "typetracer":
        return _typetracer(events, [table.collection for table in processor.tables()])
    counters = Counters()
    simulation = EventSimulation(processor.models(), dataset, seed=seed, counters=counters)
    made = simulation.make(simulation.read(events))
    logger.info("%s, %d events: %s", dataset, len(events), dict(counters))
    return _record(made.collections)


def _typetracer(events: ak.Array, collections: Sequence[str]) -> ak.Array:
    """Type of the result without any number; what the simulation would read is touched."""
    for field in _needed(events):
        ak.typetracer.touch_data(events[field])
    nothing = _record({name: _nothing(BRANCHES[name]) for name in collections})
    return ak.Array(nothing.layout.to_typetracer(forget_length=True), behavior=nothing.behavior)


def _needed(events: ak.Array) -> Iterator[tuple[str, ...]]:
    """Fields that the simulation reads."""
    yield from (("GenPart", name) for name in GEN_PART_FIELDS)
    yield from (("GenJet", name) for name in GEN_JET_FIELDS)
    if has_pileup(events):
        yield from (("Pileup", name) for name in PILEUP_FIELDS)
    yield from ((name,) for name in IDENTITY if name in events.fields)


def _nothing(branches: tuple[Branch, ...]) -> Flat:
    """A collection of no events."""
    return Flat(np.zeros(0, np.int64), {b.name: np.zeros(0, b.dtype) for b in branches})


def _record(collections: Mapping[str, Flat]) -> ak.Array:
    """Collections side by side; names of the objects, charge 0 of jets as coffea gives them."""
    contents = []
    for name, flat in collections.items():
        columns = {key: ak.contents.NumpyArray(values) for key, values in flat.columns.items()}
        if "charge" not in columns:
            columns["charge"] = ak.contents.NumpyArray(np.zeros(len(flat), np.float32))
        objects = ak.contents.RecordArray(
            list(columns.values()), list(columns), parameters={"__record__": name}
        )
        contents.append(ak.contents.ListOffsetArray(ak.index.Index64(flat.offsets), objects))
    record = ak.contents.RecordArray(contents, list(collections))
    return ak.Array(record, behavior=nanoaod.behavior)
