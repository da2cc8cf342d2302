"""Which bins of the first photon's width count, how far they are from the truth, what is told."""

from __future__ import annotations

import json

import pytest

from benchmarks import timing_quality
from benchmarks.timing_quality import LEAST_SENSORS, TENSOR, _ratios, measure_real, measure_toy
from processors.timing.processor import Timing


def row(source, place, width, sensors=LEAST_SENSORS, photon="first"):
    error = width / (2 * sensors) ** 0.5
    return {
        "photon": photon,
        "source": source,
        "bin": place,
        "sensors": sensors,
        "width": width,
        "width_error": error,
    }


def test_bins_near_the_sensor_or_with_few_sensors_do_not_count():
    far, near, few = "z -484 to -233", "z 519 to 770", "z 17.5 to 268"
    rows = [
        *(row(source, far, width) for source, width in (("full", 0.2), ("flash", 0.21))),
        *(row(source, near, 0.1) for source in ("full", "flash")),
        row("full", few, 0.3),
        row("flash", few, 0.3, sensors=LEAST_SENSORS - 1),
        *(row(source, "z 268 to 519", 0.3, photon="second") for source in ("full", "flash")),
        row("full", "z 268 to 519", 0.3),
        {"sensor": "edge", "source": "full", "bin": far, "width": 1.0},
    ]
    (found,) = _ratios(rows)
    assert found["bin"] == far
    assert found["ratio"] == pytest.approx(1.05)
    # two independent widths of 20,000 sensors each
    assert found["error"] == pytest.approx(1.05 / LEAST_SENSORS**0.5)


def test_the_headline_is_the_width_of_the_first_photon_far_away(monkeypatch):
    place, near = "z -735 to -484", "z 519 to 770"
    moments = {"mean": 1.0, "mean_error": 0.1}
    rows = [
        moments | row(source, bin, width, photon=photon)
        for photon, widths in (("first", (0.5, 0.49)), ("second", (0.6, 0.5)))
        for source, width in zip(("full", "flash"), widths)
        for bin in (place, near, "z -233 to 17.5")
    ]
    bins = [{"variable": "z", "photons": 1e6, "ks": 0.01, "ks_floor": 0.001}]
    found = {"bins": bins, "resolutions": rows}
    monkeypatch.setattr(timing_quality, "_validation", lambda *_: found)
    toy = measure_toy()
    assert toy["headline_ratio"] == pytest.approx(0.98)
    assert toy["headline_error"] == pytest.approx(0.98 / LEAST_SENSORS**0.5)
    assert [one["width"] for one in toy["headline"]] == [0.5, 0.49, 0.6, 0.5]


def test_three_models_are_held_against_the_same_real_muons(monkeypatch, tmp_path):
    shipped, asked = str(Timing.default_bundles()[0]), []

    def answer(arguments):
        if arguments[0] != "agreement":
            return ""
        model = arguments[1]
        asked.append(arguments[2:])
        value = {"imported": 1.1, "tuned": 1.0}.get(model.rpartition("/")[2], 2.0)
        assert value < 2.0 or model == shipped
        figures = {"ks": 0.1, "ks_floor": 0.01, "muons": 51}
        figures |= {"ks_per_muon_error": 0.05, "ks_per_muon_chance": 0.94}
        every = {"what": "all muons", "ks_per_muon": value, **figures}
        return json.dumps({TENSOR: [every, every | {"what": "away", "ks_per_muon": value / 2}]})

    monkeypatch.setattr(timing_quality, "_call", answer)
    found = measure_real(tmp_path)
    assert found["ks_real_norm"] == {"imported": 1.1, "fine_tuned": 1.0, "shipped": 2.0}
    for key, value in (("error", 0.05), ("chance", 0.94)):
        assert set(found[f"ks_real_norm_{key}"].values()) == {value}
    away = {label: rows[1]["ks_per_muon"] for label, rows in found["real"].items()}
    assert away == {"imported": 0.55, "fine_tuned": 0.5, "shipped": 1.0}
    assert asked[0] == asked[1] == asked[2]
