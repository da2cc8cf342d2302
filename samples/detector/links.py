"""Final collections: order in pt, cross-indices, derived columns, NanoAOD types."""

from __future__ import annotations

from collections.abc import Mapping

import awkward as ak
import numpy as np

from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES, Branch
from processors.objects.derived import JET_DERIVED, MUON_DERIVED, derive
from samples.detector.muons import MUON_MASS_GEV
from samples.detector.tables import Flat, pair_up, unflatten

__all__ = ["associate", "order_by_pt", "write_jets", "write_muons"]

ASSOCIATION_DR = 0.4


def order_by_pt(table: Flat) -> np.ndarray:
    """Rows sorted by event, then by falling pt."""
    return np.lexsort((-table["pt"], table.event))


def associate(muons: Flat, jets: Flat) -> tuple[np.ndarray, np.ndarray]:
    """Row of the closest jet within 0.4 of each muon (-1 for none) with its distance."""
    pairs = pair_up(muons, jets)
    near = np.flatnonzero(pairs.dr < ASSOCIATION_DR)
    order = near[np.lexsort((-pairs.dr[near],))]
    row, dr = np.full(len(muons), -1), np.zeros(len(muons))
    row[pairs.left[order]], dr[pairs.left[order]] = pairs.right[order], pairs.dr[order]
    return row, dr


def _records(
    columns: Mapping[str, np.ndarray], branches: tuple[Branch, ...], counts: np.ndarray
) -> ak.Array:
    typed = {b.name: np.asarray(columns[b.name]).astype(b.dtype) for b in branches}
    return ak.zip({name: unflatten(values, counts) for name, values in typed.items()})


def _local(rows: np.ndarray, table: Flat) -> np.ndarray:
    return np.where(rows >= 0, rows - table.starts[table.event[np.maximum(rows, 0)]], -1)


def write_muons(muons: Flat, jets: Flat, parts: Flat) -> ak.Array:
    """NanoAOD collection of muons, in the order of the table."""
    row = muons["jet_reco_row"]
    gen_row = muons["gen_row"]
    columns = dict(muons.columns)
    columns |= {
        "mass": np.full(len(muons), MUON_MASS_GEV), "pdgId": -13 * muons["charge"],
        "jetIdx": _local(row, jets) if len(jets) else np.full(len(muons), -1),
        "genPartIdx": _local(gen_row, parts) if len(parts) else gen_row,
        "genPartFlav": muons["flavour"],
    }  # fmt: skip
    columns |= derive(MUON_DERIVED, columns, {})
    return _records(columns, MUON_BRANCHES, muons.counts)


def _leading_muons(muons: Flat, jets: int) -> tuple[np.ndarray, np.ndarray]:
    """Per-event indices of the two hardest muons of each jet, -1 for none."""
    inside = np.flatnonzero(muons["jet_reco_row"] >= 0)
    inside = inside[np.argsort(muons["jet_reco_row"][inside], kind="stable")]
    row = muons["jet_reco_row"][inside]
    local = inside - muons.starts[muons.event[inside]]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    first, second = np.full(jets, -1), np.full(jets, -1)
    first[row[rank == 0]] = local[rank == 0]
    second[row[rank == 1]] = local[rank == 1]
    return first, second


def write_jets(jets: Flat, muons: Flat, gen: Flat) -> ak.Array:
    """NanoAOD collection of jets, in the order of the table; muon indices point into ``muons``."""
    n, none = len(jets), np.full(len(jets), -1)
    first, second = _leading_muons(muons, n)
    columns = dict(jets.columns)
    truth = {
        "hadronFlavour": jets["gen_hadronFlavour"], "partonFlavour": jets["gen_partonFlavour"]
    }  # fmt: skip
    columns |= {
        "electronIdx1": none, "electronIdx2": none, "muonIdx1": first, "muonIdx2": second,
        "genJetIdx": _local(jets["gen_row"], gen) if len(gen) else np.full(n, -1),
    }  # fmt: skip
    columns |= derive(JET_DERIVED, columns, truth)
    return _records(columns, JET_BRANCHES, jets.counts)
