"""Photon times against their truth: the toy's, and work_eic's real photons.

Everything goes through the command line, as a user would do it.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from processors.timing.processor import Timing
from run_processor import main as flashbrew
from samples.timing.__main__ import main as generate

__all__ = ["measure_real", "measure_toy"]

EVENTS, SEEDS = 90_000, (301, 303, 777)
"""Samples of fresh muons of all angles; the shipped one has seed 0, the training sample 101."""
HEADLINE_EVENTS, HEADLINE_SEED = 25_000, 302
HEADLINE = ("--z", "-700", "-700", "--theta", "90", "90", "--momentum", "10", "10")
"""Muons of 10 GeV at right angles, 1.47 m from the sensor at high z, bars of 10 mm. Not what
RowanKell/work_eic publishes, widths of 0.095 ns simulated and 0.102 ns drawn: those are of bars of
20 mm, from a mean time of 10.4 ns after the origin near their middle, of times of 10 to 10.8 ns."""
HEADLINE_BIN = "10 GeV, 90 degrees, 1.47 m"
LEAST_PHOTONS = 200_000
"""In a bin of z, θ, p whose KS counts: its noise floor is 0.0027."""
LEAST_SENSORS, NEAREST = 20_000, 200.0
"""Sensors in a bin of z whose width counts, mm between bin and sensor."""
SENSOR = 770.0
TENSOR = "vary_1file_1000events_file0.pt"
WEIGHTS = "August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth"
LEVER_ARM = "6"
TOLD = ("--order", "2024-07", "--lever-arm", "1")


def measure_toy(bundle: Path | None = None, events: int = EVENTS) -> dict[str, Any]:
    """Compare drawn photons with those of fresh toys, the worst of several samples counts.

    Arguments:
        bundle: Model; default: the shipped one.
        events: Of all angles, in each sample.
    Returns: ``ks_max`` with its ``ks_floor`` and bin, ``sigma_first_ratio``, the farthest from one,
        with its error and bin: the worst of all bins and samples; ``samples``: the same for each;
        ``headline``: mean and width of the first and second photon for muons at one place, which
        count as one more bin; ``headline_ratio``, ``headline_error``: width of their first photon
        over its truth.
    """
    with tempfile.TemporaryDirectory() as name:
        samples = [_sample(Path(name), bundle, events, seed) for seed in SEEDS]
        options = ["--events", str(HEADLINE_EVENTS), "--seed", str(HEADLINE_SEED), *HEADLINE]
        near = _validation(Path(name) / "headline", bundle, options)
    far = near["resolutions"][0]["bin"]
    of_first = _pairs(near["resolutions"])[far]
    ratio, error = _ratio(of_first["full"], of_first["flash"])
    headline = {"bin": HEADLINE_BIN, "ratio": ratio, "error": error}
    worst = max(samples, key=lambda found: found["ks_max"])
    bins = [row for found in samples for row in found["sigma_first_bins"]] + [headline]
    farthest = _farthest(bins)
    return {
        **{key: worst[key] for key in ("ks_max", "ks_floor", "ks_bin", "ks_bins")},
        "sigma_first_ratio": farthest["ratio"],
        "sigma_first_error": farthest["error"],
        "sigma_first_bin": farthest["bin"],
        "sigma_first_bins": len(bins),
        "samples": samples,
        "headline": [
            {key: row[key] for key in ("photon", "source", "bin", "sensors", *_MOMENTS)}
            for row in near["resolutions"]
            if row.get("photon") and row["bin"] == far
        ],
        "headline_ratio": ratio,
        "headline_error": error,
    }


def _sample(folder: Path, bundle: Path | None, events: int, seed: int) -> dict[str, Any]:
    """Worst bins of one sample of muons of all angles."""
    options = ["--events", str(events), "--seed", str(seed)]
    found = _validation(folder / str(seed), bundle, options)
    bins = [row for row in found["bins"] if row["photons"] >= LEAST_PHOTONS]
    worst = max(bins, key=lambda row: row["ks"])
    ratios = _ratios(found["resolutions"])
    farthest = _farthest(ratios)
    return {
        "seed": seed,
        "ks_max": worst["ks"],
        "ks_floor": worst["ks_floor"],
        "ks_bin": worst["variable"],
        "ks_bins": len(bins),
        "sigma_first_ratio": farthest["ratio"],
        "sigma_first_error": farthest["error"],
        "sigma_first_bins": ratios,
    }


def _farthest(ratios: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(ratios, key=lambda row: abs(row["ratio"] - 1.0))


_MOMENTS = ("mean", "mean_error", "width", "width_error")


def measure_real(data: Path) -> dict[str, Any]:
    """Compare three models with the second half of work_eic's muons.

    ``imported``: work_eic's weights; ``fine_tuned``: those, learnt further on the first half;
    ``shipped``: the model of the toy, which never saw photons of full simulation.

    Arguments:
        data: Folder of work_eic's weights and photons.
    Returns: ``ks_real_norm``: median over the muons of KS over its expectation for their numbers of
        photons, by model, with its ``_error`` and what a perfect model would get, ``_chance``;
        ``ks_real`` and its floor, of all photons together; ``real``: all figures by model, of all
        muons and of those away from the bar.
    """
    (shipped,) = Timing.default_bundles()
    tensor = str(data / TENSOR)
    with tempfile.TemporaryDirectory() as name:
        imported, tuned = Path(name) / "imported", Path(name) / "tuned"
        weights = [str(data / WEIGHTS), "--lever-arm", LEVER_ARM, "--thickness", "10"]
        _call(["bundle", "import", "normflows", *weights, "--output", str(imported)])
        options = ["--from", str(imported), "--output", str(tuned), "--executor", "iterative"]
        _call(["train", "timing.photon", tensor, *TOLD, "--muons", "first", *options])
        found: dict[str, list[dict[str, Any]]] = {}
        models = {"imported": imported, "fine_tuned": tuned, "shipped": shipped}
        for label, model in models.items():
            told = [*TOLD, "--muons", "second", "--json"]
            text = _call(["agreement", str(model), tensor, *told])
            found[label] = json.loads(text)[TENSOR]
    every = {label: rows[0] for label, rows in found.items()}
    norms = {
        f"ks_real_norm{ending}": {
            label: row[f"ks_per_muon{ending}"] for label, row in every.items()
        }
        for ending in ("", "_error", "_chance")
    }
    return {
        **norms,
        "ks_real": {label: row["ks"] for label, row in every.items()},
        "ks_real_floor": every["imported"]["ks_floor"],
        "real_muons": every["imported"]["muons"],
        "real": found,
    }


def _validation(folder: Path, bundle: Path | None, options: Sequence[str]) -> dict[str, Any]:
    """Section of the report that compares drawn photons with those of the generated file."""
    folder.mkdir()
    bars, out = folder / "bars.root", folder / "out"
    if generate([*options, "-o", str(bars)]):
        message = f"the toy cannot be made: {' '.join(options)}"
        raise RuntimeError(message)
    chosen = [] if bundle is None else ["--bundle", str(bundle)]
    arguments = ["timing", str(bars), *chosen, "--output", str(out), "--format", "none"]
    _call([*arguments, "--executor", "futures", "--chunksize", "10000"])
    bars.unlink()
    report = json.loads((out / "report.json").read_text())
    validation: dict[str, Any] = report["validation"]
    return validation


def _pairs(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows of the first photon by bin and source."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row.get("photon") == "first":
            pairs.setdefault(row["bin"], {})[row["source"]] = row
    return pairs


def _ratio(full: dict[str, Any], flash: dict[str, Any]) -> tuple[float, float]:
    """Width over its truth, with the error of both."""
    ratio = flash["width"] / full["width"]
    relative = [row["width_error"] / row["width"] for row in (full, flash)]
    return ratio, ratio * (relative[0] ** 2 + relative[1] ** 2) ** 0.5


def _ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Width of the first photon over that of the truth, in bins far enough with enough sensors."""
    found = []
    for place, pair in _pairs(rows).items():
        enough = len(pair) == 2 and min(row["sensors"] for row in pair.values()) >= LEAST_SENSORS
        if enough and SENSOR - float(place.split()[-1]) >= NEAREST:
            ratio, error = _ratio(pair["full"], pair["flash"])
            width = pair["full"]["width"]
            found.append({"bin": place, "ratio": ratio, "error": error, "full": width})
    return found


def _call(arguments: Sequence[str]) -> str:
    """Standard output of a command.

    Raises: RuntimeError where it does not end with 0.
    """
    text = io.StringIO()
    with redirect_stdout(text):
        status = flashbrew(list(arguments))
    if status:
        message = f"flashbrew {' '.join(arguments)} ended with {status}"
        raise RuntimeError(message)
    return text.getvalue()
