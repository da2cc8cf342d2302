from __future__ import annotations

import time
import warnings

import awkward as ak
import numpy as np
import pytest
import uproot

from samples import nanoaod
from samples.branches import COLLECTIONS, SCALARS, SINGLES
from samples.detector import simulate

ROOT_TYPES = {
    "float32": "float",
    "int32": "int32_t",
    "uint8": "uint8_t",
    "bool": "bool",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
}


@pytest.fixture(scope="module")
def events(ttbar_truth):
    return nanoaod.nano_events(ttbar_truth, simulate(ttbar_truth, np.random.default_rng(3)))


def write(path, *batches):
    with nanoaod.open_writer(path, sum(map(len, batches)), "test") as writer:
        for batch in batches:
            writer.add(batch)
    return path


@pytest.fixture(scope="module")
def path(events, tmp_path_factory):
    return write(tmp_path_factory.mktemp("nano") / "ttbar.root", events)


@pytest.fixture(scope="module")
def tree(path):
    return uproot.open(path)["Events"]


def test_branches_have_the_names_and_types_of_the_tables(tree):
    found = {name: branch.typename for name, branch in tree.items()}
    expected = {branch.name: ROOT_TYPES[branch.dtype] for branch in SCALARS}
    for name, branches in SINGLES.items():
        expected |= {f"{name}_{b.name}": ROOT_TYPES[b.dtype] for b in branches}
    for name, branches in COLLECTIONS.items():
        expected[f"n{name}"] = "int32_t"
        expected |= {f"{name}_{b.name}": ROOT_TYPES[b.dtype] + "[]" for b in branches}
    assert found == expected


def test_types_agree_with_a_real_v9_file(tree, real_data):
    real = uproot.open(real_data / "nano" / "hggnano_DY_UL17_100.root")["Events"]
    names = [branch.name for branch in tree.branches]
    names = [n for n in names if n.startswith(("Gen", "Pileup", "PV", "run", "event"))]
    shared = [n for n in names if n in {branch.name for branch in real.branches}]
    assert len(shared) > 40
    for name in shared:
        assert tree[name].typename == real[name].typename, name


def test_values_survive_the_file(tree, events):
    for name in ("GenPart", "Jet", "Muon"):
        for field in events[name].fields:
            assert ak.array_equal(tree[f"{name}_{field}"].array(), events[name, field]), field
    assert tree["event"].array().to_list() == list(range(1, len(events) + 1))


def test_precision_is_reduced_as_in_nanoaod(tree):
    for name, bits in (("GenPart_pt", 8), ("GenJet_eta", 12), ("GenMET_pt", 10)):
        words = ak.to_numpy(ak.flatten(tree[name].array(), axis=None)).view(np.uint32)
        assert not (words & ((1 << (23 - bits)) - 1)).any(), name


def test_runs_hold_the_sums(path, events):
    with uproot.open(path) as file:
        runs = file["Runs"].arrays().to_list()
        blocks = file["LuminosityBlocks"].arrays().to_list()
    assert runs == [
        {
            "run": 1,
            "genEventCount": len(events),
            "genEventSumw": pytest.approx(float(ak.sum(events.genWeight))),
            "genEventSumw2": pytest.approx(float(ak.sum(events.genWeight**2))),
        }
    ]
    assert blocks == [{"run": 1, "luminosityBlock": 1}]


def test_bytes_depend_on_the_events_alone(events, path, tmp_path):
    time.sleep(1.1)  # ROOT's clock ticks in seconds
    again = write(tmp_path / "elsewhere.root", events)
    assert again.read_bytes() == path.read_bytes()


def test_batches_leave_no_trace(events, path, tmp_path):
    parts = write(tmp_path / "parts.root", events[:7], events[7:40], events[40:])
    assert parts.read_bytes() == path.read_bytes()


def test_baskets_are_cut_at_the_flush(events, tmp_path, monkeypatch):
    monkeypatch.setattr(nanoaod, "FLUSH_EVENTS", 25)
    path = write(tmp_path / "small.root", events[:40], events[40:])
    tree = uproot.open(path)["Events"]
    assert tree["event"].num_baskets == 3
    assert ak.array_equal(tree["Jet_pt"].array(), events["Jet", "pt"])


def test_nothing_is_left_when_writing_fails(events, tmp_path):
    broken = ak.without_field(events, "Jet")
    with pytest.raises(ValueError, match="Jet"):
        write(tmp_path / "a.root", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named(ttbar_truth):
    reco = simulate(ttbar_truth, np.random.default_rng(3))
    reco["Jet"] = ak.without_field(reco["Jet"], "qgl")
    with pytest.raises(ValueError, match="columns qgl are missing"):
        nanoaod.nano_events(ttbar_truth, reco)


def test_coffea_resolves_the_cross_references(path, events):
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nano = NanoEventsFactory.from_root(
            {str(path): "Events"}, schemaclass=NanoAODSchema, mode="eager"
        ).events()
    missing = {str(w.message).split(" for ")[-1].split(" =>")[0] for w in caught}
    held = {name for name in missing if name.split("_")[0] in COLLECTIONS}
    # The two collections that are not simulated and have an index in what is.
    assert held <= {"Muon_fsrPhotonIdx", "Electron_photonIdx"}
    jets = nano.Jet
    matched = jets.matched_gen
    assert ak.all((jets.genJetIdx >= 0) == ~ak.is_none(matched.pt, axis=1))
    assert 0.5 < ak.mean(jets.pt / matched.pt) < 1.5
    muons = nano.Muon.matched_gen
    assert ak.any(abs(muons.pdgId) == 13)
    parent = nano.GenPart.parent
    w = (nano.GenPart.pdgId == 24) & (nano.GenPart.status == 22)
    assert ak.all(parent.pdgId[w] == 6)
    children = nano.GenPart[nano.GenPart.pdgId == 6].children
    assert ak.all(ak.any(abs(children.pdgId) >= 5, axis=2))
    assert ak.all(ak.is_none(ak.flatten(jets.matched_electrons.pt, axis=None), axis=0))
    assert ak.sum(ak.num(nano.Electron)) == 0
