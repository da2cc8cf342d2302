"""Figures of photon times: speed alone and from file to file, memory, distance from the truth.

``python -W ignore -m benchmarks.timing`` measures, prints, writes
``benchmarks/results/timing.json``; parts that are not asked for keep what an earlier run found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import timing1d, timing_quality, timing_throughput
from benchmarks.rows import Clock, device
from flows.importers.normflows import import_normflows
from processors.timing.processor import Timing

__all__ = ["main", "merged"]

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "timing.json"
SAMPLES = FOLDER.parent / "build" / "benchmarks"
WEIGHTS = Path("timing/August_06_run_3_3context_1flows_10hl_128hu_2000bs.pth")
"""Of RowanKell/work_eic, among the real files."""
LEVER_ARM, THICKNESS = 6.0, 10.0
"""Of these weights, mm."""
GRAZING_EVENTS = 1_000
LEAST_RATE = 3e6
"""Photons per second from file to file on two cores."""
MOST_KS, MOST_SIGMA, MOST_REAL = 0.01, 0.03, 1.3
"""Wanted: KS in any bin, width of the first photon off its truth, KS per muon of real photons."""


def main() -> int:
    """Measure and report; the exit status is 0 whatever the figures say."""
    options = _parse()
    started = time.monotonic()
    kept = json.loads(options.output.read_text()) if options.output.exists() else {}
    result = merged(kept, {"machine": _machine()})
    for part in options.parts:
        result = merged(result, PARTS[part](options))
    result["seconds"] = round(time.monotonic() - started, 1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.output}")
    return 0


def merged(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Results with those of a part in place of earlier ones; ``rows`` by their names.

    Example:
        >>> merged({"rows": [{"name": "a"}], "x": 1}, {"rows": [{"name": "b"}], "x": 2})
        {'rows': [{'name': 'a'}, {'name': 'b'}], 'x': 2}
    """
    rows = {row["name"]: row for row in [*before.get("rows", []), *found.get("rows", [])]}
    return before | found | {"rows": list(rows.values())}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timing", description=__doc__)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    add("--events", type=int, default=2_400, help="of the sample from file to file")
    add("--quality-events", type=int, default=timing_quality.EVENTS, help="for the distances")
    add("--rounds", type=int, default=3, help="from file to file")
    add("--bundle", type=Path, help="model; default: work_eic's weights, see --data")
    add("--data", type=Path, help="real files; default: $FLASHBREW_DATA")
    add("--processor-time", action="store_true", help="count processor time: on a busy machine")
    add("--output", type=Path, default=RESULTS, help="JSON file to write")
    return parser.parse_args()


def _kernel(options: argparse.Namespace) -> dict[str, Any]:
    """The flow alone, noise included, on all cores."""
    rows = timing1d.measure(len(os.sched_getaffinity(0)), _clock(options))
    for row in rows:
        print(f"{row.name}: {row.rate:,.0f} photons/s, {row.ratio:.1f} times {row.peer}")
    return {"rows": [asdict(row) for row in rows]}


def _throughput(options: argparse.Namespace) -> dict[str, Any]:
    """Photons from file to file, validation off and on; beside the peer's flow alone."""
    sample = timing_throughput.generate(SAMPLES, options.events)
    found: dict[str, Any] = {"clock": "processor" if options.processor_time else "wall"}
    with _bundle(options) as bundle:
        for name, compared in (("validation_off", False), ("validation_on", True)):
            work = timing_throughput.Work(
                sample, options.events, bundle, compared, options.processor_time
            )
            found[name] = timing_throughput.measure(work, options.rounds)
            _print(name, found[name])
    rate = found["validation_on"]["two_processes"]["photons_per_second"]
    (kernel,) = timing1d.measure(2, _clock(options), timing1d.PER_CONTEXT[:1])
    row = replace(kernel, name=timing_throughput.NAME, rate=rate, ratio=rate / kernel.peer_rate)
    print(f"{row.name}: {row.rate:,.0f} photons/s (at least {LEAST_RATE:,.0f}), validation on")
    return {"rows": [asdict(row)], "throughput": found}


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a block of grazing muons, 740 photons per hit at a sensor."""
    sample = timing_throughput.generate(SAMPLES, GRAZING_EVENTS, timing_throughput.GRAZING, 1)
    with _bundle(options) as bundle:
        work = timing_throughput.Work(sample, GRAZING_EVENTS, bundle, histograms=True)
        found = timing_throughput.memory(work)
    print(
        f"memory: {found['peak_rss_mb']:.0f} MB with {found['photons']:,} photons in one block, "
        f"{found['photons_per_sensor']:.0f} per hit and sensor; {found['started_rss_mb']:.0f} MB "
        f"with {timing_throughput.WARM_EVENTS} events"
    )
    return {"memory": found}


def _quality(options: argparse.Namespace) -> dict[str, Any]:
    """Distance from the toy's photons, of the shipped model; from real photons where they are."""
    found = timing_quality.measure_toy(options.bundle, options.quality_events)
    for one in found["samples"]:
        print(
            f"sample {one['seed']}: KS {one['ks_max']:.4f} (at most {MOST_KS}, noise "
            f"{one['ks_floor']:.4f}) in the worst of {one['ks_bins']} bins, {one['ks_bin']}; width "
            f"of the first photon {one['sigma_first_ratio']:.4f} +- {one['sigma_first_error']:.4f} "
            f"of its truth (within {MOST_SIGMA}) in the worst of {len(one['sigma_first_bins'])}"
        )
    print(
        f"... of muons at right angles, 1.47 m away: {found['headline_ratio']:.4f} +- "
        f"{found['headline_error']:.4f}"
    )
    folder = _data(options)
    if folder is None:
        print("real photons: not compared, give --data")
        return found
    real = timing_quality.measure_real(folder / WEIGHTS.parent)
    print(f"real photons of {real['real_muons']} muons, KS per muon over its expectation:")
    for label, rows in real["real"].items():
        for row in rows:
            print(
                f"  {label}, {row['what']}: {row['ks_per_muon']:.2f} +- "
                f"{row['ks_per_muon_error']:.2f}, chance {row['ks_per_muon_chance']:.2f} "
                f"(at most {MOST_REAL})"
            )
    return found | real


def _data(options: argparse.Namespace) -> Path | None:
    """Folder of real files, if it is there."""
    data = options.data or os.environ.get("FLASHBREW_DATA")
    return Path(data) if data and (Path(data) / WEIGHTS).is_file() else None


def _clock(options: argparse.Namespace) -> Clock:
    return time.process_time if options.processor_time else time.perf_counter


@contextmanager
def _bundle(options: argparse.Namespace) -> Iterator[Path]:
    """The model: that of the command line, else work_eic's weights, else the shipped one."""
    data = _data(options)
    if options.bundle is not None:
        yield options.bundle
    elif data is not None:
        with tempfile.TemporaryDirectory() as folder:
            model = import_normflows(data / WEIGHTS, lever_arm=LEVER_ARM, thickness=THICKNESS)
            yield model.save(Path(folder) / "bundle")
    else:
        (shipped,) = Timing.default_bundles()
        yield shipped


def _print(name: str, found: dict[str, Any]) -> None:
    of_sensor = f"{found['photons_per_sensor']:.0f} per hit and sensor"
    print(f"{name}: {found['photons']:,} photons, {of_sensor}")
    for way in timing_throughput.WAYS:
        one = found[way]
        rate = f"{one['photons_per_second']:,.0f} photons/s"
        cost = f"{one['cpu_ns_per_photon']:.0f} ns of a core each, {one['peak_rss_mb']:.0f} MB"
        stages = ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in one["stages"].items())
        print(f"  {way}: {rate}, {cost}; {stages}", flush=True)


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cpu": device(len(os.sched_getaffinity(0))),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


PARTS = {"kernel": _kernel, "throughput": _throughput, "memory": _memory, "quality": _quality}


if __name__ == "__main__":
    sys.exit(main())
