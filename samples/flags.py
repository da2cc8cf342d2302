"""Status flags of generator particles with CMS's meaning.

Definitions: cms-sw/cmssw, PhysicsTools/HepMCCandAlgos, MCTruthHelper.h; the words follow it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from samples.ancestry import Bools, Family, Ints, decayed_ancestor

__all__ = ["from_hard_process", "status_flags"]

_GLUON, _PHOTON, _TAU = 21, 22, 15


# Called for every row: arrays as arguments are several times faster than a tuple of them.


@njit(cache=True, nogil=True)
def _first_copy(row: int, previous: Ints) -> int:
    while previous[row] >= 0:
        row = previous[row]
    return row


@njit(cache=True, nogil=True)
def _is_hard(row: int, status: Ints, mother: Ints, previous: Ints, following: Ints) -> bool:
    """Part of the hard process: Pythia's codes 21 to 29, or straight from a resonance."""
    code = status[row]
    if 20 < code < 30:
        return True
    parent = mother[row]
    if (code != 1 and code != 2) or parent < 0:
        return False
    if status[_first_copy(parent, previous)] != 22:
        return False
    copy = following[parent]
    return not (copy >= 0 and 50 < status[copy] < 60)


@njit(cache=True, nogil=True)
def _hard_copy(row: int, family: Family) -> int:
    """The row itself or the nearest of its earlier copies that is of the hard process."""
    status, mother = family.status, family.mother
    previous, following = family.previous, family.following
    while row >= 0:
        if _is_hard(row, status, mother, previous, following):
            return row
        row = previous[row]
    return -1


@njit(cache=True, nogil=True)
def from_hard_process(family: Family) -> Bools:
    """Whether each row is a copy of a particle of the hard process."""
    status, mother = family.status, family.mother
    previous, following = family.previous, family.following
    unknown, no, yes = -1, 0, 1
    known = np.full(len(status), unknown, np.int8)
    for start in range(len(known)):
        row, answer = start, no
        while row >= 0:
            if known[row] != unknown:
                answer = known[row]
                break
            if _is_hard(row, status, mother, previous, following):
                answer = yes
                break
            row = previous[row]
        end, row = row, start
        while row != end:
            known[row] = answer
            row = previous[row]
        if end >= 0:
            known[end] = answer
    return known == yes


@njit(cache=True, nogil=True)
def _before_radiation(row: int, family: Family) -> int:
    """Walk down the copies to the one that radiates a gluon or photon; -1 if none does.

    That a particle without radiation has no such copy is CMS's rule too (seen in its files).
    """
    while row >= 0:
        first, last = family.daughter[row], family.daughter2[row]
        if first < 0:
            return -1
        apart = 0 <= last < first
        step = first - last if apart else 1
        copy = -1
        for other in range(min(first, last) if apart else first, max(first, last) + 1, step):
            identity = family.pdg_id[other]
            if _GLUON <= identity <= _PHOTON:
                return row
            if copy < 0 and identity == family.pdg_id[row]:
                copy = other
        row = copy
    return -1


@njit(cache=True, nogil=True)
def _tau_bits(row: int, ancestor: int, family: Family) -> int:
    tau = decayed_ancestor(row, family, _TAU)
    if tau < 0:
        return 0
    from_prompt = decayed_ancestor(tau, family, 0) < 0
    from_hard = _hard_copy(tau, family) >= 0
    direct = tau == ancestor
    bits = 1 << 2 | from_prompt << 3 | direct << 4 | (direct and from_prompt) << 5
    return bits | from_hard << 9 | (direct and from_hard) << 10


@njit(cache=True, nogil=True)
def _hard_bits(row: int, family: Family) -> int:
    hard = _hard_copy(row, family)
    if hard < 0:
        return 0
    code = family.status[hard]
    incoming = code == 21 and hard == row
    resonance = code == 22 and family.following[row] < 0
    outgoing = (code == 23 or code == 1) and row == _before_radiation(hard, family)
    return (hard == row) << 7 | 1 << 8 | (incoming or resonance or outgoing) << 11


@njit(cache=True, nogil=True)
def _from_hadron(row: int, family: Family) -> bool:
    """Whether the first mother of another identity is a decayed hadron."""
    mother = family.mother[row]
    while mother >= 0 and family.pdg_id[mother] == family.pdg_id[row]:
        mother = family.mother[mother]
    return mother >= 0 and family.hadron[mother] and family.decayed[mother]


@njit(cache=True, nogil=True)
def status_flags(rows: Ints, family: Family) -> NDArray[np.uint16]:
    """``GenPart_statusFlags`` of the given rows, bits as in ``STATUS_FLAGS`` of the tables."""
    out = np.zeros(len(rows), np.uint16)
    for i, row in enumerate(rows):
        ancestor = decayed_ancestor(row, family, 0)
        bits = (ancestor < 0) << 0 | family.decayed[row] << 1
        bits |= _tau_bits(row, ancestor, family) | _from_hadron(row, family) << 6
        bits |= _hard_bits(row, family)
        bits |= (family.previous[row] < 0) << 12 | (family.following[row] < 0) << 13
        bits |= (row == _before_radiation(_first_copy(row, family.previous), family)) << 14
        out[i] = bits
    return out
