"""Which bins of the first photon's width count, and how far they are from the truth."""

from __future__ import annotations

import pytest

from benchmarks.timing_quality import LEAST_SENSORS, _ratios


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
