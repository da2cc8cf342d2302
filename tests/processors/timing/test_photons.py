"""Photons of a bar as training tables."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np
import pytest
import torch

from executors.inputs.fileset import DEFAULT_TREE
from executors.inputs.fileset_json import parse_fileset
from processors.errors import ConfigurationError, InputError, MissingBranchError
from processors.tablefile import read_npz, write_npz
from processors.timing.config import BarConfig, PhotonsConfig, TimingConfig
from processors.timing.photons import CUTS, Photons
from processors.timing.schema import DetectorSchema
from processors.timing.tables import PhotonTable, load_photons, save_photons
from processors.timing.tensors import load_tensor, load_tensors
from samples.timing import edm4hep
from samples.timing.production import batch
from tests.processors.timing.conftest import EVENTS, REQUEST, single, write


def rows_of(result):
    return load_photons(result["outputs"])


def by_muon(table):
    """Rows in an order that does not depend on chunks; photons per row, sorted."""
    order = np.lexsort((table.theta, table.z, table.muon))
    rows = {name: getattr(table, name)[order] for name in PhotonTable._fields[:-1]}
    times = np.split(table.time, np.cumsum(table.kept)[:-1])
    return rows, [np.sort(times[row]) for row in order]


def test_rows_are_the_truth_of_the_sample(bars, run_bars, tmp_path):
    config = PhotonsConfig(output=str(tmp_path), lever_arm=6.0, most_photons=10**6, decay_time=1.8)
    result = run_bars(Photons(config), bars)
    definitions, table = rows_of(result)
    truth, bar = batch(REQUEST, 0), REQUEST.bar
    z = truth.muons.z + 6.0 / np.tan(truth.muons.theta)
    theta = np.degrees(truth.muons.theta)
    muons = np.flatnonzero((z >= bar.low) & (z <= bar.high))
    number = np.bincount(
        2 * truth.tracks.muon[truth.photons.crossing] + truth.photons.sensor - 1,
        minlength=2 * EVENTS,
    ).reshape(-1, 2)
    energy = np.bincount(truth.tracks.muon, truth.tracks.energy, minlength=EVENTS)
    for end in (0, 1):
        expected = {
            "z": z if end else bar.low + bar.high - z,
            "theta": theta if end else 180 - theta,
            "p": truth.muons.momentum,
            "energy": energy,
            "number": number[:, end],
            "kept": number[:, end],
        }
        for name, values in expected.items():
            found = getattr(table, name)[end::2]
            # stored as float32: 2^-24 of the largest z
            assert found == pytest.approx(values[muons], rel=1e-6, abs=1e-4), name
    times = truth.photons.time - truth.tracks.time[truth.photons.crossing]
    inside = np.isin(truth.tracks.muon[truth.photons.crossing], muons)
    assert np.sort(table.time) == pytest.approx(np.sort(times[inside]), abs=1e-4)
    assert len(np.unique(table.muon)) == len(muons)
    assert definitions["lever_arm_mm"] == 6.0
    assert definitions["decay_time_ns"] == 1.8
    counters = result["counters"]
    cut = sum(counters[f"events.cut.{name}"] for name in CUTS)
    assert counters["events.read"] == EVENTS == counters["events.written"] + cut
    assert counters["photons.out"] == len(table.time) == table.number.sum()
    assert counters["photons.thinned"] == 0


def test_the_lever_arm_moves_grazing_muons_alone(bars, run_bars, tmp_path):
    tables = {}
    for arm in (1.0, 6.0):
        config = PhotonsConfig(output=str(tmp_path / str(arm)), lever_arm=arm)
        tables[arm] = rows_of(run_bars(Photons(config), bars))[1]
    near, far = (
        tables[arm].take(np.isin(tables[arm].muon, tables[7.0 - arm].muon)) for arm in (1.0, 6.0)
    )
    slope = 5.0 / np.tan(np.radians(near.theta))
    assert far.z - near.z == pytest.approx(slope, abs=1e-3)  # float32 of some hundred mm


def test_chunks_and_blocks_change_nothing(bars, run_bars, tmp_path):
    tables = []
    for number, (chunk, block) in enumerate(((100, 100), (32, 7))):
        config = PhotonsConfig(output=str(tmp_path / str(number)), block_events=block)
        tables.append(by_muon(rows_of(run_bars(Photons(config), bars, chunksize=chunk))[1]))
    for name, values in tables[0][0].items():
        assert np.array_equal(values, tables[1][0][name]), name
    for first, second in zip(tables[0][1], tables[1][1], strict=True):
        assert np.array_equal(first, second)


def test_thinned_photons_are_spread_over_all_and_counted(bars, run_bars, tmp_path):
    whole, few = (
        run_bars(Photons(PhotonsConfig(output=str(tmp_path / str(most)), most_photons=most)), bars)
        for most in (10**6, 20)
    )
    every, some = rows_of(whole)[1], rows_of(few)[1]
    assert np.array_equal(some.number, every.number)
    assert np.array_equal(some.kept, np.minimum(every.number, 20))
    thinned = whole["counters"]["photons.out"] - few["counters"]["photons.out"]
    assert few["counters"]["photons.thinned"] == thinned > 0
    rows, left = (np.split(t.time, np.cumsum(t.kept)[:-1]) for t in (every, some))
    for before, after in zip(rows, left, strict=True):
        places = np.searchsorted(np.sort(before), np.sort(after))
        assert np.array_equal(np.sort(before)[places], np.sort(after))
    many = int(np.argmax(every.kept))
    steps = np.diff([np.flatnonzero(rows[many] == time)[0] for time in left[many]])
    assert steps.max() - steps.min() <= 1


def test_files_without_energies_say_so(run_bars, tmp_path):
    content = single()
    hits = content["HcalBarrelHits"]
    photons = ak.local_index(hits["EDep"]) >= 1  # the muon's deposit is the first hit
    for name in ("HcalBarrelHits", "_HcalBarrelHits_MCParticle"):
        content[name] = content[name][photons]
    path = write(tmp_path / "dark.root", content)
    table = rows_of(run_bars(Photons(PhotonsConfig(output=str(tmp_path / "out"))), path))[1]
    assert len(table.number) > 0
    assert np.isnan(table.energy).all()


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
        ({"vertex.x": 1300.0}, "hit_time"),
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


def test_photons_that_are_no_numbers_are_not_late(run_bars, tmp_path):
    content = single()
    hits = content["HcalBarrelHits"]
    time = ak.where(ak.local_index(hits["EDep"]) == 3, np.nan, hits["time"])
    content["HcalBarrelHits"] = ak.with_field(hits, ak.values_astype(time, np.float32), "time")
    counters = run_bars(Photons(), write(tmp_path / "nan.root", content))["counters"]
    assert counters["photons.not_finite"] == counters["events.written"] > 0
    assert counters["photons.too_late"] == 0


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
        TimingConfig.from_mapping({"bar_fields": ["end"]})


@pytest.mark.parametrize("config", [PhotonsConfig, TimingConfig])
def test_numbers_of_a_configuration_are_finite(config):
    for name, field in config.model_fields.items():
        if field.annotation in (float, float | None):
            for value in (math.nan, math.inf, -math.inf):
                with pytest.raises(ConfigurationError, match=f"{name}: Input should be"):
                    config.from_mapping({name: value})


@pytest.mark.parametrize(
    ("config", "foreign"), [(PhotonsConfig, "cell"), (TimingConfig, "entrance")]
)
def test_keys_without_effect_are_none(config, foreign):
    with pytest.raises(ConfigurationError, match=f"{foreign}: Extra inputs are not permitted"):
        config.from_mapping({foreign: 1})


def test_the_seeds_tensors_are_read_in_their_order_alone(real_data):
    folder = real_data / "timing"
    for name, photons in (
        ("vary_1file_1000events_file0.pt", 29_486),
        ("test_1file_10events.pt", 1_097),
    ):
        table = load_tensor(folder / name, "2024-07")
        assert len(table.time) == photons == table.number.sum()
        assert np.all(table.p == 5.0)
        assert table.time.min() > 5
        assert np.isnan(table.energy).all()
        with pytest.raises(InputError, match="orders that can: 2024-07"):
            load_tensor(folder / name, "2024-08")


def test_tensors_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    for content, complaint in (
        (torch.zeros(3, 4), r"holds \(3, 4\), not \(photons, 5\)"),
        (torch.zeros(0, 5), r"holds \(0, 5\), not \(photons, 5\) with one photon at least"),
        (torch.tensor(1.0), r"holds \(\), not"),
        (torch.ones(3, 5).to_sparse(), "holds a tensor that is sparse_coo; save it dense"),
        (torch.ones(3, 5).to(torch.complex64), "holds a tensor that is complex; save it dense"),
        ({"a": torch.zeros(1)}, "holds dict, no tensor"),
        (torch.full((3, 5), torch.nan), "not finite"),
        (torch.full((3, 5), -1.0), "orders that can: none"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=complaint):
            load_tensor(path, "2024-08")
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be read as a tensor"):
        load_tensor(path, "2024-08")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.int64])
def test_tensors_of_any_real_kind_are_read_parameters_too(kind, tmp_path):
    path, numbers = tmp_path / "a.pt", torch.ones(3, 5).to(kind)
    for values in (numbers, torch.nn.Parameter(numbers, requires_grad=numbers.is_floating_point())):
        torch.save(values, path)
        assert load_tensor(path, "2024-08").kept.tolist() == [3]


def test_tensors_do_not_say_what_they_hold(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(torch.full((3, 5), 0.5), path)
    for order, arm in ((None, 1.0), ("2024-07", None)):
        with pytest.raises(InputError, match="says neither the order"):
            load_tensors([path], order, arm)
    definitions, table = load_tensors([path], "2024-08", 1.0)
    assert definitions["lever_arm_mm"] == 1.0
    assert table.kept.tolist() == [3]


def test_tables_that_do_not_belong_together_are_refused(bars, run_bars, tmp_path):
    config = PhotonsConfig(output=str(tmp_path / "out"))
    definitions, table = rows_of(run_bars(Photons(config), bars))
    first, other = tmp_path / "a.npz", tmp_path / "b.npz"
    save_photons(first, definitions, table)
    save_photons(other, definitions | {"lever_arm_mm": 6.0}, table)
    with pytest.raises(ValueError, match=r"b\.npz defines photons otherwise"):
        load_photons([other, first])
    np.savez(other, header=np.frombuffer(b"{}", dtype=np.uint8), z=np.zeros(1))
    with pytest.raises(ValueError, match="is not a table of photons of version 2"):
        load_photons([other])
    header, arrays = read_npz(first)
    write_npz(other, header | {"version": 1}, arrays)
    with pytest.raises(ValueError, match="is not a table of photons of version 2"):
        load_photons([other])
    other.write_bytes(b"junk")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        load_photons([other])
    with pytest.raises(ValueError, match="extract them first"):
        load_photons([])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: {"theta": t.theta[:-3]}, "not one length"),
        (lambda t: {"kept": t.kept + 1}, "kept says"),
        (lambda t: {"number": t.kept - 1}, "rows keep more photons than the sensor saw"),
        (lambda t: {"kept": t.kept.astype(float)}, "not whole"),
        (lambda t: {"time": t.time[:, None]}, "times of shape"),
        (lambda t: {"z": np.where(t.z > 0, np.inf, t.z)}, "z hold values that are not finite"),
        (lambda t: {"time": np.full_like(t.time, np.nan)}, "time hold values that are not finite"),
    ],
)
def test_tables_that_do_not_hold_together_are_refused(change, complaint, bars, run_bars, tmp_path):
    config = PhotonsConfig(output=str(tmp_path / "out"))
    definitions, table = rows_of(run_bars(Photons(config), bars))
    save_photons(tmp_path / "bad.npz", definitions, table._replace(**change(table)))
    with pytest.raises(ValueError, match=rf"bad\.npz is no sound table: .*{complaint}"):
        load_photons([tmp_path / "bad.npz"])


@pytest.mark.parametrize("change", [{"gap_mm": None}, {"bar_low_mm": np.nan}, {"gap_mm": "1"}])
def test_tables_must_say_what_their_numbers_mean(change, bars, run_bars, tmp_path):
    config = PhotonsConfig(output=str(tmp_path / "out"))
    definitions, table = rows_of(run_bars(Photons(config), bars))
    for said in ({}, definitions | change):
        save_photons(tmp_path / "bad.npz", said, table)
        with pytest.raises(ValueError, match="its definitions need finite numbers, found"):
            load_photons([tmp_path / "bad.npz"])


def test_photons_that_would_count_twice_are_refused(bars, run_bars, tmp_path):
    config = PhotonsConfig(output=str(tmp_path / "out"))
    definitions, table = rows_of(run_bars(Photons(config), bars))
    some = np.isin(table.muon, np.unique(table.muon)[:10])
    first, other = tmp_path / "a.npz", tmp_path / "b.npz"
    save_photons(first, definitions, table.take(some))
    save_photons(other, definitions, table.take(~some))
    assert len(load_photons([first, other])[1].time) == len(table.time)
    with pytest.raises(ValueError, match=r"a\.npz is named 2 times"):
        load_photons([first, other, first])
    save_photons(other, definitions, table)
    with pytest.raises(ValueError, match=r"b\.npz holds muons that are in .*a\.npz too, 10 are in"):
        load_photons([first, other])


def test_copies_of_a_tensor_are_refused_muons_at_fixed_momentum_are_not(tmp_path):
    names = [tmp_path / f"{name}.pt" for name in "ab"]
    for path, time in zip(names, (0.6, 0.7), strict=True):
        table = torch.full((3, 5), 0.5)
        table[:, 4] = time
        torch.save(table, path)
    _, table = load_tensors(names, "2024-08", 1.0)
    assert table.kept.tolist() == [3, 3]
    torch.save(torch.load(names[0]), names[1])
    with pytest.raises(InputError, match=r"b\.pt holds the photons of .*a\.pt"):
        load_tensors(names, "2024-08", 1.0)
