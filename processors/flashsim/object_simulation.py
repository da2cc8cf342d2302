"""Flash simulation of one object in one block of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from flows.noise import Identity
from processors.counters import Counters
from processors.flashsim.conditions import Source
from processors.identity import EventIds
from processors.jagged import Flat
from processors.objects.table import ObjectTable

__all__ = ["Model", "Simulated", "simulate"]


class Model(Protocol):
    """What is needed of ``flows.resident.resident``."""

    micro_batch: int
    digest: str

    def simulate(self, conditions: np.ndarray, identity: Identity) -> Any:
        """Draw which rows are reconstructed, with the columns of those."""
        ...


class Simulated(NamedTuple):
    """Simulated objects of one collection, in falling pt within each output event.

    Attributes:
        objects: Stored columns; one event per generated event and fold, folds innermost.
        gen: Generator quantities of each object, ``(n,)``.
        index: Index of the generator object in its collection, ``(n,)``.
        position: Flat position of the generator object in the block's collection, ``(n,)``.
        reconstructed: Whether each source row of fold 0 gave an object, ``(n_source,)``.
    """

    objects: Flat
    gen: Mapping[str, np.ndarray]
    index: np.ndarray
    position: np.ndarray
    reconstructed: np.ndarray


class _Rows(NamedTuple):
    source: np.ndarray
    event: np.ndarray
    fold: np.ndarray


def simulate(
    table: ObjectTable,
    model: Model,
    source: Source,
    ids: EventIds,
    *,
    seed: int,
    dataset: str,
    folds: int,
    counters: Counters,
) -> Simulated:
    """Simulate every generator object of ``source`` ``folds`` times.

    Every row of the source is accounted for in ``counters``: in = out + not reconstructed + below
    threshold + not finite.

    Arguments:
        table: The object.
        model: Resident model of the object.
        source: Generator objects with their conditions.
        ids: Identity of the block's events.
        seed: Seed of the run.
        dataset: Name of the dataset.
        folds: Simulations per generated event.
        counters: Of the chunk, added to.
    """
    rows = _expand(source, folds)
    identity = Identity(
        seed=seed,
        dataset=dataset,
        collection=table.collection,
        run=ids.run[source.event[rows.source]],
        luminosity_block=ids.luminosity_block[source.event[rows.source]],
        event=ids.event[source.event[rows.source]],
        index=source.index[rows.source],
        fold=rows.fold,
    )
    with counters.stage("infer"):
        out = model.simulate(source.matrix[rows.source] if folds > 1 else source.matrix, identity)
    with counters.stage("select"):
        kept = np.flatnonzero(out.kept)
        finite = np.isfinite(out.targets).all(axis=1)
        made = kept[finite]
        gen = {name: values[rows.source[made]] for name, values in source.gen.items()}
        targets, categories = out.targets, out.categories
        if len(made) < len(kept):
            targets, categories = targets[finite], categories[finite]
        columns, clipped = table.decode(targets, categories, gen)
        result = _sorted(table, source, rows, made, columns, gen, folds)
    counters[f"objects.{table.collection}.clipped_columns"] += clipped
    _count(table, out.counters, len(rows.source), len(kept), len(made), result, counters)
    counters.model(model.digest, out.work)
    batches = sum(done.batches for done in out.work.values())
    counters[f"micro_batches.{model.micro_batch}"] += batches
    return result


def _expand(source: Source, folds: int) -> _Rows:
    """Rows in which the folds of an object follow each other."""
    row = np.arange(len(source.index))
    if folds == 1:
        return _Rows(row, source.event, np.zeros(len(row), dtype=np.int64))
    repeated = np.repeat(row, folds)
    fold = np.tile(np.arange(folds), len(row))
    return _Rows(repeated, source.event[repeated] * folds + fold, fold)


def _sorted(
    table: ObjectTable,
    source: Source,
    rows: _Rows,
    made: np.ndarray,
    columns: dict[str, np.ndarray],
    gen: dict[str, np.ndarray],
    folds: int,
) -> Simulated:
    """Apply the threshold, order by event and falling pt; equal pt keeps the generator order."""
    above = np.flatnonzero(columns["pt"] >= np.float32(table.threshold))
    event = rows.event[made[above]]
    above = above[_falling(columns["pt"][above], event)]
    chosen = made[above]
    row = rows.source[chosen]
    reconstructed = np.zeros(len(source.index), dtype=bool)
    reconstructed[row[rows.fold[chosen] == 0]] = True
    counts = np.bincount(event, minlength=len(source.counts) * folds)
    return Simulated(
        objects=Flat(counts, {name: values[above] for name, values in columns.items()}),
        gen={name: values[above] for name, values in gen.items()},
        index=source.index[row],
        position=source.position[row],
        reconstructed=reconstructed,
    )


def _falling(pt: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Order of rising event, in it of falling pt, equal ones as they come; pt is positive.

    Bits of positive floats rise with their values, so one number holds both keys. Objects come
    nearly sorted: by one key that is a thirtieth of the time of ``lexsort``, measured.
    """
    rising = pt.view(np.int32).astype(np.int64)
    return np.argsort((event << 32) - rising, kind="stable")


def _count(
    table: ObjectTable,
    drawn: Mapping[str, int],
    rows: int,
    kept: int,
    made: int,
    result: Simulated,
    counters: Counters,
) -> None:
    prefix = f"objects.{table.collection}"
    counters[f"{prefix}.in"] += rows
    counters[f"{prefix}.not_reconstructed"] += rows - kept
    counters[f"{prefix}.nonfinite"] += kept - made
    counters[f"{prefix}.below_threshold"] += made - len(result.objects)
    counters[f"{prefix}.out"] += len(result.objects)
    for name, number in drawn.items():
        if name not in ("rows", "kept", "nonfinite"):
            counters[f"{prefix}.{name}"] += number
