"""Walks through an event record: copies, decayed ancestors, marks on mothers or descendants.

All functions are compiled. A row of :class:`Family` is a row of the event record, -1 means none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "Bools",
    "Family",
    "Ints",
    "copies",
    "decayed_ancestor",
    "mark_ancestors",
    "mark_descendants",
    "mark_mothers",
    "nearest_kept",
    "prompt",
]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Family(NamedTuple):
    """Relations between the rows of an event record."""

    pdg_id: NDArray[np.int32]
    status: NDArray[np.int32]
    mother: Ints
    mother2: Ints
    daughter: Ints
    daughter2: Ints
    previous: Ints
    """Mother with the same identity: the same particle before it recoiled or radiated."""
    following: Ints
    """First daughter with the same identity."""
    hadron: Bools
    decayed: Bools
    """Last copies of decayed hadrons, muons, taus."""
    string: Bools
    """Hadrons whose mothers are all partons from first to second mother."""


@njit(cache=True, nogil=True)
def copies(
    pdg_id: NDArray[np.int32], mother: Ints, mother2: Ints, daughter: Ints, daughter2: Ints
) -> tuple[Ints, Ints]:
    """Previous and next copy of every row."""
    rows = len(pdg_id)
    previous = np.full(rows, -1, np.int64)
    following = np.full(rows, -1, np.int64)
    for row in range(rows):
        for other in (mother[row], mother2[row]):
            if other >= 0 and pdg_id[other] == pdg_id[row]:
                previous[row] = other
                break
        first, last = daughter[row], daughter2[row]
        if first < 0:
            continue
        if 0 <= last < first:
            # Pythia writes two daughters that are not neighbours in this order.
            if pdg_id[first] == pdg_id[row]:
                following[row] = first
            elif pdg_id[last] == pdg_id[row]:
                following[row] = last
            continue
        for other in range(first, max(first, last) + 1):
            if pdg_id[other] == pdg_id[row]:
                following[row] = other
                break
    return previous, following


@njit(cache=True, nogil=True)
def decayed_ancestor(row: int, family: Family, absolute_id: int) -> int:
    """Nearest decayed hadron, muon or tau above ``row``; of one identity unless that is 0."""
    row = family.mother[row]
    while row >= 0:
        if family.decayed[row] and (absolute_id == 0 or abs(family.pdg_id[row]) == absolute_id):
            return row
        row = family.mother[row]
    return -1


@njit(cache=True, nogil=True)
def prompt(rows: Ints, family: Family) -> Bools:
    """Whether the given rows come from no decay of a hadron, muon or tau."""
    out = np.empty(len(rows), np.bool_)
    for i, row in enumerate(rows):
        out[i] = decayed_ancestor(row, family, 0) < 0
    return out


@njit(cache=True, nogil=True)
def mark_descendants(source: Bools, family: Family) -> Bools:
    """Rows whose line of first mothers meets ``source``; decay products lie below their mothers."""
    out = np.zeros(len(source), np.bool_)
    for row in range(len(source)):
        parent = family.mother[row]
        if 0 <= parent < row:
            out[row] = source[parent] or out[parent]
    return out


@njit(cache=True, nogil=True)
def _push_mothers(row: int, family: Family, stack: Ints, depth: int) -> int:
    """Put the mothers of ``row`` on the stack, the first mother on top; return the new depth."""
    first, last = family.mother[row], family.mother2[row]
    if first < 0:
        return depth
    if family.string[row]:
        for other in range(last, first, -1):
            stack[depth] = other
            depth += 1
    elif last >= 0 and last != first:
        stack[depth] = last
        depth += 1
    stack[depth] = first
    return depth + 1


@njit(cache=True, nogil=True)
def mark_ancestors(source: Bools, family: Family) -> Bools:
    """Rows that are mothers, at any distance, of rows in ``source``."""
    seen = np.zeros(len(source), np.bool_)
    done = np.zeros(len(source), np.bool_)
    stack = np.empty(8 * len(source) + 8, np.int64)
    for start in np.flatnonzero(source):
        depth = _push_mothers(start, family, stack, 0)
        while depth > 0:
            depth -= 1
            row = stack[depth]
            seen[row] = True
            if not done[row]:
                done[row] = True
                depth = _push_mothers(row, family, stack, depth)
    return seen


@njit(cache=True, nogil=True)
def nearest_kept(rows: Ints, kept: Bools, family: Family) -> Ints:
    """First ancestor in ``kept`` of each row, searched depth first, first mothers first."""
    out = np.full(len(rows), -1, np.int64)
    visit = np.full(len(kept), -1, np.int64)
    stack = np.empty(8 * len(kept) + 8, np.int64)
    for i, start in enumerate(rows):
        depth = _push_mothers(start, family, stack, 0)
        while depth > 0:
            depth -= 1
            row = stack[depth]
            if kept[row]:
                out[i] = row
                break
            if visit[row] != i:
                visit[row] = i
                depth = _push_mothers(row, family, stack, depth)
    return out


@njit(cache=True, nogil=True)
def mark_mothers(source: Bools, kept: Bools, family: Family) -> Bools:
    """Rows that are the nearest ancestor in ``kept`` of a row in ``source``."""
    out = np.zeros(len(source), np.bool_)
    for row in nearest_kept(np.flatnonzero(source), kept, family):
        if row >= 0:
            out[row] = True
    return out
