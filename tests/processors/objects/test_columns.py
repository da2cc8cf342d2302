"""Properties of the branch tables, of the rounding of floats."""

from __future__ import annotations

import numpy as np
import pytest

from processors.objects.columns import (
    JET_BRANCHES,
    MUON_BRANCHES,
    branch_names,
    round_mantissa,
)

RELATIVE = 2.0**-10


@pytest.mark.parametrize("branches", [MUON_BRANCHES, JET_BRANCHES], ids=["Muon", "Jet"])
def test_branches_are_unique_and_documented(branches):
    names = branch_names(branches)
    assert len(set(names)) == len(names)
    assert all(branch.doc and branch.unit for branch in branches)
    floats = [branch for branch in branches if branch.dtype == "float32"]
    assert all(b.mantissa_bits is None or 6 <= b.mantissa_bits <= 23 for b in floats)
    assert all(b.mantissa_bits is None for b in branches if b.dtype != "float32")


@pytest.mark.parametrize(("collection", "count"), [("Muon", 50), ("Jet", 39)])
def test_every_simulated_column_is_a_branch(collection, count):
    """50 and 39 columns besides constants, copies of the truth and cross-indices."""
    branches = MUON_BRANCHES if collection == "Muon" else JET_BRANCHES
    written = {"mass", "pdgId", "jetIdx", "genPartIdx", "genPartFlav"}
    indices = {"genJetIdx", "muonIdx1", "muonIdx2", "electronIdx1", "electronIdx2"}
    extra = written if collection == "Muon" else indices
    simulated = [name for name in branch_names(branches) if name not in extra]
    redundant = 1 if collection == "Muon" else 0  # phi counts twice in the list of 50
    assert len(simulated) + redundant == count


def test_rounding_is_idempotent_and_close():
    values = np.random.default_rng(1).lognormal(0, 8, 10_000).astype(np.float32)
    rounded = round_mantissa(values, 10)
    assert np.array_equal(rounded, round_mantissa(rounded, 10))
    assert np.max(np.abs(rounded / values - 1)) <= RELATIVE / 2 + 1e-7
    assert not np.any(rounded.view(np.uint32) & ((1 << 13) - 1))


def test_rounding_keeps_what_cannot_be_rounded():
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(np.float32).max], np.float32)
    assert np.array_equal(round_mantissa(values, 8), values, equal_nan=True)
    assert round_mantissa(np.array([-1.0, 1.0, -10.0]), 6).tolist() == [-1.0, 1.0, -10.0]


def test_no_bits_means_no_change():
    values = np.array([1.2345678], np.float32)
    assert round_mantissa(values, None) is not None
    assert round_mantissa(values, None)[0] == values[0]


@pytest.mark.parametrize("bits", [0, -3, 24])
def test_impossible_precision_is_refused(bits):
    with pytest.raises(ValueError, match="mantissa"):
        round_mantissa(np.ones(1), bits)


@pytest.mark.parametrize("collection", ["Muon", "Jet"])
def test_tables_match_a_real_v9_like_file(real_data, collection):
    uproot = pytest.importorskip("uproot")
    branches = MUON_BRANCHES if collection == "Muon" else JET_BRANCHES
    absent = {"hfsigmaEtaEta", "hfsigmaPhiPhi", "hfadjacentEtaStripsSize", "hfcentralEtaStripSize"}
    path = real_data / "nano" / "nanoAOD_2015_opendata_ttbar_200.root"
    with uproot.open(path) as file:
        stored = file["Events"].typenames(filter_name=f"{collection}_*")
    types = {"float32": "float[]", "int32": "int32_t[]", "uint8": "uint8_t[]", "bool": "bool[]"}
    for branch in branches:
        if branch.name in absent:
            continue
        assert stored[f"{collection}_{branch.name}"] == types[branch.dtype], branch.name
