"""Flash simulation of one chunk, block after block."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from flows.noise import Identity
from processors.blocks import Block
from processors.chunkfile import chunk_writer, provenance_of
from processors.comparison import Comparison
from processors.conditions import (
    GenContent,
    Source,
    conditions,
    event_weights,
    has_pileup,
    pileup_columns,
    read_gen,
    read_pileup,
)
from processors.config import FlashSimConfig
from processors.content import read_content
from processors.counters import Counters
from processors.identity import EventIds, event_ids, join, repeated
from processors.jagged import Flat
from processors.objects.registry import TABLES
from processors.objects.table import ObjectTable
from processors.objects.vocabulary import PILEUP_FIELDS
from processors.output import collections, event_content
from processors.recorded import read_recorded
from processors.sidetrees import carries_side_trees, side_trees, sum_of_weights
from processors.simulation import Simulated, simulate
from processors.validation import Validation
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
        self.tables = [TABLES[name] for name in TABLES if name in self.models]
        names = [table.collection for table in self.tables] if self.config.histograms else []
        self.validation = Validation(names)
        self.counters = Counters(dict.fromkeys(COUNTERS, 0))
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
        simulated, recorded = {}, {}
        for table in self.tables:
            with self.counters.stage("select"):
                source = conditions(table, prepared.gen, prepared.pileup)
            simulated[table.collection] = (source, self._simulate(table, source, prepared))
            with self.counters.stage("read"):
                found = None
                if self.config.histograms:
                    found = read_recorded(prepared.events, table, source, prepared.gen)
            recorded[table.collection] = found
        with self.counters.stage("select"):
            results = {name: result for name, (_, result) in simulated.items()}
            made = collections(results, prepared.gen)
        if writer is not None:
            self._write(prepared, made, writer)
        if self.config.histograms:
            with self.counters.stage("validate"):
                compare = Comparison(self.validation, self.counters, self.config.oversample)
                for name, (source, result) in simulated.items():
                    compare.add(name, source, result, made[name], recorded[name], prepared.weights)
                compare.events(made, recorded, prepared.weights)
        self.seen.append(prepared.ids)

    def _prepare(self, block: Block) -> _Prepared:
        with self.counters.stage("read"):
            gen, ids = read_gen(block.events), event_ids(block.events)
            weights = event_weights(block.events)
            stored = has_pileup(block.events)
            pileup = read_pileup(block.events) if stored else self._draw_pileup(ids)
        events = block.stop - block.start
        self.counters["events.read"] += events
        self.counters["events.pileup_drawn"] += 0 if stored else events
        self.counters["events.digested_identity"] += events if ids.digested else 0
        fields = set(block.events.fields)
        for counter, branch in FILLED.items():
            self.counters[counter] += 0 if branch in fields else events
        self.counters["sum_genweight.read"] += float(weights.sum())
        return _Prepared(block.events, gen, ids, weights, pileup, drawn=not stored)

    def _draw_pileup(self, ids: EventIds) -> np.ndarray:
        """Pile-up of each event from the profile of the first bundle, in the conditions' order."""
        zero = np.zeros(len(ids.event), dtype=np.int64)
        identity = Identity(
            seed=self.config.seed,
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

    def _simulate(self, table: ObjectTable, source: Source, prepared: _Prepared) -> Simulated:
        return simulate(
            table,
            self.models[table.name],
            source,
            prepared.ids,
            seed=self.config.seed,
            dataset=self.dataset,
            folds=self.config.oversample,
            counters=self.counters,
        )

    def _write(self, prepared: _Prepared, made: dict[str, Flat], writer: EventWriter) -> None:
        with self.counters.stage("read"):
            content = read_content(prepared.events)
        with self.counters.stage("write"):
            pileup = pileup_columns(prepared.pileup) if prepared.drawn else {}
            folds = self.config.oversample
            columns = event_content(content, made, prepared.ids, prepared.weights, pileup, folds)
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
    gen: GenContent
    ids: EventIds
    weights: np.ndarray
    pileup: np.ndarray
    drawn: bool
