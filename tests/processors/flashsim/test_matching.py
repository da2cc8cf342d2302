from __future__ import annotations

import numpy as np

from processors.flashsim.matching import SEARCH_RADIUS, clean_jets, closest, partners
from processors.jagged import Flat


def flat(counts: list[int], **columns: list[float]) -> Flat:
    return Flat(np.array(counts), {k: np.array(v, np.float32) for k, v in columns.items()})


def test_partners_follow_the_stored_index_and_count_what_is_odd() -> None:
    # event 0: three reco objects, two of them of gen object 1; event 1: index beyond the end
    found = partners(np.array([2, 1]), np.array([3, 2]), np.array([1, 1, -1, 0, 7]))
    assert found.index.tolist() == [-1, 0, 3]
    assert (found.duplicates, found.dangling, found.unmatched) == (1, 1, 1)


def test_every_reco_object_is_accounted_for() -> None:
    rng = np.random.default_rng(1)
    gen, reco = rng.integers(0, 5, 200), rng.integers(0, 6, 200)
    index = rng.integers(-1, 7, reco.sum())
    found = partners(gen, reco, index)
    used = int((found.index >= 0).sum())
    assert used + found.duplicates + found.dangling + found.unmatched == reco.sum()


def test_closest_equals_a_plain_search() -> None:
    rng = np.random.default_rng(2)
    counts_a, counts_b = rng.integers(0, 4, 50), rng.integers(0, 6, 50)

    def random(counts: np.ndarray) -> Flat:
        n = int(counts.sum())
        return Flat(
            counts,
            {
                "eta": rng.normal(0, 0.5, n).astype("f4"),
                "phi": rng.uniform(-np.pi, np.pi, n).astype("f4"),
            },
        )

    a, b = random(counts_a), random(counts_b)
    near = closest(a, b, k=2)
    for row in range(len(a)):
        same = np.flatnonzero(b.event == a.event[row])
        deta = b["eta"][same] - a["eta"][row]
        dphi = np.angle(np.exp(1j * (b["phi"][same] - a["phi"][row])))
        dr = np.hypot(deta, dphi)
        order = np.argsort(dr)[:2]
        order = order[dr[order] < SEARCH_RADIUS]
        expected = [*same[order].tolist(), -1, -1][:2]
        assert near.index[row].tolist() == expected
        np.testing.assert_allclose(near.dr[row, : len(order)], dr[order], atol=1e-5)


def test_without_neighbour_the_distance_is_the_radius() -> None:
    near = closest(flat([1], eta=[0.0], phi=[0.0]), flat([1], eta=[2.0], phi=[0.0]))
    assert near.index.tolist() == [[-1]]
    assert (near.dr[0, 0], near.deta[0, 0], near.dphi[0, 0]) == (SEARCH_RADIUS, 0.0, 0.0)


def test_jets_that_are_a_lepton_are_dropped() -> None:
    jets = flat([3, 1], pt=[30.0, 60.0, 20.0, 30.0], eta=[0.0, 0.0, 1.0, 0.0], phi=[0.0] * 4)
    leptons = flat([1, 0], pt=[30.0], eta=[0.005], phi=[-0.005])
    # the same momentum is dropped, a harder jet around it kept, other directions and events kept
    assert clean_jets(jets, leptons).tolist() == [False, True, True, True]
