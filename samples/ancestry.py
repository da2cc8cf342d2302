"""Walks through an event record: copies of a particle, decayed ancestors, status flags, mother links.

The meaning of every flag is CMS's (cms-sw/cmssw, PhysicsTools/HepMCCandAlgos, MCTruthHelper.h); the
words here follow it. All functions work on rows of :class:`samples.generator.EventRecord`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "FLAGS",
    "copies",
    "flag_rows",
    "from_hard_process",
    "mark_ancestors",
    "mark_descendants",
    "mark_mothers",
    "nearest_kept",
    "prompt",
]

FLAGS = (
    "isPrompt", "isDecayedLeptonHadron", "isTauDecayProduct", "isPromptTauDecayProduct",
    "isDirectTauDecayProduct", "isDirectPromptTauDecayProduct", "isDirectHadronDecayProduct",
    "isHardProcess", "fromHardProcess", "isHardProcessTauDecayProduct",
    "isDirectHardProcessTauDecayProduct", "fromHardProcessBeforeFSR", "isFirstCopy", "isLastCopy",
    "isLastCopyBeforeFSR",
)  # fmt: skip
"""Names of the bits of ``GenPart_statusFlags``, bit 0 first."""

_GLUON, _PHOTON, _TAU = 21, 22, 15


@njit(cache=True, nogil=True)
def copies(pdg_id, mother, mother2, daughter, daughter2):  # noqa: ANN001, ANN201
    """Rows of the previous and the next copy of every particle, -1 for none."""
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
        if last < 0:
            last = first
        if last < first:
            # Pythia: two daughters that are not neighbours.
            if pdg_id[first] == pdg_id[row]:
                following[row] = first
            elif pdg_id[last] == pdg_id[row]:
                following[row] = last
            continue
        for other in range(first, last + 1):
            if pdg_id[other] == pdg_id[row]:
                following[row] = other
                break
    return previous, following


@njit(cache=True, nogil=True)
def _decayed_ancestor(row, mother, decayed):  # noqa: ANN001, ANN202
    row = mother[row]
    while row >= 0 and not decayed[row]:
        row = mother[row]
    return row


@njit(cache=True, nogil=True)
def _decayed_tau(row, pdg_id, mother, decayed):  # noqa: ANN001, ANN202
    row = mother[row]
    while row >= 0 and not (decayed[row] and abs(pdg_id[row]) == _TAU):
        row = mother[row]
    return row


@njit(cache=True, nogil=True)
def prompt(rows, mother, decayed):  # noqa: ANN001, ANN201
    """Whether the given rows come from no decay of a hadron, muon or tau."""
    out = np.empty(len(rows), np.bool_)
    for i, row in enumerate(rows):
        out[i] = _decayed_ancestor(row, mother, decayed) < 0
    return out


@njit(cache=True, nogil=True)
def _is_hard(row, status, mother, previous, following):  # noqa: ANN001, ANN202
    code = status[row]
    if 20 < code < 30:
        return True
    if code != 1 and code != 2:
        return False
    parent = mother[row]
    if parent < 0:
        return False
    first = parent
    while previous[first] >= 0:
        first = previous[first]
    if status[first] != 22:
        return False
    copy = following[parent]
    return not (copy >= 0 and 50 < status[copy] < 60)


@njit(cache=True, nogil=True)
def _hard_copy(row, status, mother, previous, following):  # noqa: ANN001, ANN202
    while row >= 0:
        if _is_hard(row, status, mother, previous, following):
            return row
        row = previous[row]
    return -1


@njit(cache=True, nogil=True)
def from_hard_process(status, mother, previous, following):  # noqa: ANN001, ANN201
    """Whether each row is a copy of a particle of the hard process."""
    out = np.zeros(len(status), np.bool_)
    for row in range(len(status)):
        out[row] = _hard_copy(row, status, mother, previous, following) >= 0
    return out


@njit(cache=True, nogil=True)
def _before_radiation(row, pdg_id, daughter, daughter2):  # noqa: ANN001, ANN202
    """Walk down the copies to the one that radiates a gluon or photon; -1 if none does.

    That a particle without radiation has no such copy is CMS's rule too (seen in its files).
    """
    while True:
        first, last = daughter[row], daughter2[row]
        if first < 0:
            return -1
        if last < 0:
            last = first
        step = 1 if last >= first else max(first - last, 1)
        low, high = min(first, last), max(first, last)
        copy = -1
        for other in range(low, high + 1, step):
            if pdg_id[other] == _GLUON or pdg_id[other] == _PHOTON:
                return row
            if copy < 0 and pdg_id[other] == pdg_id[row]:
                copy = other
        if copy < 0:
            return -1
        row = copy


@njit(cache=True, nogil=True)
def flag_rows(  # noqa: ANN201
    rows, pdg_id, status, mother, daughter, daughter2, previous, following, decayed, hadron  # noqa: ANN001
):
    """``GenPart_statusFlags`` (bits as in :data:`FLAGS`) of the given rows, uint16."""
    out = np.zeros(len(rows), np.uint16)
    for i, row in enumerate(rows):
        bits = 0
        ancestor = _decayed_ancestor(row, mother, decayed)
        tau = _decayed_tau(row, pdg_id, mother, decayed)
        bits |= (ancestor < 0) << 0
        bits |= decayed[row] << 1
        if tau >= 0:
            tau_prompt = _decayed_ancestor(tau, mother, decayed) < 0
            tau_hard = _hard_copy(tau, status, mother, previous, following) >= 0
            direct = tau == ancestor
            bits |= 1 << 2 | tau_prompt << 3 | direct << 4 | (direct and tau_prompt) << 5
            bits |= tau_hard << 9 | (direct and tau_hard) << 10
        unique = mother[row]
        while unique >= 0 and pdg_id[unique] == pdg_id[row]:
            unique = mother[unique]
        bits |= (unique >= 0 and hadron[unique] and decayed[unique]) << 6
        hard = _hard_copy(row, status, mother, previous, following)
        bits |= (hard == row) << 7
        bits |= (hard >= 0) << 8
        if hard >= 0:
            code = status[hard]
            incoming = code == 21 and hard == row
            resonance = code == 22 and following[row] < 0
            outgoing = (code == 23 or code == 1) and row == _before_radiation(
                hard, pdg_id, daughter, daughter2
            )
            bits |= (incoming or resonance or outgoing) << 11
        bits |= (previous[row] < 0) << 12
        bits |= (following[row] < 0) << 13
        first = row
        while previous[first] >= 0:
            first = previous[first]
        bits |= (row == _before_radiation(first, pdg_id, daughter, daughter2)) << 14
        out[i] = bits
    return out


@njit(cache=True, nogil=True)
def mark_descendants(source, mother):  # noqa: ANN001, ANN201
    """Rows whose line of first mothers meets ``source``; decay products lie below their mothers."""
    out = np.zeros(len(source), np.bool_)
    for row in range(len(source)):
        parent = mother[row]
        if 0 <= parent < row:
            out[row] = source[parent] or out[parent]
    return out


@njit(cache=True, nogil=True)
def _push_mothers(row, string, mother, mother2, stack, depth):  # noqa: ANN001, ANN202
    """Put the mothers of ``row`` on the stack, the first mother on top; return the new depth."""
    first, last = mother[row], mother2[row]
    if first < 0:
        return depth
    if string[row] and last > first:
        for other in range(last, first, -1):
            stack[depth] = other
            depth += 1
    elif last >= 0 and last != first:
        stack[depth] = last
        depth += 1
    stack[depth] = first
    return depth + 1


@njit(cache=True, nogil=True)
def mark_ancestors(source, string, mother, mother2):  # noqa: ANN001, ANN201
    """Rows that are mothers, at any distance, of rows in ``source``.

    ``string`` marks hadrons made of a range of partons: all of these are mothers.
    """
    seen = np.zeros(len(source), np.bool_)
    done = np.zeros(len(source), np.bool_)
    stack = np.empty(8 * len(source) + 8, np.int64)
    for start in np.flatnonzero(source):
        depth = _push_mothers(start, string, mother, mother2, stack, 0)
        while depth > 0:
            depth -= 1
            row = stack[depth]
            seen[row] = True
            if not done[row]:
                done[row] = True
                depth = _push_mothers(row, string, mother, mother2, stack, depth)
    return seen


@njit(cache=True, nogil=True)
def mark_mothers(source, string, kept, mother, mother2):  # noqa: ANN001, ANN201
    """Rows that are the nearest ancestor in ``kept`` of a row in ``source``."""
    out = np.zeros(len(source), np.bool_)
    rows = np.flatnonzero(source)
    for row in nearest_kept(rows, string, kept, mother, mother2):
        if row >= 0:
            out[row] = True
    return out


@njit(cache=True, nogil=True)
def nearest_kept(rows, string, kept, mother, mother2):  # noqa: ANN001, ANN201
    """First ancestor in ``kept`` of each row, -1 for none, searched depth first, first mothers first."""
    out = np.full(len(rows), -1, np.int64)
    visit = np.full(len(kept), -1, np.int64)
    stack = np.empty(8 * len(kept) + 8, np.int64)
    for i, start in enumerate(rows):
        depth = _push_mothers(start, string, mother, mother2, stack, 0)
        while depth > 0:
            depth -= 1
            row = stack[depth]
            if kept[row]:
                out[i] = row
                break
            if visit[row] != i:
                visit[row] = i
                depth = _push_mothers(row, string, mother, mother2, stack, depth)
    return out
