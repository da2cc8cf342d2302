"""Photons of a bar as training tables."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import torch

from executors.fileset import DEFAULT_TREE
from executors.fileset_json import parse_fileset
from processors.errors import ConfigurationError, InputError, MissingBranchError
from processors.timing.config import BarConfig, PhotonsConfig
from processors.timing.schema import DetectorSchema
from processors.timing.tables import CUTS, Photons, load_photons
from processors.timing.tensors import load_tensor
from samples.timing import edm4hep
from samples.timing.production import batch
from tests.processors.timing.conftest import EVENTS, REQUEST, single, write


def rows_of(result):
    return load_photons(result["outputs"])


def test_rows_are_the_truth_of_the_sample(bars, run_bars, tmp_path):
    result = run_bars(Photons(PhotonsConfig(output=str(tmp_path), lever_arm=6.0)), bars)
    header, rows = rows_of(result)
    truth = batch(REQUEST, 0)
    muon = truth.tracks.muon[truth.photons.crossing]
    high = truth.photons.sensor == 2
    z = truth.muons.z[muon] + 6.0 / np.tan(truth.muons.theta[muon])
    theta = np.degrees(truth.muons.theta[muon])
    bar = REQUEST.bar
    kept = (z >= bar.low) & (z <= bar.high)
    expected = {
        "z": np.where(high, z, bar.low + bar.high - z),
        "theta": np.where(high, theta, 180 - theta),
        "p": truth.muons.momentum[muon],
        "time": truth.photons.time - truth.tracks.time[truth.photons.crossing],
    }
    for name, values in expected.items():
        # stored as float32: 2^-24 of the largest z; times are differences of such
        assert rows[name] == pytest.approx(values[kept], rel=1e-6, abs=1e-4), name
    assert len(np.unique(rows["muon"])) == len(np.unique(muon[kept]))
    assert header["definitions"]["lever_arm_mm"] == 6.0
    assert header["units"]["theta"] == "deg"
    counters = result["counters"]
    cut = sum(counters[f"events.cut.{name}"] for name in CUTS)
    assert counters["events.read"] == EVENTS == counters["events.written"] + cut
    assert counters["photons.out"] == len(rows["z"])


def test_the_lever_arm_moves_grazing_muons_alone(bars, run_bars, tmp_path):
    tables = {}
    for arm in (1.0, 6.0):
        config = PhotonsConfig(output=str(tmp_path / str(arm)), lever_arm=arm)
        tables[arm] = rows_of(run_bars(Photons(config), bars))[1]
    shared = np.isin(tables[1.0]["muon"], tables[6.0]["muon"])
    other = np.isin(tables[6.0]["muon"], tables[1.0]["muon"])
    moved = tables[6.0]["z"][other] - tables[1.0]["z"][shared]
    slope = 5.0 / np.tan(np.radians(tables[1.0]["theta"][shared]))
    assert moved == pytest.approx(slope, abs=1e-3)  # float32 of some hundred mm


def test_chunks_and_blocks_change_nothing(bars, run_bars, tmp_path):
    tables = []
    for number, (chunk, block) in enumerate(((100, 100), (32, 7))):
        config = PhotonsConfig(output=str(tmp_path / str(number)), block_events=block)
        result = run_bars(Photons(config), bars, chunksize=chunk)
        rows = rows_of(result)[1]
        tables.append(
            {name: values[np.lexsort(tuple(rows.values()))] for name, values in rows.items()}
        )
    for name, values in tables[0].items():
        assert np.array_equal(values, tables[1][name]), name


def spoiled(change):
    """Collections of the sample after ``change`` edited the particles of event 3."""
    content = single()
    particles = content["MCParticles"]
    fields = {name: particles[name] for name in particles.fields}
    mine = ak.local_index(fields["PDG"], axis=0) == 3
    first = (ak.local_index(fields["PDG"]) == 0) & mine
    for name, value in change.items():
        fields[name] = ak.values_astype(
            ak.where(first, value, fields[name]), ak.type(fields[name]).content.content.primitive
        )
    content["MCParticles"] = ak.zip(fields)
    return content


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        ({"momentum.x": np.nan}, "not_finite"),
        ({"vertex.z": 2000.0}, "z"),
        ({"vertex.x": 1780.0}, "hit_time"),
        ({"vertex.x": 1700.0}, "hit_time"),
        ({"momentum.x": 50.0}, "momentum"),
    ],
)
def test_bad_muons_are_cut_and_counted(change, cut, run_bars, tmp_path):
    path = write(tmp_path / "bad.root", spoiled(change))
    whole = run_bars(Photons(), write(tmp_path / "good.root", single()))["counters"]
    counters = run_bars(Photons(), path)["counters"]
    assert counters[f"events.cut.{cut}"] == whole[f"events.cut.{cut}"] + 1
    assert counters["events.written"] == whole["events.written"] - 1
    assert counters["photons.out"] < whole["photons.out"]


def test_events_without_particles_photons_or_with_two_muons_are_counted(run_bars, tmp_path):
    content = single()
    particles, hits = content["MCParticles"], content["HcalBarrelHits"]
    event = ak.local_index(particles["PDG"], axis=0)
    place = ak.local_index(particles["PDG"])
    fields = {name: particles[name] for name in particles.fields}
    status = ak.where((event == 2) & (place == 1), 1, fields["generatorStatus"])
    fields["generatorStatus"] = ak.values_astype(status, np.int32)
    content["MCParticles"] = ak.zip(fields)[(event != 0) & (place >= 0)]
    lit = (ak.local_index(hits["EDep"], axis=0) != 1) | (hits["EDep"] > 1e-6)
    for name in ("HcalBarrelHits", "_HcalBarrelHits_MCParticle"):
        content[name] = content[name][lit]
    counters = run_bars(Photons(), write(tmp_path / "odd.root", content))["counters"]
    for name in ("without_particles", "without_photons", "several_particles"):
        assert counters[f"events.cut.{name}"] == 1, name
    assert counters["hits.without_particle"] > 0


def test_missing_branches_are_named(run_bars, open_bars, bars):
    with pytest.raises(Exception, match=r"branches Other\.cellID") as caught:
        run_bars(Photons(PhotonsConfig(hits="Other")), bars)
    chain = caught.value
    while chain.__cause__ is not None:
        chain = chain.__cause__
    assert isinstance(chain, MissingBranchError)
    assert "collections of hits there: HcalBarrelHits" in str(chain)


def test_names_of_podio_and_of_newer_files_are_understood():
    form = {"class": "ListOffsetArray"}
    base = {
        "fields": ["EventHeader", "HcalBarrelHits/HcalBarrelHits.eDep", "a.b"],
        "contents": [form, form, form],
        "parameters": {},
    }
    assert DetectorSchema(base).form["fields"] == ["EventHeader", "HcalBarrelHits.eDep", "a.b"]


def test_newer_names_give_the_same_rows(bars, run_bars, tmp_path, monkeypatch):
    content = single()
    hits = content["HcalBarrelHits"]
    content["HcalBarrelHits"] = ak.zip(
        {name.replace("EDep", "eDep"): hits[name] for name in hits.fields}
    )
    content["_HcalBarrelHits_particle"] = content.pop("_HcalBarrelHits_MCParticle")
    branches = dict(edm4hep.BRANCHES)
    branches["_HcalBarrelHits_particle"] = branches.pop("_HcalBarrelHits_MCParticle")
    renamed = branches["HcalBarrelHits"]
    branches["HcalBarrelHits"] = {n.replace("EDep", "eDep"): k for n, k in renamed.items()}
    monkeypatch.setattr(edm4hep, "BRANCHES", branches)
    counters = run_bars(Photons(), write(tmp_path / "new.root", content))["counters"]
    before = run_bars(Photons(), bars)["counters"]
    assert {k: v for k, v in counters.items() if not k.startswith("seconds")} == {
        k: v for k, v in before.items() if not k.startswith("seconds")
    }


def test_links_of_another_number_than_hits_are_refused(run_bars, tmp_path):
    content = single()
    content["_HcalBarrelHits_MCParticle"] = content["_HcalBarrelHits_MCParticle"][:, 1:]
    with pytest.raises(Exception, match="one entry per hit") as caught:
        run_bars(Photons(), write(tmp_path / "broken.root", content))
    assert "broken.root:events" in str(caught.value) + str(caught.value.__cause__)


def test_files_need_not_name_their_tree():
    named = parse_fileset({"a": ["x.root"], "b": {"files": {"y.root": "mine"}}}, tree="events")
    assert [entry.tree for entry in named] == ["events", "mine"]
    assert parse_fileset({"a": ["x.root"]})[0].tree == DEFAULT_TREE == "Events"
    assert Photons.tree == "events"


def test_bars_that_end_before_they_begin_are_refused():
    with pytest.raises(ConfigurationError, match=r"bar_low 900\.0 must lie below bar_high"):
        BarConfig.from_mapping({"bar_low": 900})
    with pytest.raises(ConfigurationError, match="no field 'end'"):
        BarConfig.from_mapping({"bar_fields": ["end"]})


def test_the_seeds_tensors_are_read_in_their_order_alone(real_data):
    folder = real_data / "timing"
    for name, photons in (
        ("vary_1file_1000events_file0.pt", 29_486),
        ("test_1file_10events.pt", 1_097),
    ):
        columns = load_tensor(folder / name, "2024-07")
        assert len(columns["time"]) == photons
        assert np.all(columns["p"] == 5.0)
        assert columns["time"].min() > 5
        with pytest.raises(InputError, match="orders that can: 2024-07"):
            load_tensor(folder / name, "2024-08")


def test_tensors_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    for content, complaint in (
        (torch.zeros(3, 4), r"holds \(3, 4\), not \(photons, 5\)"),
        ({"a": torch.zeros(1)}, "holds dict"),
        (torch.full((3, 5), torch.nan), "not finite"),
        (torch.full((3, 5), -1.0), "orders that can: none"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=complaint):
            load_tensor(path, "2024-08")
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be read as a tensor"):
        load_tensor(path, "2024-08")
