"""Who the noise of an event belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from processors.jagged import Flat, flatten

__all__ = ["EventIds", "content_digest", "event_ids", "join", "repeated"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX1, MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


class EventIds(NamedTuple):
    """Identity of the events of a block, arrays ``(n_events,)``.

    ``digested`` tells that the file has no event numbers and ``event`` is a digest of the content.
    """

    run: np.ndarray
    luminosity_block: np.ndarray
    event: np.ndarray
    digested: bool

    def take(self, rows: np.ndarray) -> EventIds:
        """Identities in a new order."""
        return EventIds(*(column[rows] for column in self[:3]), digested=self.digested)


def event_ids(events: Any) -> EventIds:
    """Run, luminosity block and event number; a content digest where event numbers are missing.

    A missing run or luminosity block is zero: it only has to be the same each time.
    """
    fields = set(events.fields)
    zero = np.zeros(len(events), dtype=np.uint32)
    run = ak.to_numpy(events["run"]) if "run" in fields else zero
    block = ak.to_numpy(events["luminosityBlock"]) if "luminosityBlock" in fields else zero
    if "event" in fields:
        return EventIds(run, block, ak.to_numpy(events["event"]).astype(np.uint64), digested=False)
    return EventIds(run, block, _digest(events), digested=True)


def join(parts: Sequence[EventIds]) -> EventIds:
    """Identities of consecutive blocks as one."""
    columns = [np.concatenate(values) for values in zip(*(p[:3] for p in parts), strict=True)]
    return EventIds(*columns, digested=any(p.digested for p in parts))


def repeated(ids: EventIds) -> int:
    """Events whose (run, luminosity block, event) occurred before in the arrays."""
    order = np.lexsort((ids.event, ids.luminosity_block, ids.run))
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for values in (ids.run, ids.luminosity_block, ids.event):
        ordered = values[order]
        same &= ordered[1:] == ordered[:-1]
    return int(np.count_nonzero(same))


def content_digest(collection: Flat) -> np.ndarray:
    """64-bit digest per event of all columns of a collection, in stored order ``(n_events,)``.

    Floats count with the bits of a float32, so a file of either precision gives the same digest.
    """
    words = np.zeros(len(collection), dtype=np.uint64)
    for values in collection.columns.values():
        words = _mix(words * GOLDEN + _bits(values))
    position = np.arange(len(words)) - np.repeat(collection.offsets[:-1], collection.counts)
    words = _mix(words + (position.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    total = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words, out=total[1:])
    offsets = collection.offsets
    return _mix(total[offsets[1:]] - total[offsets[:-1]])


def _digest(events: Any) -> np.ndarray:
    """Digest of the generator particles' momenta."""
    return content_digest(flatten(events.GenPart, ("pt", "eta", "phi")))


def _bits(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return values.astype(np.uint64)


def _mix(words: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    words = (words ^ (words >> SHIFTS[0])) * MIX1
    words = (words ^ (words >> SHIFTS[1])) * MIX2
    return words ^ (words >> SHIFTS[2])
