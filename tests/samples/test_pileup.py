from __future__ import annotations

import awkward as ak
import numpy as np

from samples import pileup


def test_profile_is_that_of_2018(rng):
    mean = pileup.true_interactions(20_000, rng)
    assert 30.5 < mean.mean() < 33.0  # UL 2018 mixing: 31.9
    assert 8.0 < mean.std() < 11.0
    assert mean.min() >= 0.0
    assert mean.max() < 80.0


def test_numbers_are_poisson_around_the_true_mean(rng):
    summary = pileup.vertices(20_000, rng).summary
    mean = ak.to_numpy(summary.nTrueInt)
    for name, crossings in (
        ("nPU", 1),
        ("sumEOOT", pileup.EARLY_BUNCHES),
        ("sumLOOT", pileup.LATE_BUNCHES),
    ):
        pull = (ak.to_numpy(summary[name]) - crossings * mean) / np.sqrt(crossings * mean)
        assert abs(pull.mean()) < 0.04  # five standard errors of 20,000 pulls
        assert abs(pull.std() - 1) < 0.03


def test_density_counts_vertices_near_the_collision(rng):
    drawn = pileup.vertices(20_000, rng)
    near = ak.to_numpy(drawn.summary.pudensity)
    assert np.array_equal(near, np.round(near))
    # 2 mm of a Gaussian of 3.5 cm, seen from vertices of the same Gaussian.
    expected = 31.9 * 0.2 / (2 * np.sqrt(np.pi) * pileup.BEAM_SPOT_WIDTH_Z)
    assert abs(near.mean() - expected) < 0.05
    local = ak.to_numpy(drawn.summary.gpudensity)
    central = np.abs(drawn.z) < 1.7
    assert local[central].mean() > 2 * local[np.abs(drawn.z) > 6.0].mean()


def test_pool_is_reproducible_and_its_parts_independent(pool):
    again = pileup.make_pool(11, 48)
    assert np.array_equal(again.tiles, pool.tiles)
    assert np.array_equal(again.jets, pool.jets)
    other = pileup.make_part(12, 0, 48)
    assert not np.array_equal(other.tiles, pool.tiles)


def test_joined_parts_keep_their_jets():
    a = pileup.Pool(np.zeros((2, 18, 11)), np.array([0, 1, 3]), np.arange(18.0).reshape(3, 6))
    joined = pileup.join([a, a])
    assert joined.jet_offsets.tolist() == [0, 1, 3, 4, 6]
    assert joined.jets.shape == (6, 6)


def test_no_pileup_no_jets_no_density(pool, rng):
    jets, rho = pileup.draw(pool, np.array([0, 40, 0]), rng)
    assert ak.num(jets).to_list()[0] == ak.num(jets).to_list()[2] == 0
    assert rho[0] == rho[2] == 0
    assert rho[1] > 5


def test_density_grows_with_the_number_of_collisions(pool, rng):
    number = np.repeat([5, 20, 60], 60)
    jets, rho = pileup.draw(pool, number, rng)
    means = [rho[number == n].mean() for n in (5, 20, 60)]
    assert means[0] < means[1] < means[2]
    assert 2.0 < means[2] / means[1] < 4.0
    assert ak.num(jets)[number == 60].to_numpy().mean() > 5


def test_density_is_the_median_of_the_tiles():
    tiles = np.zeros((1, 18, 11), np.float32)
    tiles[0, :10] = 2.0  # more than half of the tiles
    lone = pileup.Pool(tiles, np.array([0, 0]), np.zeros((0, 6), np.float32))
    _, rho = pileup.draw(lone, np.array([1, 3]), np.random.default_rng(1))
    area = 10.0 / 18 * 2 * np.pi / 11
    assert np.isclose(rho[0], 2.0 / area, rtol=1e-5)
    assert rho[1] >= rho[0]


def test_jets_are_turned_and_mirrored_but_not_changed(pool, rng):
    jets, _ = pileup.draw(pool, np.full(30, 30), rng)
    flat = ak.flatten(jets)
    known = set(pool.jets[:, 0].tolist())
    assert set(ak.to_list(flat.pt)) <= known
    assert set(np.abs(ak.to_numpy(flat.eta)).tolist()) <= set(np.abs(pool.jets[:, 1]).tolist())
    assert ak.all(abs(flat.phi) <= np.float32(np.pi))
    assert ak.all(jets.pt[:, :-1] >= jets.pt[:, 1:])
