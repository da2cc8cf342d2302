"""Which object belongs to which: generator partners, closest neighbours, cleaned jets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from processors.jagged import Flat, counts_to_offsets, delta_phi, event_index, pairs

__all__ = [
    "CLEANING_RADIUS",
    "CLEANING_RELATIVE_PT",
    "SEARCH_RADIUS",
    "Neighbours",
    "Partners",
    "clean_jets",
    "closest",
    "partners",
]

SEARCH_RADIUS = 1.0
"""Largest distance of a neighbour; cms-flashsim/extractor uses the same."""
CLEANING_RADIUS = 0.01
CLEANING_RELATIVE_PT = 0.001
"""A jet this close to a lepton in direction and not harder than it is the lepton itself;
cms-flashsim/extractor, GenJet cleaning."""


class Neighbours(NamedTuple):
    """Neighbours of each object, closest first; arrays ``(n, k)``.

    Where there is none within the search radius: ``index`` -1, ``dr`` the radius, differences 0.
    """

    index: np.ndarray
    dr: np.ndarray
    deta: np.ndarray
    dphi: np.ndarray


class Partners(NamedTuple):
    """Reconstructed partner of each generator object.

    Attributes:
        index: Flat position of the partner, -1 if none, ``(n_gen,)``.
        duplicates: Reconstructed objects whose generator object had a harder partner already.
        dangling: Reconstructed objects whose stored index points outside the collection.
        unmatched: Reconstructed objects without generator index.
    """

    index: np.ndarray
    duplicates: int
    dangling: int
    unmatched: int


def partners(gen_counts: np.ndarray, reco_counts: np.ndarray, gen_index: np.ndarray) -> Partners:
    """Invert NanoAOD's own index of the generator object; the first (hardest) object wins.

    Arguments:
        gen_counts: Objects per event of the generator collection.
        reco_counts: Objects per event of the reconstructed collection.
        gen_index: Position of the generator object inside its event, -1 if none, ``(n_reco,)``.
    """
    event = event_index(reco_counts)
    wanted = gen_index.astype(np.int64)
    pointing = wanted >= 0
    valid = pointing & (wanted < gen_counts[event])
    position = np.flatnonzero(valid)
    target = counts_to_offsets(gen_counts)[event[position]] + wanted[position]
    index = np.full(int(gen_counts.sum()), -1, dtype=np.int64)
    unique, first = np.unique(target, return_index=True)
    index[unique] = position[first]
    return Partners(
        index=index,
        duplicates=len(target) - len(unique),
        dangling=int(pointing.sum() - valid.sum()),
        unmatched=int(len(wanted) - pointing.sum()),
    )


def closest(
    objects: Flat, others: Flat, *, k: int = 1, radius: float = SEARCH_RADIUS
) -> Neighbours:
    """The ``k`` closest of ``others`` to each of ``objects`` within ``radius``.

    Differences are other minus object. Equal distances: the other that comes first.

    Arguments:
        objects: Collection with ``eta`` and ``phi``.
        others: Collection with ``eta`` and ``phi``, same events.
    Shapes: arrays of the result are ``(len(objects), k)``.
    """
    a, b = pairs(objects.counts, others.counts)
    deta = others["eta"][b] - objects["eta"][a]
    dphi = delta_phi(others["phi"][b], objects["phi"][a])
    dr2 = deta * deta + dphi * dphi
    near = dr2 < np.float32(radius) ** 2
    a, b, deta, dphi, dr2 = a[near], b[near], deta[near], dphi[near], dr2[near]
    order = np.lexsort((b, dr2, a))
    groups = np.bincount(a, minlength=len(objects))
    rank = np.arange(len(a)) - np.repeat(counts_to_offsets(groups)[:-1], groups)
    order = order[rank < k]
    row, column = a[order], rank[rank < k]
    shape = (len(objects), k)
    index = np.full(shape, -1, dtype=np.int64)
    result = Neighbours(
        index=index,
        dr=np.full(shape, radius, dtype=np.float32),
        deta=np.zeros(shape, dtype=np.float32),
        dphi=np.zeros(shape, dtype=np.float32),
    )
    index[row, column] = b[order]
    result.dr[row, column] = np.sqrt(dr2[order])
    result.deta[row, column] = deta[order]
    result.dphi[row, column] = dphi[order]
    return result


def clean_jets(jets: Flat, leptons: Flat) -> np.ndarray:
    """Mask ``(n_jets,)`` of jets that are not just a lepton.

    Arguments:
        jets: Collection with ``pt`` (GeV), ``eta``, ``phi``.
        leptons: Electrons and muons of the same events, any generator copy.
    References: cms-flashsim/extractor, GenJet cleaning: distance at most 0.01 and
        (pt(jet) - pt(lepton)) / pt(lepton) at most 0.001, so every softer jet counts as close.
    """
    j, lepton = pairs(jets.counts, leptons.counts)
    deta = jets["eta"][j] - leptons["eta"][lepton]
    near = np.abs(deta) <= CLEANING_RADIUS
    j, lepton, deta = j[near], lepton[near], deta[near]
    dphi = delta_phi(jets["phi"][j], leptons["phi"][lepton])
    close = deta * deta + dphi * dphi <= np.float32(CLEANING_RADIUS) ** 2
    limit = np.float32(1.0 + CLEANING_RELATIVE_PT) * leptons["pt"][lepton]
    keep = np.ones(len(jets), dtype=bool)
    keep[j[close & (jets["pt"][j] <= limit)]] = False
    return keep
