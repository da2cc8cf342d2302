"""Sums of results in an order that the plan alone decides, wherever they are computed.

Adding floats is not associative. The plan is cut into groups of consecutive chunks; the results of
a group are added from left to right, then the groups in their order. Any process may sum a group:
the bits are the same.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import hist
from coffea.processor import accumulate
from coffea.processor.executor import WorkItem

from executors.ledger import ChunkRecord
from executors.task import Accumulator

__all__ = ["GROUP", "GroupSum", "Part", "Reduction", "add", "cut"]

GROUP = 16
"""Chunks of a group: their results are in the memory of one process at a time; chosen."""


class Part(NamedTuple):
    """Results that fit each other, added in the order of their positions."""

    positions: list[int]
    accumulator: Accumulator


class GroupSum(NamedTuple):
    """What became of the chunks of a group: records by position, one part for all that fit.

    ``unstored`` says of positions why their results could not be stored, ``read_back`` names those
    whose results this run had stored before.
    """

    records: dict[int, ChunkRecord]
    parts: Sequence[Part]
    unstored: dict[int, str]
    read_back: frozenset[int] = frozenset()


class Reduction:
    """Adds results from left to right.

    A result that does not fit those before it starts a part of its own: which of them fit the
    chunks of other groups is known only where the groups are added.
    """

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def add(self, position: int, accumulator: Accumulator) -> None:
        """Add the result of the chunk at ``position``; positions grow from call to call."""
        for number, part in enumerate(self.parts):
            try:
                total = add(part.accumulator, accumulator)
            except Exception:  # whatever a user's accumulator raises
                continue
            self.parts[number] = Part([*part.positions, position], total)
            return
        self.parts.append(Part([position], add({}, accumulator)))


def cut(items: Sequence[WorkItem], size: int = GROUP) -> list[range]:
    """Cut a plan into groups: at most ``size`` consecutive chunks of one dataset each.

    Example:
        >>> cut([WorkItem(name, "f", "Events", 0, 1, b"") for name in "aaabb"], 2)
        [range(0, 2), range(2, 3), range(3, 5)]
    """
    groups: list[range] = []
    for position, item in enumerate(items):
        last = groups[-1] if groups else range(0)
        if last and len(last) < size and items[last.start].dataset == item.dataset:
            groups[-1] = range(last.start, position + 1)
        else:
            groups.append(range(position, position + 1))
    return groups


def add(total: Accumulator, one: Accumulator) -> Accumulator:
    """Sum of two accumulators; in place where nothing can go wrong half-way.

    Raises: whatever says that they do not fit; ``total`` is then as it was.
    """
    if _fits(total, one):
        merged: Accumulator = accumulate([one], total)
    else:
        # a pure sum: a failure half-way leaves what was merged before untouched
        merged = accumulate([total, one])
    return merged


def _fits(total: Any, one: Any) -> bool:
    """Whether ``total += one`` is sure to succeed."""
    if isinstance(total, numbers.Number) and isinstance(one, numbers.Number):
        return True
    if type(total) is not type(one):
        return False
    if isinstance(total, dict):
        return all(_fits(total[key], one[key]) for key in one if key in total)
    if isinstance(total, hist.Hist):
        # storage_type is a search over classes, 0.1 ms for each of hundreds of histograms
        return type(total._hist) is type(one._hist) and bool(total.axes == one.axes)
    return isinstance(total, list | set)
