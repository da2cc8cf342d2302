"""Flash simulation of all objects in one block of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flows.noise import Identity
from processors.counters import Counters
from processors.flashsim.conditions import (
    GenContent,
    Source,
    conditions,
    has_pileup,
    read_gen,
    read_pileup,
)
from processors.flashsim.object_simulation import Simulated, simulate
from processors.flashsim.output import collections
from processors.identity import EventIds, event_ids
from processors.jagged import Flat
from processors.objects.registry import TABLES
from processors.objects.vocabulary import PILEUP_FIELDS

__all__ = ["EventSimulation", "GenEvents", "Made"]


class GenEvents(NamedTuple):
    """What the simulation of a block is made of.

    Attributes:
        gen: Generator content.
        ids: Identity of the events.
        pileup: Pile-up conditions in the order of ``PILEUP_FIELDS``, ``(n_events, 6)``.
        drawn: Whether the pile-up was drawn because the input has none.
    """

    gen: GenContent
    ids: EventIds
    pileup: np.ndarray
    drawn: bool


class Made(NamedTuple):
    """What came out of a block, by collection.

    Attributes:
        sources: Generator objects with their conditions.
        simulated: Objects with their partners.
        collections: Every stored column.
    """

    sources: Mapping[str, Source]
    simulated: Mapping[str, Simulated]
    collections: dict[str, Flat]


class EventSimulation:
    """Simulates blocks of one dataset.

    Arguments:
        models: Resident models by object.
        dataset: Name of the dataset, which the noise depends on.
        seed: Seed of the run.
        folds: Simulations per generated event.
        counters: Added to.
    """

    def __init__(
        self,
        models: Mapping[str, Any],
        dataset: str,
        *,
        seed: int,
        folds: int = 1,
        counters: Counters,
    ) -> None:
        self.models, self.dataset = models, dataset
        self.seed, self.folds, self.counters = seed, folds, counters
        self.tables = [TABLES[name] for name in TABLES if name in models]

    def read(self, events: Any) -> GenEvents:
        """Read what the conditions need, nothing else; draw the pile-up of events without."""
        gen, ids = read_gen(events), event_ids(events)
        stored = has_pileup(events)
        pileup = read_pileup(events) if stored else self._draw_pileup(ids)
        return GenEvents(gen, ids, pileup, drawn=not stored)

    def make(self, block: GenEvents) -> Made:
        """Simulate every object of the models."""
        sources, simulated = {}, {}
        for table in self.tables:
            with self.counters.stage("select"):
                source = conditions(table, block.gen, block.pileup)
            sources[table.collection] = source
            simulated[table.collection] = simulate(
                table,
                self.models[table.name],
                source,
                block.ids,
                seed=self.seed,
                dataset=self.dataset,
                folds=self.folds,
                counters=self.counters,
            )
        with self.counters.stage("select"):
            return Made(sources, simulated, collections(simulated, block.gen))

    def _draw_pileup(self, ids: EventIds) -> np.ndarray:
        """Pile-up of each event from the profile of the first bundle, in the conditions' order."""
        zero = np.zeros(len(ids.event), dtype=np.int64)
        identity = Identity(
            seed=self.seed,
            dataset=self.dataset,
            collection="Pileup",
            run=ids.run,
            luminosity_block=ids.luminosity_block,
            event=ids.event,
            index=zero,
            fold=zero,
        )
        model = self.models[self.tables[0].name]
        drawn = model.draw_pileup(identity)
        order = [model.card.layout.pileup.index(f"Pileup_{name}") for name in PILEUP_FIELDS]
        return np.ascontiguousarray(drawn[:, order])
