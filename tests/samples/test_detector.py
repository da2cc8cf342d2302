"""The detector as a whole: bookkeeping, bounds, dependence on what it must depend on."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES, branch_names
from processors.objects.derived import JET_DERIVED, MUON_DERIVED, derive
from samples import production
from samples.detector import simulate
from samples.detector.composition import muons_in_jets
from samples.detector.tables import flatten

COPIES = 8


@pytest.fixture(scope="module")
def reco(ttbar_truth):
    return simulate(ttbar_truth, np.random.default_rng(3))


@pytest.fixture(scope="module")
def many(ttbar_truth):
    """The same collisions seen eight times, for rates."""
    truth = ak.concatenate([ttbar_truth] * COPIES)
    return truth, simulate(truth, np.random.default_rng(4))


def flat(values):
    return ak.to_numpy(ak.flatten(values))


def test_every_branch_is_there_with_its_type(reco):
    for collection, branches in (("Muon", MUON_BRANCHES), ("Jet", JET_BRANCHES)):
        assert reco[collection].fields == branch_names(branches)
        for branch in branches:
            values = flat(reco[collection, branch.name])
            assert values.dtype == np.dtype(branch.dtype), branch.name
            assert np.all(np.isfinite(values)), branch.name


def test_same_state_same_detector(ttbar_truth, reco):
    again = simulate(ttbar_truth, np.random.default_rng(3))
    other = simulate(ttbar_truth, np.random.default_rng(8))
    assert ak.array_equal(reco, again, equal_nan=True)
    assert not np.array_equal(ak.num(reco["Jet"]), ak.num(other["Jet"])) or not np.array_equal(
        flat(reco["Jet", "pt"]), flat(other["Jet", "pt"])
    )


@pytest.mark.parametrize("events", [0, 1])
def test_small_batches(ttbar_truth, events):
    found = simulate(ttbar_truth[:events], np.random.default_rng(1))
    assert len(found) == events
    assert found["Jet"].fields == branch_names(JET_BRANCHES)


def test_thresholds_and_order(many):
    _, reco = many
    for collection, threshold in (("Muon", 3.0), ("Jet", 15.0)):
        pt = reco[collection, "pt"]
        assert ak.min(pt) > threshold
        assert ak.all(pt[:, 1:] <= pt[:, :-1])
    assert ak.max(np.abs(reco["Jet", "eta"])) < 5.3


def test_indices_resolve(many):
    truth, reco = many
    jet, muon = reco["Jet"], reco["Muon"]
    assert ak.all(jet["genJetIdx"] < ak.num(truth["GenJet"]))
    assert ak.all(muon["jetIdx"] < ak.num(jet))
    assert ak.all(jet["muonIdx1"] < ak.num(muon))
    used = jet["genJetIdx"][jet["genJetIdx"] >= 0]
    assert ak.all(ak.num(used) == ak.Array([len(set(row)) for row in used.to_list()]))
    with_muon = jet["muonIdx1"] >= 0
    back = muon["jetIdx"][jet["muonIdx1"][with_muon]]
    assert ak.all(back == ak.local_index(jet["pt"])[with_muon])
    partner = muon["genPartIdx"]
    parts = truth["GenPart"][partner[partner >= 0]]
    assert ak.all(np.abs(parts["pdgId"]) == 13)
    assert ak.all((parts["statusFlags"] >> 13) % 2 == 1)


def test_partners_are_close(many):
    truth, reco = many
    jet = reco["Jet"][reco["Jet", "genJetIdx"] >= 0]
    gen = truth["GenJet"][jet["genJetIdx"]]
    deta = flat(jet["eta"] - gen["eta"])
    dphi = (flat(jet["phi"] - gen["phi"]) + np.pi) % (2 * np.pi) - np.pi
    assert np.max(np.hypot(deta, dphi)) < 0.4
    assert 0.9 < np.median(flat(jet["pt"] / gen["pt"])) < 1.2
    assert np.array_equal(flat(jet["hadronFlavour"]), flat(gen["hadronFlavour"]))


def test_derived_columns_are_the_shared_functions(many):
    _, reco = many
    for collection, table in (("Muon", MUON_DERIVED), ("Jet", JET_DERIVED)):
        columns = {name: flat(reco[collection, name]) for name in reco[collection].fields}
        own = {n: f for n, f in table.items() if n not in ("hadronFlavour", "partonFlavour")}
        for name, values in derive(own, columns, {}).items():
            same = np.isclose(values, columns[name], rtol=1e-4, atol=1e-5)
            assert same.mean() > 0.999, name


def test_energy_fractions_add_to_one(many):
    _, reco = many
    jets = reco["Jet"]
    total = sum(flat(jets[name]) for name in ("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF"))
    assert np.allclose(total, 1.0, atol=1e-5)


def test_isolations_are_ordered(many):
    _, reco = many
    muon = reco["Muon"]
    for name in ("pfRelIso03", "miniPFRelIso"):
        assert ak.all(muon[f"{name}_all"] >= muon[f"{name}_chg"] - 1e-6)
        assert ak.all(muon[f"{name}_chg"] >= 0)
    assert 0.0 < np.mean(flat(muon["miniPFRelIso_chg"]) == 0) < 0.9


def test_sentinels_are_exact_and_shared(many):
    _, reco = many
    jets = reco["Jet"]
    failed = flat(jets["btagDeepB"]) == -1
    assert 0.02 < failed.mean() < 0.6
    assert np.array_equal(failed, flat(jets["btagDeepCvL"]) == -1)
    assert np.array_equal(failed, flat(jets["btagCSVV2"]) == -10)
    assert np.all(flat(jets["btagDeepB"])[~failed] > 0)
    central = np.abs(flat(jets["eta"])) < 2.5
    assert np.all(flat(jets["hfsigmaEtaEta"])[central] == -1)


def test_taggers_see_flavour(many):
    _, reco = many
    jets = reco["Jet"]
    flavour, score = flat(jets["hadronFlavour"]), flat(jets["btagDeepFlavB"])
    assert np.median(score[flavour == 5]) > 0.8
    assert np.median(score[flavour == 0]) < 0.1
    assert np.mean((score > 0.1) & (score < 0.9)) < 0.4


def test_charge_is_rarely_wrong(many):
    truth, reco = many
    muon = reco["Muon"][reco["Muon", "genPartIdx"] >= 0]
    gen = truth["GenPart"][muon["genPartIdx"]]
    wrong = np.mean(flat(muon["charge"]) != -np.sign(flat(gen["pdgId"])))
    assert wrong < 0.01
    assert np.array_equal(flat(muon["pdgId"]), -13 * flat(muon["charge"]))


def test_more_pileup_more_unmatched_jets(pool):
    truth = production.batch_truth("zmumu", 11, 0, 60, pool)
    truth = ak.concatenate([truth] * COPIES)
    reco = simulate(truth, np.random.default_rng(2))
    lost = ak.to_numpy(ak.sum(reco["Jet", "genJetIdx"] < 0, axis=1))
    many_vertices = ak.to_numpy(truth["Pileup", "nPU"]) > np.median(truth["Pileup", "nPU"])
    assert lost[many_vertices].mean() > lost[~many_vertices].mean()


def test_hidden_variables_matter(ttbar_truth):
    """Jets of the same conditions differ when a hidden quantity of the truth does."""
    truth = ak.concatenate([ttbar_truth] * COPIES)
    before = simulate(truth, np.random.default_rng(6))
    jets = ak.with_field(truth["GenJet"], truth["GenJet", "lxy"] * 0.01, "lxy")
    after = simulate(ak.with_field(truth, jets, "GenJet"), np.random.default_rng(6))

    def score(reco):
        b = flat(reco["Jet", "hadronFlavour"]) == 5
        return flat(reco["Jet", "btagDeepFlavB"])[b].mean()

    assert score(after) < score(before) - 0.1


def test_each_muon_is_in_one_jet_only(ttbar_truth, reco):
    muons = flatten(reco["Muon"], ["pt", "eta", "phi", "isPFcand"])
    jets = flatten(reco["Jet"], ["pt", "eta", "phi"])
    pt, flow, number = muons_in_jets(jets, muons)
    assert number.sum() <= len(muons)
    assert pt.sum() <= muons["pt"].sum() + 1e-6
    assert np.all(flow <= number)


def test_events_have_vertices_and_missing_momentum(many):
    truth, reco = many
    assert ak.all(reco["PV", "npvs"] >= 1)
    assert ak.all(reco["PV", "npvsGood"] <= reco["PV", "npvs"])
    npu = ak.to_numpy(truth["Pileup", "nPU"])
    assert np.corrcoef(npu, ak.to_numpy(reco["PV", "npvs"]))[0, 1] > 0.9
    rho = ak.to_numpy(reco["fixedGridRhoFastjetAll"])
    assert np.corrcoef(npu, rho)[0, 1] > 0.7
    assert np.all(ak.to_numpy(reco["MET", "pt"]) >= 0)
