from __future__ import annotations

import awkward as ak
import fastjet
import numpy as np
import pytest

from samples import genjets

FRACTIONS = (
    "chargedFraction",
    "photonFraction",
    "electronFraction",
    "muonFraction",
    "neutralFraction",
)


@pytest.fixture(scope="module")
def jets(ttbar_truth):
    return ttbar_truth.GenJet


def test_jets_are_sorted_and_above_threshold(ttbar_truth):
    for name, least in (("GenJet", 10.0), ("GenJetAK8", 100.0)):
        pt = ttbar_truth[name].pt
        assert ak.sum(ak.num(pt)) > 20
        assert ak.all(pt >= least)
        assert ak.all(pt[:, :-1] >= pt[:, 1:])


@pytest.mark.parametrize("kind", [genjets.AK4, genjets.AK8])
def test_ghosts_change_no_jet(ttbar_record, ttbar_line, ttbar_inputs, kind):
    jets, _ = genjets.cluster(ttbar_record, ttbar_line, ttbar_inputs, kind, details=False)
    r, rows = ttbar_record, ttbar_inputs.rows[ttbar_inputs.visible]
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, kind.radius)
    for event in range(5):
        mine = rows[(rows >= r.offsets[event]) & (rows < r.offsets[event + 1])]
        four = {"px": r.px[mine], "py": r.py[mine], "pz": r.pz[mine], "E": r.energy[mine]}
        array = ak.zip(four, with_name="Momentum4D")
        plain = fastjet.ClusterSequence(array, definition).inclusive_jets(min_pt=kind.min_pt)
        pt = np.sort(np.hypot(ak.to_numpy(plain.px), ak.to_numpy(plain.py)))[::-1]
        assert np.allclose(pt, ak.to_numpy(jets.pt[event]), rtol=1e-5)


def test_energy_fractions_add_to_one(jets):
    total = sum(ak.flatten(jets[name]) for name in FRACTIONS)
    assert np.allclose(ak.to_numpy(total), 1.0, atol=1e-5)


def test_shapes_are_in_range(jets):
    flat = ak.flatten(jets)
    assert ak.all((flat.ptD > 0) & (flat.ptD <= 1 + 1e-6))
    assert ak.all((flat.girth >= 0) & (flat.girth < 0.5))
    assert ak.all(flat.nCharged + flat.nNeutral >= 1)
    assert ak.all(flat.nDisplaced <= flat.nCharged)
    assert ak.all(flat.leadingChargedPt <= 1.5 * flat.pt)


def test_particles_name_the_jet_that_holds_them(ttbar_truth, jets):
    particles = ttbar_truth.particles
    assert ak.all(particles.jetIdx < ak.num(jets))
    for event in range(10):
        index = ak.to_numpy(particles.jetIdx[event])
        px = ak.to_numpy(particles.pt[event] * np.cos(particles.phi[event]))
        py = ak.to_numpy(particles.pt[event] * np.sin(particles.phi[event]))
        eta = ak.to_numpy(jets.eta[event])
        inside = index >= 0
        number = len(eta)
        pt = np.hypot(
            np.bincount(index[inside], px[inside], number),
            np.bincount(index[inside], py[inside], number),
        )
        ratio = pt / ak.to_numpy(jets.pt[event])
        # Soft particles below 0.2 GeV are left out, nothing else.
        assert (ratio[np.abs(eta) < 4.5] > 0.9).all()
        assert (ratio < 1.05).all()


def test_hard_b_quarks_make_b_jets(ttbar_truth, jets):
    parts = ttbar_truth.GenPart
    b = parts[(abs(parts.pdgId) == 5) & (parts.status == 23) & (parts.pt > 40)]
    b = b[abs(b.eta) < 4]
    pairs = ak.cartesian([b, jets], nested=True)
    quark, jet = ak.unzip(pairs)
    dphi = (quark.phi - jet.phi + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(quark.eta - jet.eta, dphi) < 0.2
    tagged = ak.any(near & (jet.hadronFlavour == 5), axis=2)
    assert ak.mean(tagged) > 0.85  # the rest radiated hard


def test_flavours_are_codes_and_follow_the_hadrons(jets):
    flat = ak.flatten(jets)
    assert set(np.unique(ak.to_numpy(flat.hadronFlavour))) == {0, 4, 5}
    allowed = {-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 21}
    assert set(np.unique(ak.to_numpy(flat.partonFlavour)).tolist()) <= allowed
    b = flat[(flat.hadronFlavour == 5) & (flat.pt > 30)]
    assert ak.mean(abs(b.partonFlavour) == 5) > 0.9
    assert ak.mean(b.lxy) > 0.05
    assert ak.all(flat.lxy[flat.hadronFlavour == 0] == 0)


def test_nothing_is_found_where_nothing_is(ttbar_record, ttbar_line, ttbar_inputs):
    huge = genjets.JetKind(0.4, 1e5)
    jets, owner = genjets.cluster(ttbar_record, ttbar_line, ttbar_inputs, huge, details=True)
    assert len(jets) == ttbar_record.events
    assert ak.sum(ak.num(jets)) == 0
    assert (owner == -1).all()
