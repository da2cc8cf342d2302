from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory

from processors.config import FlashSimConfig
from processors.errors import ConfigurationError, NotSimulationError
from processors.flashsim.processor import FlashSim, FlowNanoAODSchema
from processors.objects.columns import JET_BRANCHES, MUON_BRANCHES
from tests.processors.toynano import toy_content, write_toy

REAL = (
    "nano_tt_v12_200.root",
    "nanoAOD_2015_opendata_ttbar_200.root",
    "hggnano_DY_UL17_100.root",
    pytest.param("nano_tt_v15_200.root", marks=pytest.mark.slow),
    pytest.param("nano_dy_40.root", marks=pytest.mark.slow),
    pytest.param("nano_GJet_v11_100.root", marks=pytest.mark.slow),
)


def read(paths: list[str]) -> ak.Array:
    """All events of all files in entry order."""
    ordered = sorted(paths, key=lambda p: int(Path(p).stem.rpartition("_")[2].split("-")[0]))
    return ak.concatenate([uproot.open(p)["Events"].arrays() for p in ordered])


def identical(one: ak.Array, two: ak.Array) -> bool:
    if one.fields != two.fields:
        return False
    for name in one.fields:
        first, second = ak.flatten(one[name], axis=None), ak.flatten(two[name], axis=None)
        if (
            first.type != second.type
            or ak.to_numpy(first).tobytes() != ak.to_numpy(second).tobytes()
        ):
            return False
    return True


@pytest.fixture(scope="module")
def result(run: Callable, flashsim: Callable, nano: Path) -> dict[str, Any]:
    return run(flashsim(), nano)


def test_every_generated_object_is_accounted_for(result: dict[str, Any]) -> None:
    counters = result["counters"]
    for name in ("Muon", "Jet"):
        out = sum(
            counters[f"objects.{name}.{fate}"]
            for fate in ("out", "not_reconstructed", "below_threshold", "nonfinite")
        )
        assert counters[f"objects.{name}.in"] == out > 0
    assert counters["events.read"] == counters["events.written"] == 150
    assert counters["sum_genweight.read"] == counters["sum_genweight.written"] != 0
    assert counters["sum_genweight.input"] == counters["sum_genweight.read"]


def test_the_output_is_nanoaod(result: dict[str, Any], nano: Path) -> None:
    tree = uproot.open(result["outputs"][0])["Events"]
    dtypes = tree.typenames()
    names = {"float32": "float", "int32": "int32_t", "uint8": "uint8_t", "bool": "bool"}
    for collection, branches in (("Muon", MUON_BRANCHES), ("Jet", JET_BRANCHES)):
        for branch in branches:
            assert dtypes[f"{collection}_{branch.name}"] == f"{names[branch.dtype]}[]"
    events, source = tree.arrays(), uproot.open(nano)["Events"].arrays()
    for name in source.fields:
        if name.startswith(("Gen", "nGen", "Pileup", "run", "lumi", "event", "genW")):
            assert ak.array_equal(events[name], source[name]), name
    for collection in ("Muon", "Jet"):
        pt = events[f"{collection}_pt"]
        assert ak.all(pt[:, 1:] <= pt[:, :-1])
        assert ak.all(pt >= {"Muon": 3, "Jet": 15}[collection])


def test_indices_point_at_what_they_name(result: dict[str, Any]) -> None:
    events = read(result["outputs"])
    muons = events.GenPart_pdgId[events.Muon_genPartIdx]
    assert ak.all(abs(muons) == 13)
    assert ak.all(events.GenJet_hadronFlavour[events.Jet_genJetIdx] == events.Jet_hadronFlavour)
    for event in events:
        for slot in ("Jet_muonIdx1", "Jet_muonIdx2"):
            for jet, muon in enumerate(event[slot]):
                assert muon == -1 or event.Muon_jetIdx[muon] == jet
    assert ak.any(events.Muon_jetIdx >= 0)
    assert ak.all(events.Jet_electronIdx1 == -1)


@pytest.mark.parametrize(("chunksize", "block"), [(40, 1000), (77, 31)])
def test_events_are_bit_identical_for_any_chunk_size(
    run: Callable, flashsim: Callable, nano: Path, result: dict, chunksize: int, block: int
) -> None:
    whole = result
    parts = run(flashsim(config={"block_events": block}), nano, chunksize=chunksize)
    assert len(parts["outputs"]) > 1
    assert identical(read(whole["outputs"]), read(parts["outputs"]))
    for name, histogram in whole["hists"].items():
        assert np.allclose(
            histogram.values(flow=True), parts["hists"][name].values(flow=True), rtol=1e-12
        ), name
    for name, number in whole["counters"].items():
        if not name.startswith(("seconds.", "micro_batches.", "models.")):
            assert parts["counters"][name] == pytest.approx(number, rel=1e-12), name


def test_another_seed_gives_other_objects(
    run: Callable, flashsim: Callable, nano: Path, result: dict[str, Any]
) -> None:
    other = run(flashsim(seed=6), nano)
    assert not identical(read(result["outputs"]), read(other["outputs"]))


def test_nanogen_runs_with_drawn_pileup(run: Callable, flashsim: Callable, nanogen: Path) -> None:
    result = run(flashsim(), nanogen)
    events = read(result["outputs"])
    assert result["counters"]["events.pileup_drawn"] == 150
    assert len(np.unique(events.Pileup_nPU)) > 10
    assert events.Pileup_nPU.type.content.primitive == "int32"
    assert result["hists"]["Jet_pt"]["full", sum, :].sum().value == 0
    assert result["hists"]["Jet_pt"]["flash", sum, :].sum(flow=True).value > 0


def test_folds_follow_each_other_and_share_the_weight(
    run: Callable, flashsim: Callable, nano: Path, result: dict[str, Any]
) -> None:
    single = read(result["outputs"])
    three = run(flashsim(oversample=3), nano)
    events = read(three["outputs"])
    assert len(events) == 3 * len(single) == three["counters"]["events.written"]
    assert events.fold.tolist() == [0, 1, 2] * len(single)
    assert ak.all(events.event[::3] == events.event[2::3])
    np.testing.assert_allclose(events.genWeight * 3, np.repeat(single.genWeight, 3), rtol=1e-6)
    first = events[::3]
    for name in single.fields:
        if name.startswith(("Jet", "Muon", "GenPart")):
            assert ak.array_equal(first[name], single[name]), name
    assert not ak.array_equal(events.Jet_pt[1::3], single.Jet_pt)
    counters = three["counters"]
    assert counters["sum_genweight.written"] == pytest.approx(counters["sum_genweight.read"])


def test_no_events_give_the_full_structure(
    run: Callable, flashsim: Callable, tmp_path: Path, result: dict[str, Any]
) -> None:
    empty = run(flashsim(), write_toy(tmp_path / "empty.root", toy_content(0)))
    full = result
    assert set(empty["hists"]) == set(full["hists"])
    assert set(empty["counters"]) == set(full["counters"])
    (path,) = empty["outputs"]
    assert uproot.open(path)["Events"].num_entries == 0
    keys = set(uproot.open(path)["Events"].keys())
    assert keys == set(uproot.open(full["outputs"][0])["Events"].keys())


def test_parquet_holds_the_same_events(
    run: Callable, flashsim: Callable, nano: Path, result: dict[str, Any]
) -> None:
    parquet = run(flashsim(format="parquet"), nano)
    found = ak.from_parquet(parquet["outputs"][0])
    expected = read(result["outputs"])
    assert set(found.fields) == set(expected.fields)
    for name in found.fields:
        assert ak.array_equal(
            ak.drop_none(found[name]), expected[name], dtype_exact=False, check_parameters=False
        ), name


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_nanoevents_open_the_output(
    run: Callable, flashsim: Callable, nano: Path, result: dict[str, Any], kind: str
) -> None:
    expected = read(result["outputs"])
    if kind == "root":
        path = result["outputs"][0]
        factory = NanoEventsFactory.from_root({path: "Events"}, schemaclass=FlowNanoAODSchema)
    else:
        path = run(flashsim(format="parquet"), nano)["outputs"][0]
        factory = NanoEventsFactory.from_parquet(path, schemaclass=FlowNanoAODSchema)
    events = factory.events()
    for name in ("Jet_pt", "Muon_charge", "GenPart_pdgId"):
        collection, _, field = name.partition("_")
        assert ak.array_equal(
            events[collection][field], expected[name], dtype_exact=False, check_parameters=False
        ), name
    assert ak.array_equal(ak.num(events.Jet), expected.nJet, dtype_exact=False)
    matched = expected.GenJet_pt[expected.Jet_genJetIdx]
    assert events.Jet.matched_gen.pt.tolist() == matched.tolist()


def test_nothing_is_written_without_a_format(run: Callable, flashsim: Callable, nano: Path) -> None:
    result = run(flashsim(format="none"), nano)
    assert result["outputs"] == []
    assert result["counters"]["events.written"] == 0


def test_the_file_says_what_made_it(result: dict[str, Any], flashsim: Callable) -> None:
    (path,) = result["outputs"]
    assert Path(path).parts[-3:-1] == ("events", "toy")
    assert Path(path).name.endswith("_0-150.root")
    assert [p.name for p in Path(path).parent.iterdir()] == [Path(path).name]
    stored = json.loads(str(uproot.open(path)["flashbrew"]))
    assert stored["seed"] == 5
    assert set(stored["bundles"].values()) == set(flashsim().config.bundle_digests)
    assert uproot.open(path)["Runs"].arrays().run.tolist() == [1]


def test_only_the_first_chunk_carries_the_runs(
    run: Callable, flashsim: Callable, nano: Path
) -> None:
    result = run(flashsim(), nano, chunksize=50)
    first = [p for p in result["outputs"] if "Runs" in uproot.open(p).keys(cycle=False)]
    assert [Path(p).stem.rpartition("_")[2] for p in first] == ["0-50"]


def test_steps_without_entries_do_not_carry_the_runs_again(
    flashsim: Callable, open_events: Callable, nano: Path, result: dict[str, Any]
) -> None:
    processor, outputs, total = flashsim(), [], 0.0
    for start, stop in ((0, 0), (0, 100), (100, 150), (150, 150)):
        events = open_events(nano, start, stop)
        events.metadata.update(fileuuid="f", entrystart=start, entrystop=stop)
        part = processor.process(events)["toy"]
        outputs += part["outputs"]
        total += part["counters"].get("sum_genweight.input", 0.0)
    assert total == result["counters"]["sum_genweight.input"]
    carrying = [p for p in outputs if "Runs" in uproot.open(p).keys(cycle=False)]
    assert [Path(p).stem for p in carrying] == ["f_0-100"]


def test_a_file_without_entries_carries_its_runs(
    run: Callable, flashsim: Callable, tmp_path: Path
) -> None:
    empty = run(flashsim(), write_toy(tmp_path / "empty.root", toy_content(0)))
    assert "Runs" in uproot.open(empty["outputs"][0]).keys(cycle=False)


@pytest.mark.parametrize(
    ("branch", "counter"),
    [
        ("genWeight", "events.weight_missing"),
        ("luminosityBlock", "events.lumi_missing"),
        ("run", "events.run_missing"),
    ],
)
def test_a_constant_in_the_place_of_a_branch_is_counted(
    run: Callable, flashsim: Callable, tmp_path: Path, result: dict, branch: str, counter: str
) -> None:
    content = toy_content(30)
    weights = content["genWeight"]
    del content[branch]
    path = write_toy(tmp_path / "cut.root", content, weights)
    counters = run(flashsim(format="none"), path)["counters"]
    assert counters[counter] == 30
    assert result["counters"][counter] == 0


def test_events_that_occur_twice_are_counted_in_the_chunk_and_in_the_dataset(
    run: Callable, flashsim: Callable, tmp_path: Path
) -> None:
    content = toy_content(40)
    content["luminosityBlock"][:] = 1
    content["event"][30:] = content["event"][:10]
    path = write_toy(tmp_path / "twice.root", content)
    processor = flashsim(config={"histograms": False})
    whole, halves = run(processor, path), run(processor, path, chunksize=20)
    assert whole["counters"]["events.repeated_in_chunk"] == 10
    assert halves["counters"]["events.repeated_in_chunk"] == 0
    assert "events.repeated" not in halves["counters"]
    found = processor.finish({"toy": halves}, tmp_path)
    assert found["repeated_events"] == {"toy": 10}
    assert halves["counters"]["events.repeated"] == 10


def test_without_outputs_nobody_looked_for_repeated_events(
    run: Callable, flashsim: Callable, nano: Path, tmp_path: Path
) -> None:
    processor = flashsim(format="none", config={"histograms": False})
    done = run(processor, nano)
    assert processor.finish({"toy": done}, tmp_path)["repeated_events"] == {"toy": None}
    assert "events.repeated" not in done["counters"]


def test_without_histograms_nothing_is_filled_or_drawn(
    run: Callable, flashsim: Callable, nano: Path, tmp_path: Path, result: dict[str, Any]
) -> None:
    processor = flashsim(config={"histograms": False})
    done = run(processor, nano)
    assert done["hists"] == {}
    assert processor.finish({"toy": done}, tmp_path)["plots"] == []
    assert identical(read(done["outputs"]), read(result["outputs"]))


def test_one_object_alone_has_no_event_histograms(
    run: Callable, flashsim: Callable, nano: Path, bundles: dict[str, Path]
) -> None:
    hists = run(flashsim(bundles=[bundles["jet"]], format="none"), nano)["hists"]
    assert {name.partition("_")[0] for name in hists} == {"Jet"}


@pytest.mark.parametrize("folds", [1, 3])
def test_histograms_hold_the_weights_of_the_output(
    run: Callable, flashsim: Callable, nano: Path, folds: int
) -> None:
    """Whatever the oversampling, generated events count once; tolerance: genWeight is float32."""
    done = run(flashsim(oversample=folds), nano)
    events, hists = read(done["outputs"]), done["hists"]
    weights = ak.to_numpy(events.genWeight).astype(np.float64)
    total = done["counters"]["sum_genweight.read"]
    flash = hists["event_nJet"]["flash", :].sum(flow=True)
    assert flash.value == pytest.approx(total, rel=1e-6)
    assert flash.variance == pytest.approx((weights**2).sum(), rel=1e-6)
    for collection in ("Jet", "Muon"):
        number = ak.to_numpy(events[f"n{collection}"])
        found = hists[f"{collection}_pt"]["flash", sum, :].sum(flow=True)
        assert found.value == pytest.approx((weights * number).sum(), rel=1e-6)
        assert found.variance == pytest.approx((weights**2 * number).sum(), rel=1e-6)


def test_it_travels_light_and_keeps_its_configuration(flashsim: Callable) -> None:
    processor = flashsim(oversample=2)
    packed = pickle.dumps(processor)
    assert len(packed) < 4096
    assert pickle.loads(packed).config == processor.config
    assert FlashSimConfig.from_yaml(processor.config.to_yaml()) == processor.config


def test_bad_options_are_refused_with_a_reason(
    flashsim: Callable, bundles: dict[str, Path]
) -> None:
    with pytest.raises(ConfigurationError, match=r"blok_events.*Known keys.*block_events"):
        flashsim(config={"blok_events": 3})
    with pytest.raises(ConfigurationError, match="no bundle has digest abc"):
        flashsim(bundle_digests=["abc"])
    with pytest.raises(ConfigurationError, match="one per object"):
        flashsim(bundles=[bundles["jet"], bundles["jet"]])
    with pytest.raises(ConfigurationError, match=r"seed.*command line"):
        flashsim(config={"seed": 3})


def test_collision_data_are_refused(
    open_events: Callable, flashsim: Callable, real_data: Path
) -> None:
    events = open_events(real_data / "nano" / "nano_EGammaF_data_100.root")
    with pytest.raises(NotSimulationError, match="collision data"):
        flashsim().process(events)


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_simulated(
    run: Callable, flashsim: Callable, real_data: Path, name: str
) -> None:
    path = real_data / "nano" / name
    result = run(flashsim(), path)
    counters = result["counters"]
    events = read(result["outputs"])
    source = uproot.open(path)["Events"]
    last = source["GenPart_statusFlags"].array() >> 13 & 1
    muons = (abs(source["GenPart_pdgId"].array()) == 13) & (last == 1)
    assert counters["objects.Muon.in"] == ak.sum(muons)
    assert counters["objects.Jet.in"] == ak.sum(source["nGenJet"].array())
    assert len(events) == counters["events.read"] == source.num_entries
    assert ak.count(events.Jet_pt) == counters["objects.Jet.out"]


def test_default_bundles_are_per_object() -> None:
    assert [p.name for p in FlashSim.default_bundles()] == ["muon", "jet"]


def test_a_condition_that_is_not_a_number_costs_one_object(
    run: Callable, flashsim: Callable, tmp_path: Path
) -> None:
    content = toy_content(30)
    content["GenJet"].columns["mass"][4] = np.nan
    result = run(flashsim(), write_toy(tmp_path / "nan.root", content))
    assert result["counters"]["objects.Jet.nonfinite"] == 1
    assert result["counters"]["objects.Jet.nonfinite_conditions"] == 1
    assert np.isfinite(ak.to_numpy(ak.flatten(read(result["outputs"]).Jet_pt))).all()


@pytest.mark.parametrize(
    ("name", "events"), [("nano_dy_rntuple.root", 40), ("missing_luminosityBlock.root", 2)]
)
def test_odd_files_are_simulated(
    run: Callable, flashsim: Callable, real_data: Path, name: str, events: int
) -> None:
    result = run(flashsim(), real_data / "edge" / name)
    assert result["counters"]["events.written"] == events
    assert len(read(result["outputs"])) == events


def test_datasets_of_similar_names_keep_their_files_apart(
    flashsim: Callable, open_events: Callable, nano: Path
) -> None:
    processor = flashsim()
    outputs = []
    for name in ("a=b", "a_b", "a/b"):
        events = open_events(nano, 0, 20)
        events.metadata.update(dataset=name, fileuuid="f", entrystart=0, entrystop=20)
        outputs += processor.process(events)[name]["outputs"]
    assert len({Path(path).resolve() for path in outputs}) == len(outputs) == 3
    assert all(uproot.open(path)["Events"].num_entries == 20 for path in outputs)
    assert len({Path(path).parent.parent for path in outputs}) == 1
