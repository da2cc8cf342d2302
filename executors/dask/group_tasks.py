"""What Dask workers run: a chunk whose result stays there, the sum of a group of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cloudpickle  # type: ignore[import-untyped]
import distributed
from coffea.processor.executor import WorkItem

from executors.dask.admission import require_fitness, unpacked
from executors.dask.notices import Notice, begun_topic, tell_soon
from executors.ledger import ChunkRecord
from executors.reduction import GroupSum, Reduction
from executors.results.state import StateStore
from executors.task import ChunkResult, PickledTask, failed_record

__all__ = ["ChunkReply", "add_group", "run_chunk"]


class ChunkReply(NamedTuple):
    """Result of a chunk in the memory of its worker: as bytes, whose number Dask knows."""

    record: ChunkRecord
    content: bytes | None
    unstored: str = ""
    read_back: bool = False


def run_chunk(position: int, item: WorkItem, pickled: PickledTask, topic: str) -> ChunkReply:
    """Run one chunk; say when it begins, and with which record it ends, under ``topic``.

    Raises: UnfitWorker where this worker does not fit.
    """
    worker = distributed.get_worker()
    require_fitness(worker, pickled, topic)
    worker.log_event(begun_topic(topic, worker.address), {"began": position})
    result, read_back = _result(item, pickled)
    try:
        content = None if result.accumulator is None else cloudpickle.dumps(result.accumulator)
        reply = ChunkReply(result.record, content, result.unstored, read_back)
    except Exception as error:
        reply = ChunkReply(failed_record(item, error), None)
    notice = Notice(position, reply.record, reply.read_back, kept=not reply.unstored)
    tell_soon(worker, topic, notice)
    return reply


def add_group(
    positions: Sequence[int],
    replies: Sequence[ChunkReply],
    stored: Sequence[tuple[int, WorkItem]],
    pickled: PickledTask,
    topic: str,
) -> bytes:
    """Add the results of a group.

    Arguments:
        positions: Places of the chunks that were run.
        replies: What they gave.
        stored: Places of the other chunks, whose results an earlier run stored.
        pickled: The task, which knows where.
        topic: As for `run_chunk`.
    Returns: A pickled `GroupSum`; of stored chunks it records those that could not be read.
    Raises: UnfitWorker where this worker does not fit.
    """
    require_fitness(distributed.get_worker(), pickled, topic)
    reduction = Reduction()
    found, items = dict(zip(positions, replies, strict=True)), dict(stored)
    records = {position: reply.record for position, reply in found.items()}
    for position in sorted(found | items):
        if position in items:
            try:
                reduction.add(position, _store(pickled).read(items[position]))
            except Exception as error:
                records[position] = failed_record(items[position], error)
        elif (content := found[position].content) is not None:
            reduction.add(position, cloudpickle.loads(content))
    unstored = {position: reply.unstored for position, reply in found.items() if reply.unstored}
    read_back = frozenset(position for position, reply in found.items() if reply.read_back)
    summed: bytes = cloudpickle.dumps(GroupSum(records, reduction.parts, unstored, read_back))
    return summed


def _result(item: WorkItem, pickled: PickledTask) -> tuple[ChunkResult, bool]:
    """Result of a chunk, and whether this run had stored it before."""
    try:
        task = unpacked(pickled)
    except Exception as error:
        return ChunkResult(failed_record(item, error), None), False
    stored = task.recall(item)
    return (task(item), False) if stored is None else (stored, True)


def _store(pickled: PickledTask) -> StateStore:
    store = unpacked(pickled).store
    if store is None:
        msg = "results of an earlier run cannot be read without a store"
        raise FileNotFoundError(msg)
    return store
