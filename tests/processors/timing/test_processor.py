"""Photons of detector events: files, noise, guards, comparison, bad input."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot

from commands.run import main
from flows.noise import Identity
from flows.resident import resident
from processors.counters import Counters
from processors.errors import ConfigurationError, MissingBranchError
from processors.histogramming import fill
from processors.timing import hits, sensors
from processors.timing.comparison import distances, resolutions
from processors.timing.conditions import conditions_of
from processors.timing.config import TimingConfig
from processors.timing.figures import figures
from processors.timing.hits import bar_hits
from processors.timing.output import read_times
from processors.timing.processor import Timing
from processors.timing.reading import read_detector
from processors.timing.sensors import poisson
from processors.timing.validation import (
    EARLIEST,
    TimingValidation,
    context_bins,
    reference,
)
from samples.timing import edm4hep
from samples.timing.production import batch, produce
from tests.processors.timing.conftest import EVENTS, STACK, single, write


def numbers(counters):
    telemetry = "seconds.", "models."
    return {name: value for name, value in counters.items() if not name.startswith(telemetry)}


def events_of(result):
    return ak.concatenate([uproot.open(path)["Events"].arrays() for path in result["outputs"]])


@pytest.fixture(scope="module")
def stacked(stack, timing, run_bars):
    """The processor's whole result over the stack of bars."""
    return run_bars(timing(), stack)


def test_every_hit_has_its_own_photons_from_the_model(stack, stacked, photon_bundle):
    events, model = events_of(stacked), resident(photon_bundle, "cpu")
    times = ak.concatenate([read_times(path) for path in stacked["outputs"]])
    flat = {name: ak.to_numpy(ak.flatten(events[f"Hit_{name}"])) for name in ("z", "theta", "p")}
    for number in (0, 7, 41):
        event = events[number]
        rows = len(event["Hit_z"])
        first = int(ak.sum(ak.num(events["Hit_z"])[:number]))
        z, theta, p = (flat[name][first : first + rows].astype(float) for name in flat)
        zero = np.zeros(2, dtype=np.int64)
        for row in range(rows):
            high = z[row] + 5.0 / np.tan(np.radians(theta[row]))
            given = np.array([[35 - high, 180 - theta[row], p[row]], [high, theta[row], p[row]]])
            identity = Identity(
                5,
                "bars",
                "PhotonTime",
                zero,
                zero,
                np.full(2, int(event["event"]), dtype=np.uint64),
                2 * row + np.arange(2),
                zero,
            )
            mean = np.array([event["Hit_meanLow"][row], event["Hit_meanHigh"][row]], dtype=float)
            counts = np.array([event["Hit_nLow"][row], event["Hit_nHigh"][row]], dtype=np.int64)
            # the stored mean is float32, so a number at the edge of a step may differ by one
            assert np.abs(poisson(mean, identity) - counts).max() <= 1
            drawn = model.sample_repeated(given, counts, identity).targets
            bar = int(event["Hit_barIdx"][row])
            mine = event["Photon_time"][event["Photon_hitIdx"] == row]
            expected = drawn + float(event["Hit_time"][row])
            # contexts come back from float32: 1e-4 ns over some hundred mm
            assert np.sort(mine) == pytest.approx(np.sort(expected), abs=2e-3)
            for end in range(2):
                seen = np.asarray(times[number][bar][end])
                assert np.all(np.diff(seen) >= 0)
                assert set(seen) <= set(np.asarray(event["Photon_time"]))


def test_numbers_are_drawn_from_the_mean_that_was_learnt(stack, run_bars, tmp_path):
    def run(name, chunksize, **config):
        options = {"output": tmp_path / name, "device": "cpu", "format": "root", "config": config}
        result = run_bars(Timing.from_options(options), stack, chunksize=chunksize)
        order = sorted(result["outputs"], key=lambda p: int(p.rpartition("_")[2].split("-")[0]))
        return events_of({"outputs": order})

    events = run("whole", 1000)
    assert ak.array_equal(run("parts", 31, block_events=7), events, equal_nan=True)
    model = resident(Timing.default_bundles()[0], "cpu")
    flat = {
        name: ak.to_numpy(ak.flatten(events[f"Hit_{name}"])).astype(float)
        for name in ("z", "theta", "p", "energy", "meanLow", "meanHigh", "nLow", "nHigh")
    }
    # contexts, energies, means were stored as float32
    high = np.stack([flat["z"], flat["theta"], flat["p"]], axis=1)
    low = np.stack([35.0 - flat["z"], 180.0 - flat["theta"], flat["p"]], axis=1)
    for end, given in (("High", high), ("Low", low)):
        mean = model.mean_numbers(conditions_of(model.card, given)).per_exposure * flat["energy"]
        assert flat[f"mean{end}"] == pytest.approx(mean, rel=1e-4)
        spread = (flat[f"n{end}"] - mean) / np.sqrt(mean)
        # Poisson: mean 0, variance 1, within four standard deviations of either
        assert abs(spread.mean()) < 4 / np.sqrt(len(mean))
        assert abs(spread.var() - 1.0) < 4 * np.sqrt(2.2 / len(mean))


def test_bars_and_hits_are_those_of_the_sample(stacked):
    events, truth = events_of(stacked), batch(STACK, 0)
    event = truth.muons.event[truth.tracks.muon]
    assert ak.num(events["Hit_z"]).to_list() == np.bincount(event, minlength=EVENTS).tolist()
    bars = len({*zip(event.tolist(), truth.tracks.layer.tolist(), strict=True)})
    assert ak.sum(ak.num(events["Bar_cell"])) == bars < len(event)
    order = np.lexsort((truth.tracks.muon, truth.tracks.layer, event))
    for name, expected in (
        ("z", truth.tracks.z),
        ("p", truth.tracks.momentum),
        ("time", truth.tracks.time),
        ("energy", truth.tracks.energy),
        ("theta", np.degrees(truth.muons.theta[truth.tracks.muon])),
    ):
        found = ak.to_numpy(ak.flatten(events[f"Hit_{name}"]))
        assert found == pytest.approx(expected[order], rel=1e-5), name  # float32 on both ways
    total = ak.sum(events["Bar_nLow"] + events["Bar_nHigh"])
    assert total == ak.count(events["Photon_time"]) == stacked["counters"]["objects.Photon.out"]
    assert ak.all(
        ak.num(events["Photon_time"]) == ak.sum(events["Bar_nLow"] + events["Bar_nHigh"], axis=1)
    )


def test_chunks_blocks_photons_in_the_file_and_format_change_no_time(
    stack, stacked, timing, run_bars, tmp_path
):
    whole = ak.concatenate([read_times(path) for path in stacked["outputs"]])
    again = run_bars(timing({"block_events": 7}, format="parquet"), stack, chunksize=31)
    assert len(again["outputs"]) == 3
    ordered = sorted(again["outputs"], key=lambda path: int(path.rpartition("_")[2].split("-")[0]))
    parts = ak.concatenate([read_times(path) for path in ordered])
    assert ak.array_equal(whole, parts)
    for name, value in numbers(stacked["counters"]).items():
        assert again["counters"][name] == value, name
    for name, one in stacked["hists"].items():
        assert np.array_equal(one.values(flow=True), again["hists"][name].values(flow=True)), name
    bare = tmp_path / "bare.root"
    produce(replace(STACK, photons=False), bare, progress=lambda done, total: None)
    dark = run_bars(timing(), bare)
    assert ak.array_equal(whole, ak.concatenate([read_times(p) for p in dark["outputs"]]))


def test_portions_of_a_block_change_no_bit_and_hold_as_many_photons_as_they_may(
    stack, timing, run_bars, monkeypatch
):
    processor = timing({}, oversample=2)
    whole, sizes = run_bars(processor, stack), []
    made = sensors.see

    def watched(rows, *others):
        seen = made(rows, *others)
        sizes.append((len(rows.counts), int(seen.counts.sum())))
        return seen

    monkeypatch.setattr(sensors, "see", watched)
    for most in (1, 20_000):
        monkeypatch.setattr(hits, "PHOTONS", most)
        sizes.clear()
        parts = run_bars(timing({}, oversample=2), stack)
        assert sum(events for events, _ in sizes) == 2 * EVENTS
        # copies of an event stay together; Poisson numbers lie around what was expected
        assert all(events == 2 or photons < 1.1 * most for events, photons in sizes)
        assert len(sizes) > 2
        assert numbers(parts["counters"]) == numbers(whole["counters"])
        found, expected = (events_of(result) for result in (parts, whole))
        assert found.fields == expected.fields
        for name in expected.fields:
            flat = (ak.to_numpy(ak.flatten(one[name], axis=None)) for one in (found, expected))
            assert len({values.tobytes() for values in flat}) == 1, name
        for name, one in whole["hists"].items():
            # weights of one half add up exactly
            assert one == parts["hists"][name], name


def test_seed_and_dataset_change_the_times(stack, stacked, timing, run_bars):
    other = run_bars(timing(seed=6), stack)
    assert other["counters"]["objects.Hit.out"] == stacked["counters"]["objects.Hit.out"]
    same = np.intersect1d(
        *(ak.to_numpy(ak.flatten(events_of(r)["Photon_time"])) for r in (stacked, other))
    )
    # float32 numbers of some ns coincide now and then
    assert len(same) < 0.05 * stacked["counters"]["objects.Photon.out"]


def test_copies_of_an_event_lie_side_by_side_with_noise_of_their_own(
    stack, stacked, timing, run_bars
):
    result = run_bars(timing(oversample=3), stack)
    times, single_ = read_times(result["outputs"][0]), read_times(stacked["outputs"][0])
    assert len(times) == 3 * EVENTS
    assert ak.array_equal(times[::3], single_)
    assert not ak.array_equal(times[1::3], single_)
    assert not ak.array_equal(times[1::3], times[2::3])
    events = events_of(result)
    assert events["fold"].to_list() == [0, 1, 2] * EVENTS
    full, flash = (
        result["hists"]["photon_number"][source, sum, sum] for source in ("full", "flash")
    )
    assert flash.value == pytest.approx(full.value)


def test_contexts_outside_the_training_range_are_flagged_clipped_or_dropped(
    stack, timing, run_bars
):
    far = {"bar_low": -735.0, "bar_high": 1500.0}
    flagged = run_bars(timing(far), stack)
    outside = flagged["counters"]["contexts.outside_training_range"]
    assert outside > 0
    events = events_of(flagged)
    assert ak.sum(events["nOutside"]) == outside
    assert ak.sum(events["Hit_outsideLow"]) + ak.sum(events["Hit_outsideHigh"]) == outside
    some = flagged["counters"]["events.with_contexts_outside"]
    assert some == ak.sum(events["nOutside"] > 0)
    clipped = run_bars(timing(far | {"outside": "clip"}), stack)
    assert clipped["counters"]["contexts.clipped"] == outside
    counts = flagged["counters"]["objects.Photon.out"]
    assert clipped["counters"]["objects.Photon.out"] == counts
    dropped = run_bars(timing(far | {"outside": "drop"}), stack)
    assert dropped["counters"]["contexts.dropped"] == outside
    kept = events_of(dropped)
    assert ak.sum(kept["Hit_nLow"][kept["Hit_outsideLow"] == 1]) == 0
    inside = events["Hit_outsideLow"] == 0
    assert ak.all(kept["Hit_nLow"][inside] == events["Hit_nLow"][inside])
    assert 0 < dropped["counters"]["objects.Photon.out"] < counts


def test_times_before_the_hit_are_counted_and_kept(stacked):
    events = events_of(stacked)
    delays = events["Photon_time"] - events["Hit_time"][events["Photon_hitIdx"]]
    # a photon at the hit's own time within the rounding of float32 may count on either side
    counted = stacked["counters"]["objects.Photon.negative"]
    assert counted > 0
    assert abs(counted - ak.sum(delays < 0)) <= 2


def test_photons_of_the_input_are_those_of_their_hits(stacked):
    counters, truth = stacked["counters"], batch(STACK, 0)
    assert counters["photons.full.in"] == len(truth.photons.time)
    assert counters["photons.full.unmatched"] == 0
    full = stacked["hists"]["photon_time"]["full", sum, sum, sum, :]
    delay = truth.photons.time - truth.tracks.time[truth.photons.crossing]
    expected, _ = np.histogram(delay, full.axes[0].edges)
    # float32 times may fall into the neighbouring bin: a few of all
    assert np.abs(full.values() - expected).sum() <= 1e-3 * len(delay) + 4


@pytest.mark.parametrize("field", ["time", "position.z"])
def test_photons_of_the_input_that_are_no_numbers_are_left_out(field, run_bars, timing, tmp_path):
    content = single()
    hits = content["HcalBarrelHits"]
    spoilt = (ak.local_index(hits["EDep"]) == 3) & (ak.local_index(hits["EDep"], axis=0) < 5)
    values = ak.where(spoilt, np.nan, hits[field])
    values = ak.values_astype(values, ak.type(hits[field]).content.content.primitive)
    content["HcalBarrelHits"] = ak.with_field(hits, values, field)
    result = run_bars(timing(), write(tmp_path / "nan.root", content))
    counters = result["counters"]
    assert counters["photons.full.not_finite"] == 5
    assert counters["photons.full.unmatched"] == 0
    full = result["hists"]["photon_time"]["full", sum, sum, sum, :]
    assert full.sum(flow=True).value == counters["photons.full.in"] - 5
    fraction = result["hists"]["sensor_fraction"]["full", sum, :]
    assert fraction.sum(flow=True).value == 2 * EVENTS


def test_photons_of_the_input_belong_to_their_muon_bar_and_end(stack, open_bars):
    config, counters, truth = TimingConfig(), Counters(), batch(STACK, 0)
    found = read_detector(open_bars(stack), config.hits, counters)
    rows = bar_hits(found.hits, config, counters)
    seen = reference(found, rows, config, np.zeros((len(rows.event), 2, 3)), counters)
    expected = np.zeros((len(truth.tracks.muon), 2), dtype=int)
    np.add.at(expected, (truth.photons.crossing, truth.photons.sensor - 1), 1)
    event = truth.muons.event[truth.tracks.muon]
    order = np.lexsort((truth.tracks.muon, truth.tracks.layer, event))
    assert np.array_equal(seen.counts, expected[order])


def darkened(dark):
    """One muon per event in one bar, without the photons of events whose numbers are ``dark``."""
    content = single()
    link = content["_HcalBarrelHits_MCParticle"]
    muon = link["index"] == 0
    kept = muon | ~dark(ak.local_index(muon, axis=0))
    for name in ("HcalBarrelHits", "_HcalBarrelHits_MCParticle"):
        content[name] = content[name][kept]
    return content


def test_blocks_of_dark_events_count_as_they_do_in_a_larger_block(run_bars, timing, tmp_path):
    path = write(tmp_path / "third.root", darkened(lambda event: event % 3 > 0))
    whole, parts = (run_bars(timing({"block_events": size}), path) for size in (1000, 1))
    number = whole["hists"]["photon_number"]
    assert number == parts["hists"]["photon_number"]
    assert number["full", sum, :].sum(flow=True).value == 2 * EVENTS
    assert number["full", sum, :].values(flow=True)[0] >= 2 * EVENTS * 2 / 3


def test_an_input_without_photons_is_not_compared(run_bars, timing, tmp_path):
    result = run_bars(timing(), write(tmp_path / "dark.root", darkened(lambda event: event >= 0)))
    assert result["counters"]["photons.full.in"] == 0
    assert list(distances(result["hists"])) == []
    (axes,) = dict(figures(result["hists"], "toy"))["photon_number"]().axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["flash simulation"]


def test_without_parents_bars_of_one_particle_are_compared(run_bars, timing, tmp_path, monkeypatch):
    content = single()
    del content["_MCParticles_parents"]
    branches = {n: f for n, f in edm4hep.BRANCHES.items() if n != "_MCParticles_parents"}
    monkeypatch.setattr(edm4hep, "BRANCHES", branches)
    path = write(tmp_path / "orphans.root", content)
    counters = run_bars(timing(), path)["counters"]
    assert counters["photons.full.unmatched"] == 0 < counters["photons.full.in"]


def test_distances_resolutions_and_figures_come_from_the_merged_result(stacked, timing, tmp_path):
    found = timing().finish({"bars": stacked | {"counters": dict(stacked["counters"])}}, tmp_path)
    assert {row["variable"] for row in found["distances"]} >= {"time", "first", "second", "number"}
    assert found["bins"]
    assert all(0 <= row["ks"] <= 1 for row in found["bins"])
    sensors = {row["variable"] for row in found["distances"] if row["object"] == "Sensor"}
    assert sensors == {"charge", "fraction", "edge", "walk"}
    # the untrained flow's earliest photons lie beyond the axis
    assert {row["source"] for row in found["resolutions"]} == {"full"}
    assert found["repeated_events"] == {"bars": 0}
    assert sorted(found["plots"]) == [
        *(f"plots/photon_{name}.png" for name in ("bins", "first", "number", "second", "time")),
        *(f"plots/sensor_{name}.png" for name in ("charge", "edge", "fraction", "walk")),
    ]
    assert all((tmp_path / name).stat().st_size > 5000 for name in found["plots"])


def test_resolutions_are_mean_and_width_of_the_earliest_photons():
    validation, rng = TimingValidation(TimingConfig()), np.random.default_rng(1)
    times = np.concatenate([rng.normal(1.2, 0.1, 5000), np.full(500, 40.0)])
    axis, one = EARLIEST["first"], validation.hists["photon_first"]
    row = np.full(len(times), context_bins(TimingConfig())["z"].index(np.array([0.0]))[0])
    fill(one, [1], [row, axis.index(times)], 1.0)
    (found,) = resolutions(validation.hists)
    assert (found["photon"], found["source"], found["bin"]) == ("first", "flash", "z -233 to 17.5")
    assert found["sensors"] == 5000
    assert found["beyond"] == pytest.approx(500 / 5500)
    # four standard errors, as given; bins of 0.02 ns add 0.002 to a width of 0.1 at most
    assert found["mean"] == pytest.approx(1.2, abs=4 * found["mean_error"])
    assert found["width"] == pytest.approx(0.1, abs=4 * found["width_error"] + 0.002)
    assert found["mean_error"] == pytest.approx(0.1 / 5000**0.5, rel=0.05)


def test_errors_of_widths_are_those_of_the_distributions_tails():
    """An exponential distribution has kurtosis 9: its width scatters twice as far as a normal's."""
    rng, number, scale = np.random.default_rng(2), 2000, 0.3
    axis, bins = EARLIEST["first"], context_bins(TimingConfig())["z"].bins
    empty = TimingValidation(TimingConfig()).hists["photon_first"]
    place = np.repeat(np.arange(1, bins + 1), number)
    rows = []
    for _ in range(40):
        one = empty.copy()
        for code in range(2):
            times = rng.exponential(scale, len(place))
            fill(one, [code], [place, axis.index(times)], 1.0)
        rows += resolutions({"photon_first": one})
    widths, errors = (np.array([row[key] for row in rows]) for key in ("width", "width_error"))
    assert len(widths) == 40 * 2 * bins
    assert np.mean(errors) == pytest.approx(scale * ((9 - 1) / (4 * number)) ** 0.5, rel=0.05)
    # the spread of 480 widths is known to 4 %, kurtosis included
    assert np.std(widths) == pytest.approx(np.mean(errors), rel=0.12)


def test_an_empty_range_gives_the_full_structure(bars, timing, open_bars, stacked):
    events = open_bars(bars)[:0]
    events.metadata.update({"fileuuid": "u", "entrystart": 0, "entrystop": 0})
    result = timing().process(events)["bars"]
    assert set(result["counters"]) == set(stacked["counters"])
    assert not any(numbers(result["counters"]).values())
    assert set(result["hists"]) == set(stacked["hists"])
    assert events_of(result).fields == events_of(stacked).fields


def test_empty_events_are_counted_apart_from_repeated_ones(run_bars, timing, tmp_path):
    content = single()
    for name, collection in content.items():
        first = collection[collection.fields[0]]
        content[name] = collection[(ak.local_index(first, axis=0) >= 10) & (first == first)]
    twice = {name: ak.concatenate([one, one[-3:]]) for name, one in content.items()}
    result = run_bars(timing(), write(tmp_path / "empty.root", twice))
    counters = result["counters"]
    assert counters["events.without_content"] == 10
    assert counters["events.repeated_in_chunk"] == 3
    found = timing().finish({"bars": result}, tmp_path)
    assert found["repeated_events"] == {"bars": 3}


def test_events_without_hits_have_no_photons(run_bars, timing, tmp_path):
    content = single()
    energy = content["HcalBarrelHits"]["EDep"]
    keep = (ak.local_index(energy, axis=0) >= 10) & (energy > 0)
    for name in ("HcalBarrelHits", "_HcalBarrelHits_MCParticle"):
        content[name] = content[name][keep]
    result = run_bars(timing(), write(tmp_path / "dark.root", content))
    assert result["counters"]["events.without_hits"] == 10
    times = read_times(result["outputs"][0])
    assert ak.num(times).to_list() == [0] * 10 + [1] * (EVENTS - 10)
    assert result["counters"]["events.written"] == EVENTS


@pytest.mark.parametrize("kind", ["root", "parquet"])
@pytest.mark.parametrize("number", [0, EVENTS])
def test_times_of_files_without_bars_have_two_sensors(kind, number, timing, open_bars, tmp_path):
    content = single()
    none = content["HcalBarrelHits"]["EDep"] < 0
    for name in ("HcalBarrelHits", "_HcalBarrelHits_MCParticle"):
        content[name] = content[name][none]
    events = open_bars(write(tmp_path / "dark.root", content))[:number]
    events.metadata.update({"fileuuid": "u", "entrystart": 0, "entrystop": number})
    result = timing(format=kind).process(events)["bars"]
    times = read_times(result["outputs"][0])
    assert str(times.type) == f"{number} * var * 2 * var * float32"
    assert len(times[:, :, 1]) == number


def test_several_bundles_are_refused(bars, photon_bundle, tmp_path, capsys):
    twice = ["--bundle", str(photon_bundle)] * 2
    assert main(["timing", str(bars), "--output", str(tmp_path / "out"), *twice]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "timing takes one bundle, found 2; name it with --bundle" in said


def test_events_without_numbers_are_not_compared_by_them(bars, tmp_path, capsys):
    arguments = ["photons", str(bars), "--output", str(tmp_path / "out"), "--check-duplicates"]
    assert main(arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--check-duplicates compares event numbers, and what photons reads has none" in said


def test_without_arguments_it_takes_the_shipped_bars_and_model(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["timing", "--executor", "iterative"]) == 0
    report = json.loads((tmp_path / "out" / "timing" / "report.json").read_text())
    (bundle,) = report["bundles"]
    assert bundle["numbers"] == "learnt"
    assert report["datasets"]["input"]["events"]["written"] == 120
    (path,) = Timing.default_inputs()
    assert path == repository / "samples" / "data" / "bars.root"
    assert Timing.default_bundles() == [repository / "processors" / "bundles" / "photon_times"]


def test_other_models_are_refused(timing, photon_bundle, repository):
    with pytest.raises(ConfigurationError, match="kind 'object'"):
        timing(bundles=[repository / "processors" / "bundles" / "muon"])
    with pytest.raises(
        ConfigurationError, match=r"thickness 10\.0 mm, the configuration says 20\.0"
    ):
        timing({"thickness": 20.0})


def test_a_gap_that_contradicts_the_card_is_refused(timing):
    shipped = {"bundles": Timing.default_bundles()}
    with pytest.raises(ConfigurationError, match=r"stood 1\.0 mm .* says gap 5\.0 mm; leave out"):
        timing({"gap": 5.0}, **shipped)
    assert timing({"gap": 1.0}, **shipped).config.gap == 1.0
    # the card of imported weights does not say
    assert timing({"gap": 5.0}).config.gap == 5.0


def test_input_without_its_branches_is_refused(run_bars, timing, bars):
    with pytest.raises(Exception, match=r"branches Other\.cellID") as caught:
        run_bars(timing({"hits": "Other"}), bars)
    causes = [caught.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    assert any(isinstance(cause, MissingBranchError) for cause in causes)


@pytest.mark.slow
def test_the_command_line_runs_it_on_processes(stack, stacked, photon_bundle, tmp_path):
    output = tmp_path / "out"
    options = ["--bundle", str(photon_bundle), "--output", str(output), "--seed", "5"]
    settings = [
        "--executor",
        "futures",
        "--workers",
        "2",
        "--chunksize",
        "40",
        "--merge",
        "dataset",
    ]
    fileset = tmp_path / "fileset.json"
    fileset.write_text(f'{{"bars": ["{stack}"]}}')
    assert main(["timing", "--fileset", str(fileset), *options, *settings]) == 0
    whole = ak.concatenate([read_times(path) for path in stacked["outputs"]])
    assert ak.array_equal(read_times(output / "events" / "bars.root"), whole)
    (model,) = json.loads((output / "report.json").read_text())["models"]
    drawn = model["stages"]["repeated"]
    assert model["loads"] in (1, 2)
    assert drawn["calls"] >= -(-EVENTS // 40)
    assert drawn["rows"] == stacked["counters"]["contexts.in"]
    assert drawn["samples"] == stacked["counters"]["objects.Photon.out"]
    assert 0 < drawn["fill"] < 1
    assert drawn["samples_per_second"] == pytest.approx(drawn["samples"] / drawn["seconds"])


def test_it_is_small_when_it_travels(timing):
    processor = timing()
    assert len(pickle.dumps(processor)) < 4000
    assert isinstance(pickle.loads(pickle.dumps(processor)), Timing)
