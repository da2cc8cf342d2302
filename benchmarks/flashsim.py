"""Figures of the flash simulation: overhead, memory, closure with its noise floor.

``python -m benchmarks.flashsim`` generates fresh ttbar events (never a training sample), measures,
prints, writes ``benchmarks/results/flashsim.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import overhead, quality

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "flashsim.json"
SAMPLES = FOLDER.parent / "build" / "benchmarks"
SEED, DETECTOR_AGAIN = 9_001, 9_002
"""Seeds of the fresh sample; the shipped sample has 0, training samples the README's."""
PILEUP = 101
"""Seed of the pile-up pool: the library of the ttbar training sample, as within one campaign."""
TARGETS = {"overhead_us_per_event": 50.0, "peak_rss_mb": 1500.0}


def main() -> int:
    """Measure and report; the exit status is 0 whatever the figures say."""
    options = _parse()
    started = time.monotonic()
    result: dict[str, Any] = {"machine": _machine()}
    if not options.no_overhead:
        sample = options.sample or _generated(options.events, SEED, options.jobs)
        result["overhead_sample"] = _describe(sample)
        result |= overhead.measure(sample, options.bundles, options.events)
        _print_overhead(result)
    if not options.no_quality:
        seeds = (SEED, DETECTOR_AGAIN)
        pair = options.pair or [_generated(options.pair_events, s, options.jobs) for s in seeds]
        result["quality_sample"] = _describe(pair[0])
        result["quality"] = _quality(options.bundles, pair)
    result["seconds"] = round(time.monotonic() - started, 1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.output}")
    return 0


def _parse() -> argparse.Namespace:
    from processors.flashsim.processor import FlashSim

    parser = argparse.ArgumentParser(prog="python -m benchmarks.flashsim", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="for time, memory")
    parser.add_argument("--sample", type=Path, help="file for time, memory; default: generated")
    parser.add_argument("--pair-events", type=int, default=100_000, help="for closure")
    parser.add_argument(
        "--pair",
        type=Path,
        nargs=2,
        help="files for closure: the same events with two detector seeds; default: generated",
    )
    parser.add_argument("--bundles", type=Path, nargs="+", default=FlashSim.default_bundles())
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="for generating")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument("--no-overhead", action="store_true", help="leave time, memory out")
    parser.add_argument("--no-quality", action="store_true", help="leave closure out")
    return parser.parse_args()


def _generated(events: int, detector_seed: int, jobs: int) -> Path:
    """A fresh sample, generated unless an earlier benchmark left it."""
    path = SAMPLES / f"ttbar_{events}_{SEED}_{detector_seed}_{PILEUP}.root"
    if not path.exists():
        SAMPLES.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "samples", "--process", "ttbar", "-o", str(path)]
        command += ["--events", str(events), "--seed", str(SEED)]
        command += ["--detector-seed", str(detector_seed), "--pileup-seed", str(PILEUP)]
        command += ["-j", str(jobs)]
        subprocess.run(command, check=True)
    return path


def _quality(bundles: list[Path], pair: list[Path]) -> dict[str, Any]:
    from flows.bundle import Bundle
    from processors.objects.registry import TABLES, check_layout

    tables = [_tables(path) for path in pair]
    found: dict[str, Any] = {}
    for path in bundles:
        name = check_layout(Bundle.load(path).card, str(path)).name
        found[name] = quality.measure(TABLES[name], path, *(t[name] for t in tables), SEED)
        _print_quality(found[name])
    return found


def _tables(path: Path) -> dict[str, Any]:
    """Training tables of every object of a file, by the processor that training uses."""
    from coffea.processor import IterativeExecutor, Runner

    from processors.flashsim.extraction import Extraction, load_tables
    from processors.flashsim.processor import FlowNanoAODSchema
    from processors.objects.registry import TABLES

    with tempfile.TemporaryDirectory() as folder:
        processor = Extraction.from_options({"output": folder, "seed": SEED})
        runner = Runner(IterativeExecutor(status=False), schema=FlowNanoAODSchema)
        done = runner({"bench": {"files": {str(path): "Events"}}}, processor)
        return {n: load_tables(done["bench"]["outputs"], t) for n, t in TABLES.items()}


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _describe(path: Path) -> dict[str, Any]:
    import uproot

    with uproot.open(path) as file:
        tree = file["Events"]
        counts = {name: tree[name].array(library="np") for name in ("nGenPart", "nGenJet")}
        return {
            "file": path.name,
            "events": int(tree.num_entries),
            "bytes_per_event": path.stat().st_size / max(tree.num_entries, 1),
            **{f"{name}_mean": float(values.mean()) for name, values in counts.items()},
        }


def _print_overhead(result: dict[str, Any]) -> None:
    names = ("overhead_us_per_event", "network_us_per_event", "outside_models_us_per_event")
    for name in (*names, "peak_rss_mb"):
        limit = f" (at most {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name}: {result[name]:.1f}{limit}")
    for name in ("uproot_copy_us_per_event", "mb_per_10k_events"):
        print(f"{name}: {result[name]:.1f}")


def _print_quality(found: dict[str, Any]) -> None:
    summary = found["summary"]
    print(
        f"{summary['object']}: {summary['compared']} objects, AUC {summary['auc']:.3f} "
        f"(floor {summary['auc_floor']:.3f}), efficiency within "
        f"{summary['efficiency_max_dev']:.3f} ({summary['efficiency_floor']:.3f}), shares within "
        f"{summary['shares_max_dev']:.3f}"
    )
    for row in found["rows"]:
        if "ks" in row:
            print(
                f"  {row['variable']:16s} KS {row['ks']:.3f} ({row['ks_floor']:.3f})  "
                f"W1/sigma {row['w1']:.3f} ({row['w1_floor']:.3f})  "
                f"worst bin {row['ks_worst_bin']:.3f} ({row['ks_worst_bin_floor']:.3f})"
            )
    for miss in found["misses"]:
        print(f"  missed: {miss}")


if __name__ == "__main__":
    sys.exit(main())
