"""A row per bar: signals of both ends, what was in it, work_eic's table, histograms."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from processors.errors import ConfigurationError, InputError
from processors.timing.bar_columns import BAR_COLUMNS
from processors.timing.bar_table import read_bars, work_eic_rows
from processors.timing.config import TimingConfig
from processors.timing.output import read_times
from processors.timing.waveform import Readout, read_out
from samples.timing.production import batch
from tests.processors.timing.conftest import STACK, single, write

FIELDS = ("system", "stave", "layer", "segment")
ENDS = (("Low", 0), ("High", 1))


@pytest.fixture(scope="module")
def stacked(stack, timing, run_bars):
    """The processor's result over the stack of bars."""
    return run_bars(timing(), stack)


@pytest.fixture(scope="module")
def bars(stacked):
    """Its rows."""
    return read_bars(stacked["outputs"][0])


def test_every_column_is_described(bars):
    assert set(bars) == set(BAR_COLUMNS) | set(FIELDS)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["system", "layer", "layer"], r"bar_fields .* repeats layer; name each field once"),
        ([], "bar_fields is empty: all bars would be one; name the fields"),
        (["system", "x", "energy"], "bar_fields names x, energy, which a row .* another name"),
        (["system", "event_idx"], "bar_fields names event_idx"),
        (["system", "side"], "cell ids have no field 'side'"),
    ],
)
def test_fields_that_tell_no_bar_are_refused(names, complaint):
    cell = "system:8,stave:4,layer:6,segment:4,x:8,energy:4,event_idx:3"
    with pytest.raises(ConfigurationError, match=complaint):
        TimingConfig.from_mapping({"cell": cell, "bar_fields": names})


def test_signals_are_those_of_the_photons_in_the_file(stacked, bars):
    times = ak.flatten(read_times(stacked["outputs"][0]))
    lit = 0
    for end, number in ENDS:
        mine = times[:, number]
        counts = ak.to_numpy(ak.num(mine))
        assert np.array_equal(counts, bars[f"n{end}"])
        expected = read_out(ak.to_numpy(ak.flatten(mine)), counts, Readout())
        for name, values in (
            ("charge", expected.charge),
            ("time", expected.fraction),
            ("edge", expected.edge),
        ):
            assert np.array_equal(bars[f"{name}{end}"], values.astype(np.float32), equal_nan=True)
        lit += np.isfinite(expected.edge).sum()
    assert 0.9 * 2 * len(bars["cell"]) < lit
    counters = stacked["counters"]
    assert counters["objects.Sensor.in"] == 2 * len(bars["cell"])
    dark = sum(int((bars[f"n{end}"] == 0).sum()) for end, _ in ENDS)
    assert counters["objects.Sensor.without_photons"] == dark
    below = counters["objects.Sensor.below_threshold"]
    assert counters["objects.Sensor.out"] == lit
    assert below == counters["objects.Sensor.in"] - dark - lit


def test_thresholds_are_those_of_the_configuration(stack, bars, timing, run_bars):
    result = run_bars(timing({"threshold": 20.0, "fraction": 0.6, "pulse_fall": 5.0}), stack)
    assert result["counters"]["objects.Sensor.below_threshold"] > 0
    other = read_bars(result["outputs"][0])
    both = np.isfinite(other["timeHigh"])
    assert 0 < both.sum() < np.isfinite(bars["timeHigh"]).sum()
    assert np.all(other["timeHigh"][both] > bars["timeHigh"][both])
    assert np.all(other["edgeHigh"][both] > bars["edgeHigh"][both])
    assert np.all(other["chargeHigh"][both] < bars["chargeHigh"][both])


def test_rows_are_bit_identical_for_any_chunks_blocks_and_format(stack, bars, timing, run_bars):
    again = run_bars(timing({"block_events": 7}, format="parquet"), stack, chunksize=31)
    ordered = sorted(again["outputs"], key=lambda path: int(path.rpartition("_")[2].split("-")[0]))
    parts = [read_bars(path) for path in ordered]
    assert len(parts) == 3
    assert set(parts[0]) == set(bars)
    for name in set(bars) - {"event_idx"}:
        joined = np.concatenate([part[name] for part in parts])
        assert joined.dtype == bars[name].dtype, name
        assert joined.tobytes() == bars[name].tobytes(), name


def test_copies_of_an_event_have_rows_of_their_own(stack, bars, timing, run_bars):
    thrice = read_bars(run_bars(timing(oversample=3), stack)["outputs"][0])
    first = thrice["event_idx"] % 3 == 0
    for name in set(bars) - {"event_idx"}:
        assert thrice[name][first].tobytes() == bars[name].tobytes(), name
    for copy in (1, 2):
        mine = thrice["event_idx"] % 3 == copy
        assert np.array_equal(thrice["originP"][mine], bars["originP"], equal_nan=True)
        assert not np.array_equal(thrice["chargeLow"][mine], bars["chargeLow"])


def test_bars_say_what_was_in_them(bars):
    truth = batch(STACK, 0)
    tracks, muons = truth.tracks, truth.muons
    key = muons.event[tracks.muon] * 8 + tracks.layer
    order = np.lexsort((tracks.time, key))
    _, starts, number = np.unique(key[order], return_index=True, return_counts=True)
    first = order[starts]
    assert np.array_equal(bars["event_idx"] * 8 + bars["layer"], key[first])
    assert bars["z"] == pytest.approx(tracks.z[first], rel=1e-6)  # float32
    assert np.all(bars["pdgId"] == 13)
    alone = number == 1
    assert 0 < alone.sum() < len(alone)
    assert np.all((bars["originIdx"] >= 0) == alone)
    assert np.all(np.isnan(bars["originP"]) == ~alone)
    muon = tracks.muon[first][alone]
    # float32
    assert bars["originP"][alone] == pytest.approx(muons.momentum[muon], rel=1e-6)
    assert bars["originTheta"][alone] == pytest.approx(np.degrees(muons.theta[muon]), rel=1e-6)
    assert np.all(bars["originPdgId"] == np.where(alone, 13, 0))


def test_a_secondary_belongs_to_the_generated_particle(run_bars, timing, tmp_path):
    content = single()
    particles = content["MCParticles"]
    # the muon of each event is made the child of a generated copy of itself at its end
    last = ak.num(particles) - 1
    head = ak.local_index(particles["PDG"]) == 0
    status = ak.where(head, 0, particles["generatorStatus"])
    status = ak.where(ak.local_index(particles["PDG"]) == last, 1, status)
    number = ak.num(content["_MCParticles_parents"]["index"])
    content["_MCParticles_parents"] = ak.zip(
        {
            "index": ak.concatenate(
                [content["_MCParticles_parents"]["index"], last[:, np.newaxis]], axis=1
            )
        }
    )
    begin = ak.where(head, number[:, np.newaxis], particles["parents_begin"])
    end = ak.where(head, number[:, np.newaxis] + 1, particles["parents_end"])
    changed = {name: particles[name] for name in particles.fields}
    changed |= {"generatorStatus": status, "parents_begin": begin, "parents_end": end}
    content["MCParticles"] = ak.zip(changed)
    for name, kind in (("generatorStatus", np.int32), ("parents_begin", np.uint32)):
        content["MCParticles"][name] = ak.values_astype(content["MCParticles"][name], kind)
    content["MCParticles"]["parents_end"] = ak.values_astype(
        content["MCParticles"]["parents_end"], np.uint32
    )
    path = write(tmp_path / "secondary.root", content)
    bars = read_bars(run_bars(timing({"histograms": False}), path)["outputs"][0])
    assert np.array_equal(bars["originIdx"], ak.to_numpy(last)[bars["event_idx"]])
    assert np.all(bars["originPdgId"] == -22)


def test_the_seeds_table_has_its_names_units_and_selection(stacked, bars):
    table = work_eic_rows(stacked["outputs"][0])
    lit = np.isfinite(bars["timeLow"]) | np.isfinite(bars["timeHigh"])
    kept = lit & (bars["originIdx"] >= 0)
    assert 0 < kept.sum() < len(kept)
    assert np.array_equal(table["event_idx"], bars["event_idx"][kept])
    assert np.array_equal(table["layer_idx"], bars["layer"][kept])
    for number, end in ((0, "High"), (1, "Low")):
        times = bars[f"time{end}"][kept]
        high = np.isfinite(times)
        assert table[f"Time{number}"][high] == pytest.approx(times[high] / 10.0, rel=1e-6)
        charge = bars[f"charge{end}"][kept]
        assert table[f"Charge{number}"][high] == pytest.approx(charge[high] / 1000.0, rel=1e-6)
        assert not table[f"Time{number}"][~high].any()
        assert not table[f"Charge{number}"][~high].any()
    pairs = list(zip(table["event_idx"], bars["originIdx"][kept], strict=True))
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    assert table["trueID"].tolist() == [numbers[pair] for pair in pairs]
    for row in range(len(kept)):
        same = bars["event_idx"] == bars["event_idx"][row]
        earliest = np.nanmin([bars["timeLow"][same & lit], bars["timeHigh"][same & lit]])
        mine = table["event_idx"] == bars["event_idx"][row]
        assert table["first_hit_time"][mine] == pytest.approx(earliest / 10.0, rel=1e-6)
    edges = work_eic_rows(stacked["outputs"][0], edge=True)
    both = np.isfinite(bars["edgeHigh"][kept])
    assert edges["Time0"][both] == pytest.approx(bars["edgeHigh"][kept][both] / 10.0, rel=1e-6)


def test_dark_and_faint_sensors_are_told_apart(stack, timing, run_bars):
    # beyond the range of training no photons are made: the high end is moved far away
    config = {"bar_high": 1500.0, "outside": "drop", "threshold": 4.0}
    result = run_bars(timing(config), stack)
    bars, counters = read_bars(result["outputs"][0]), result["counters"]
    both = [np.concatenate([bars[f"{name}{end}"] for end, _ in ENDS]) for name in ("n", "edge")]
    dark, silent = both[0] == 0, np.isnan(both[1])
    assert 0 < dark.sum() < silent.sum() < len(dark)
    assert np.all(silent[dark])
    assert counters["objects.Sensor.without_photons"] == dark.sum()
    assert counters["objects.Sensor.below_threshold"] == (silent & ~dark).sum()
    assert result["hists"]["sensor_charge"]["flash", sum, sum].value == (~dark).sum()
    assert result["hists"]["sensor_edge"]["flash", sum, sum].value <= (~silent).sum()
    neither = np.isnan(bars["edgeLow"]) & np.isnan(bars["edgeHigh"])
    kept = ~neither & (bars["originIdx"] >= 0)
    assert np.any(neither & (bars["originIdx"] >= 0))
    assert np.array_equal(work_eic_rows(result["outputs"][0])["event_idx"], bars["event_idx"][kept])


def test_the_seeds_table_needs_its_fields(stack, timing, run_bars):
    other = timing({"bar_fields": ["system", "layer"], "histograms": False})
    result = run_bars(other, stack)
    with pytest.raises(InputError, match=r"have no stave, segment; name the fields"):
        work_eic_rows(result["outputs"][0])


def test_the_comparison_holds_every_sensor_with_light(stacked, bars):
    hists, truth = stacked["hists"], batch(STACK, 0)
    lit = sum(int((bars[f"n{end}"] > 0).sum()) for end, _ in ENDS)
    charge = hists["sensor_charge"]
    assert charge["flash", sum, sum].value == pytest.approx(lit)
    key = (
        truth.muons.event[truth.tracks.muon][truth.photons.crossing] * 100
        + truth.tracks.layer[truth.photons.crossing] * 4
        + truth.photons.sensor
    )
    order = np.lexsort((truth.photons.time, key))
    _, counts = np.unique(key, return_counts=True)
    assert charge["full", sum, sum].value == pytest.approx(len(counts))
    times = truth.photons.time[order].astype(np.float32)
    expected = read_out(times, counts, Readout())
    found = charge["full", sum, :]
    made, _ = np.histogram(expected.charge, found.axes[0].edges)
    # float32 charges at an edge may fall into the next bin
    assert np.abs(found.values() - made).sum() <= 4
    walk = hists["sensor_walk"]["full", sum, :]
    made, _ = np.histogram(expected.fraction - expected.edge, walk.axes[0].edges)
    assert np.abs(walk.values() - made).sum() <= 4


def test_files_without_bars_have_the_columns(timing, open_bars, stack):
    events = open_bars(stack)[:0]
    events.metadata.update({"fileuuid": "u", "entrystart": 0, "entrystop": 0})
    path = timing().process(events)["bars"]["outputs"][0]
    assert set(read_bars(path)) == set(BAR_COLUMNS) | set(FIELDS)
    assert uproot.open(path)["Events"].num_entries == 0
    assert all(len(values) == 0 for values in work_eic_rows(path).values())
