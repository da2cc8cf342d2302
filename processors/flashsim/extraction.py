"""Training tables from NanoAOD: conditions of every generator object, targets of the matched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from flows.noise import Identity, uniforms
from flows.training import TrainingTable
from processors.base import FlowProcessor, Result
from processors.blocks import Block, blocks, direct_reads
from processors.config import ProcessorConfig
from processors.counters import Counters
from processors.errors import MissingBranchError
from processors.flashsim.conditions import (
    Source,
    absent_pileup,
    conditions,
    read_gen,
    read_pileup,
    require_simulation,
)
from processors.flashsim.matching import partners
from processors.folders import dataset_folder
from processors.identity import EventIds, event_ids
from processors.jagged import Flat, flatten
from processors.location import location
from processors.objects.registry import TABLES
from processors.objects.table import ObjectTable
from processors.tablefile import write_npz

__all__ = ["Extraction", "ExtractionConfig", "load_tables"]

FORMAT_VERSION = 1
DEQUANTISE = "dequantise"
TABLE_NAME = re.compile(r"(?P<source>.+)_(?P<start>\d+)-(?P<stop>\d+)\.npz")


class ExtractionConfig(ProcessorConfig):
    """What to extract."""

    objects: tuple[str, ...] = Field(("muon", "jet"), description="tables to make")
    block_events: int = Field(25_000, ge=1, description="events read at a time")


class Rows(NamedTuple):
    """Table of one object in one block; see ``flows.training.TrainingTable``."""

    conditions: np.ndarray
    targets: np.ndarray
    categories: np.ndarray
    reconstructed: np.ndarray
    run: np.ndarray
    luminosity_block: np.ndarray
    event: np.ndarray
    index: np.ndarray
    pileup: np.ndarray


class Extraction(FlowProcessor):
    """Writes one compressed table per object and chunk for ``flows.training``.

    Output files: ``tables/<dataset>/<object>_<fileuuid>_<start>-<stop>.npz``.
    """

    name: ClassVar[str] = "extraction"
    summary: ClassVar[str] = "training tables of gen conditions and reconstructed targets"
    Config: ClassVar[type[ProcessorConfig]] = ExtractionConfig
    config: ExtractionConfig

    def process(self, events: Any) -> Result:
        """Extract one chunk.

        Raises: NotSimulationError or MissingBranchError when the chunk cannot serve for training.
        """
        dataset = events.metadata["dataset"]
        counters = Counters({"events.read": len(events), "events.written": 0})
        tables = [TABLES[name] for name in self.config.objects]
        for table in tables:
            require_training_branches(events, table)
        parts: dict[str, list[Rows]] = {table.name: [] for table in tables}
        with direct_reads(events):
            for block in blocks(events, self.config.block_events):
                for name, rows in self._extract(block, tables, dataset, counters).items():
                    parts[name].append(rows)
        outputs = [
            self._write(TABLES[name], rows, events.metadata, dataset)
            for name, rows in parts.items()
            if rows and self.config.output is not None
        ]
        counters["events.written"] += len(events)
        return {dataset: {"hists": {}, "counters": dict(counters), "outputs": outputs}}

    def _extract(
        self, block: Block, tables: list[ObjectTable], dataset: str, counters: Counters
    ) -> dict[str, Rows]:
        with counters.stage("read"):
            gen, pileup = read_gen(block.events), read_pileup(block.events)
            ids = event_ids(block.events)
        result = {}
        for table in tables:
            with counters.stage("read"):
                fields = dict.fromkeys((*table.modelled, table.match))
                reco = flatten(block.events[table.collection], fields)
            with counters.stage("select"):
                source = conditions(table, gen, pileup)
                rows = _match(
                    table,
                    source,
                    reco,
                    self._identity(table, source, ids, dataset),
                    pileup,
                    counters,
                )
            result[table.name] = rows
        return result

    def _identity(
        self, table: ObjectTable, source: Source, ids: EventIds, dataset: str
    ) -> Identity:
        return Identity(
            seed=self.config.seed,
            dataset=dataset,
            collection=table.collection,
            run=ids.run[source.event],
            luminosity_block=ids.luminosity_block[source.event],
            event=ids.event[source.event],
            index=source.index,
            fold=np.zeros(len(source.index), dtype=np.int64),
        )

    def _write(
        self, table: ObjectTable, parts: list[Rows], metadata: Mapping[str, Any], dataset: str
    ) -> str:
        folder = Path(str(self.config.output)) / "tables" / dataset_folder(dataset)
        name = (
            f"{table.name}_{metadata['fileuuid']}_"
            f"{metadata['entrystart']}-{metadata['entrystop']}.npz"
        )
        whole = Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        write_table(folder / name, table, whole)
        return str(folder / name)


def require_training_branches(events: Any, table: ObjectTable) -> None:
    """Check that a chunk has everything that ``table`` is trained on.

    Raises: NotSimulationError, MissingBranchError naming what is absent.
    """
    require_simulation(events)
    present = events[table.collection].fields if table.collection in events.fields else []
    missing = [
        f"{table.collection}_{name}"
        for name in (*table.modelled, table.match)
        if name not in present
    ]
    missing += absent_pileup(events)
    if missing:
        message = (
            f"branches {', '.join(missing)} not found in {location(events)}; the {table.name} "
            "model is trained on them. Train on NanoAOD v9 simulation"
        )
        raise MissingBranchError(message)


def _match(
    table: ObjectTable,
    source: Source,
    reco: Flat,
    identity: Identity,
    pileup: np.ndarray,
    counters: Counters,
) -> Rows:
    matched = partners(source.source_counts, reco.counts, reco[table.match])
    partner = matched.index[source.position]
    reconstructed = partner >= 0
    columns = {name: values[partner[reconstructed]] for name, values in reco.columns.items()}
    gen = {name: values[reconstructed] for name, values in source.gen.items()}
    where = np.flatnonzero(reconstructed)
    places = uniforms(identity.take(where), DEQUANTISE, len(table.sampled)).numpy()
    encoded = table.encode(columns, gen, places)
    finite = np.isfinite(encoded.targets).all(axis=1)
    usable = np.isfinite(source.matrix).all(axis=1)
    usable[where[~finite]] = False
    kept = usable[where]
    prefix = f"objects.{table.collection}"
    counters[f"{prefix}.in"] += len(reconstructed)
    counters[f"{prefix}.out"] += int(np.count_nonzero(kept))
    counters[f"{prefix}.reco"] += len(reco)
    counters[f"{prefix}.duplicates"] += matched.duplicates
    counters[f"{prefix}.dangling_index"] += matched.dangling
    counters[f"{prefix}.unmatched"] += matched.unmatched
    counters[f"{prefix}.nonfinite"] += int(np.count_nonzero(~usable))
    counters[f"{prefix}.unknown_category"] += encoded.unknown
    counters[f"{prefix}.clipped_columns"] += encoded.clipped
    return Rows(
        conditions=source.matrix[usable],
        targets=encoded.targets[kept],
        categories=encoded.categories[kept].astype(np.int16),
        reconstructed=reconstructed[usable],
        run=identity.run[usable],
        luminosity_block=identity.luminosity_block[usable],
        event=identity.event[usable],
        index=source.index[usable].astype(np.int32),
        pileup=pileup,
    )


def write_table(path: Path, table: ObjectTable, rows: Rows) -> None:
    """Write ``rows`` atomically as npz without pickle; the header names every column."""
    write_npz(path, {"version": FORMAT_VERSION, **_columns(table)}, rows._asdict())


def _columns(table: ObjectTable) -> dict[str, Any]:
    return {
        "object": table.name,
        "conditions": [c.name for c in table.conditions],
        "targets": [c.name for c in table.sampled],
        "categories": [c.name for c in table.categorical],
    }


def load_tables(paths: Iterable[str | Path], table: ObjectTable) -> TrainingTable:
    """Read the tables of one object, files in order of their names.

    Arguments:
        paths: Outputs of :class:`Extraction`; those of other objects are skipped.
        table: The object.
    Raises: ValueError when no file holds the object, a file holds other columns, or two files
        hold the same entries of an input.
    """
    parts: list[Rows] = []
    ordered = sorted(Path(p) for p in paths)
    _refuse_overlaps(ordered)
    for path in ordered:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            if header["object"] != table.name:
                continue
            if header != {"version": FORMAT_VERSION, **_columns(table)}:
                message = f"{path} holds other columns than the {table.name} table; extract again"
                raise ValueError(message)
            parts.append(Rows(*(file[name] for name in Rows._fields)))
    if not parts:
        message = f"none of the tables holds {table.name} objects; extract them first"
        raise ValueError(message)
    return _training_table(Rows(*(np.concatenate(column) for column in zip(*parts, strict=True))))


def _refuse_overlaps(paths: Iterable[Path]) -> None:
    """Refuse tables of several runs side by side: their objects would count twice."""
    ranges: dict[str, list[tuple[int, int, Path]]] = {}
    for path in paths:
        found = TABLE_NAME.fullmatch(path.name)
        if found:
            place = str(path.parent / found["source"])
            ranges.setdefault(place, []).append((int(found["start"]), int(found["stop"]), path))
    for same in ranges.values():
        for (_, stop, first), (start, _, second) in pairwise(sorted(same)):
            if start < stop:
                message = (
                    f"{first} and {second} hold the same entries of one input: tables of two runs. "
                    "Remove those of the earlier one, or extract to another directory"
                )
                raise ValueError(message)


def _training_table(rows: Rows) -> TrainingTable:
    return TrainingTable(
        conditions=rows.conditions,
        targets=rows.targets,
        categories=rows.categories.astype(np.int64),
        reconstructed=rows.reconstructed,
        groups=rows.event.astype(np.int64),
        pileup=rows.pileup,
    )
