from __future__ import annotations

import numpy as np

from processors.flashsim.links import ORIGINS, jet_muons, muon_jets, muon_origin
from processors.jagged import Flat


def flat(counts: list[int], **columns: list[float]) -> Flat:
    return Flat(np.array(counts), {k: np.array(v) for k, v in columns.items()})


def directions(counts: list[int], eta: list[float]) -> Flat:
    return Flat(np.array(counts), {"eta": np.float32(eta), "phi": np.zeros(len(eta), np.float32)})


def test_indices_of_muons_and_jets_agree() -> None:
    muons, jets = directions([3, 1], [0.1, 2.0, -0.1, 0.0]), directions([2, 0], [0.0, 3.0])
    near = muon_jets(muons, jets)
    assert near.tolist() == [0, -1, 0, -1]
    first, second = jet_muons(muons, jets, near)
    assert first.tolist() == [0, -1]
    assert second.tolist() == [2, -1]


def test_without_jets_no_muon_has_one() -> None:
    muons, jets = directions([1], [0.0]), directions([0], [])
    near = muon_jets(muons, jets)
    assert near.tolist() == [-1]
    assert [len(part) for part in jet_muons(muons, jets, near)] == [0, 0]


def test_origin_follows_the_ancestors() -> None:
    # 0: b quark, 1: B0 <- 0, 2: D+ <- 1, 3: muon <- 2, 4: D0 <- none, 5: muon <- 4,
    # 6: pion, 7: muon <- 6, 8: prompt muon, 9: muon of a prompt tau
    particles = flat(
        [10],
        pdgId=[5, 511, 411, 13, 421, -13, 211, 13, -13, 13],
        statusFlags=[0, 0, 0, 0, 0, 0, 0, 0, 1, 1 << 5],
        genPartIdxMother=[-1, 0, 1, 2, -1, 4, -1, 6, -1, -1],
    )
    found = muon_origin(particles, np.array([3, 5, 7, 8, 9]))
    expected = [ORIGINS[name] for name in ("b", "c", "light", "prompt", "tau")]
    assert found.tolist() == expected


def test_origin_looks_in_its_own_event() -> None:
    particles = flat(
        [1, 2], pdgId=[511, 211, 13], statusFlags=[0, 0, 0], genPartIdxMother=[-1, -1, 0]
    )
    assert muon_origin(particles, np.array([2])).tolist() == [ORIGINS["light"]]
