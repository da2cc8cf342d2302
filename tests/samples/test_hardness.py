"""The hardness measures: they find what is hard, do not find what is not there."""

from __future__ import annotations

import numpy as np
import pytest

from samples import hardness
from samples.hardness import Table

SIZE = 3000


def table(rng, correlation=0.9, collection="Jet"):
    pt = rng.uniform(20, 100, SIZE)
    first = rng.standard_normal(SIZE)
    second = correlation * first + np.sqrt(1 - correlation**2) * rng.standard_normal(SIZE)
    phi = rng.uniform(-3, 3, SIZE)
    columns = {
        "pt": pt * np.exp(0.1 * rng.standard_normal(SIZE)), "eta": rng.normal(0, 1, SIZE),
        "phi": phi, "mass": pt * 0.1, "first": first, "second": second,
        "gen_pt": pt, "gen_eta": rng.normal(0, 1, SIZE), "gen_phi": phi, "gen_mass": pt * 0.1,
        "gen_hadronFlavour": np.zeros(SIZE), "gen_charge": np.ones(SIZE),
    }  # fmt: skip
    return Table(collection, columns)


def test_shuffling_keeps_marginals_in_bins(rng):
    sample = table(rng)
    shuffled = hardness.marginal_imitation(sample, rng)
    column = list(hardness._targets(sample)).index("second")
    assert np.array_equal(np.sort(shuffled[:, column]), np.sort(sample.columns["second"]))
    assert not np.array_equal(shuffled[:, column], sample.columns["second"])


def test_correlated_columns_are_told_from_their_marginals(rng):
    correlated, _ = hardness.hardness(table(rng, 0.95))
    independent, _ = hardness.hardness(table(rng, 0.0))
    assert correlated > 0.8
    assert correlated > independent + 0.1


def test_a_gaussian_sample_is_what_an_affine_flow_makes(rng):
    sample = table(rng, 0.8)
    target, imitation = hardness._continuous(sample), hardness.affine_imitation(sample, rng)
    columns = [list(hardness._targets(sample)).index(name) for name in ("first", "second")]
    names = np.asarray(columns)
    judged = hardness.classifier_auc(
        target[:, names], imitation[:, names], sample.columns["gen_eta"][:, None]
    )
    assert judged == pytest.approx(0.5, abs=0.06)


def test_tail_ratio_of_a_gaussian_and_of_heavier_tails(rng):
    gaussian = rng.standard_normal(200_000)
    assert hardness.tail_ratio(gaussian) == pytest.approx(3.29 / 1.405, rel=0.05)
    assert hardness.tail_ratio(gaussian**3) > 4 * hardness.tail_ratio(gaussian)
    assert np.isnan(hardness.tail_ratio(np.zeros(1000)))


def test_equal_samples_have_equal_rank_correlations(rng):
    first, second = table(rng), table(rng)
    assert hardness.rank_correlations(first, first)[0].generated == pytest.approx(
        hardness.rank_correlations(first, first)[0].real
    )
    assert abs(hardness.rank_correlations(first, second)[0].real) <= 1
    far = hardness.rank_correlations(first, table(rng, 0.0))[0]
    assert {far.first, far.second} == {"first", "second"}
    assert 0 < far.error < 0.1


def test_merging_keeps_common_columns(rng):
    first, second = table(rng), table(rng)
    del second.columns["second"]
    merged = hardness.merge([first, second])
    assert len(merged) == 2 * SIZE
    assert "second" not in merged.columns


def test_hash_is_stable_text():
    digest = hardness.generator_hash()
    assert digest == hardness.generator_hash()
    assert len(digest) == 64


def test_real_files_can_be_read(real_data):
    path = real_data / "nano" / "nano_tt_v12_200.root"
    jets, muons = (hardness.matched_table(path, name) for name in ("Jet", "Muon"))
    assert len(jets) == 1336
    assert len(muons) == 140
    assert np.all(np.abs(muons.columns["gen_charge"]) == 1)
    assert np.median(jets.columns["pt"] / jets.columns["gen_pt"]) == pytest.approx(1.04, abs=0.02)
