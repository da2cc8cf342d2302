"""Flash simulation of one chunk, block after block."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from processors.blocks import Block
from processors.chunkfile import chunk_writer, provenance_of
from processors.config import FlashSimConfig
from processors.content import read_content
from processors.counters import Counters
from processors.flashsim.comparison import Comparison
from processors.flashsim.conditions import event_weights, pileup_columns
from processors.flashsim.event_simulation import EventSimulation, GenEvents, Made
from processors.flashsim.fullsim import read_recorded
from processors.flashsim.output import event_content
from processors.flashsim.validation import Validation
from processors.identity import EventIds, join, repeated
from processors.jagged import Flat
from processors.sidetrees import carries_side_trees, side_trees, sum_of_weights
from processors.writer import EventWriter

__all__ = ["Chunk"]

COUNTERS = (
    "events.read",
    "events.written",
    "events.pileup_drawn",
    "events.digested_identity",
    "events.run_missing",
    "events.lumi_missing",
    "events.weight_missing",
    "events.repeated_in_chunk",
    "sum_genweight.read",
    "sum_genweight.written",
    "seconds.read",
    "seconds.select",
    "seconds.infer",
    "seconds.write",
)
FILLED = {
    "events.run_missing": "run",
    "events.lumi_missing": "luminosityBlock",
    "events.weight_missing": "genWeight",
}
"""Counters of events for which a branch was absent and a constant was taken."""


class Chunk:
    """State of one chunk while its blocks pass.

    Arguments:
        config: Configuration of the processor.
        models: Resident models by object.
        events: NanoEvents of the chunk.
    """

    def __init__(self, config: FlashSimConfig, models: Mapping[str, Any], events: Any) -> None:
        self.config = config
        self.events = events
        self.dataset: str = events.metadata["dataset"]
        self.models = models
        self.counters = Counters(dict.fromkeys(COUNTERS, 0))
        self.simulation = EventSimulation(
            models, self.dataset, seed=config.seed, folds=config.oversample, counters=self.counters
        )
        made = [table.collection for table in self.simulation.tables]
        self.validation = Validation(made if config.histograms else [])
        self.seen: list[EventIds] = []

    def writer(self) -> AbstractContextManager[EventWriter | None]:
        """Writer of the chunk's file, or of nothing."""
        return chunk_writer(self.config, self.events.metadata, self._provenance())

    def _provenance(self) -> dict[str, Any]:
        bundles = {name: model.digest for name, model in self.models.items()}
        return provenance_of(self.config, self.events.metadata, bundles)

    def run(self, block: Block, writer: EventWriter | None) -> None:
        """Simulate, write, compare one block."""
        prepared = self._prepare(block)
        made = self.simulation.make(prepared.gen)
        if writer is not None:
            self._write(prepared, made.collections, writer)
        if self.config.histograms:
            self._compare(prepared, made)
        self.seen.append(prepared.gen.ids)

    def _compare(self, prepared: _Prepared, made: Made) -> None:
        """Fill the histograms of a block, with full simulation where the input has it."""
        recorded = {}
        with self.counters.stage("read"):
            for table in self.simulation.tables:
                name = table.collection
                recorded[name] = read_recorded(
                    prepared.events, table, made.sources[name], prepared.gen.gen
                )
        with self.counters.stage("validate"):
            compare = Comparison(self.validation, self.counters, self.config.oversample)
            for name, result in made.simulated.items():
                compare.add(
                    name,
                    made.sources[name],
                    result,
                    made.collections[name],
                    recorded[name],
                    prepared.weights,
                )
            compare.events(made.collections, recorded, prepared.weights)

    def _prepare(self, block: Block) -> _Prepared:
        with self.counters.stage("read"):
            gen, weights = self.simulation.read(block.events), event_weights(block.events)
        events = block.stop - block.start
        self.counters["events.read"] += events
        self.counters["events.pileup_drawn"] += events if gen.drawn else 0
        self.counters["events.digested_identity"] += events if gen.ids.digested else 0
        fields = set(block.events.fields)
        for counter, branch in FILLED.items():
            self.counters[counter] += 0 if branch in fields else events
        self.counters["sum_genweight.read"] += float(weights.sum())
        return _Prepared(block.events, gen, weights)

    def _write(self, prepared: _Prepared, made: dict[str, Flat], writer: EventWriter) -> None:
        with self.counters.stage("read"):
            content = read_content(prepared.events)
        with self.counters.stage("write"):
            gen = prepared.gen
            pileup = pileup_columns(gen.pileup) if gen.drawn else {}
            folds = self.config.oversample
            columns = event_content(content, made, gen.ids, prepared.weights, pileup, folds)
            writer.extend(columns)
        self.counters["events.written"] += len(prepared.weights) * self.config.oversample
        self.counters["sum_genweight.written"] += float(prepared.weights.sum())

    def close(self, writer: EventWriter | None) -> None:
        """Count repeated events; carry the trees beside the events, once per file."""
        if not self.seen and writer is not None:
            self.run(Block(self.events, 0, 0), writer)
        if self.seen:
            self.counters["events.repeated_in_chunk"] += repeated(join(self.seen))
        if carries_side_trees(self.events):
            trees = side_trees(self.events)
            total = sum_of_weights(trees)
            if total is not None:
                self.counters["sum_genweight.input"] += total
            for name, content in trees.items():
                if writer is not None:
                    writer.add_tree(name, content)


class _Prepared(NamedTuple):
    """What is known of a block before anything is simulated."""

    events: Any
    gen: GenEvents
    weights: np.ndarray
