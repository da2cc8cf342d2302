"""Samples per second of the flow engine by batch and by features, with its memory per sample.

``python -m benchmarks.scaling`` prints both tables, writes ``benchmarks/results/scaling.json``.
One masked spline flow with the shape of a jet's; memory is the growth of the largest resident size
between batches of 10⁵ and 10⁶, each in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import device
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.testing import random_transform

__all__ = ["measure"]

RESULT = Path(__file__).parent / "results" / "scaling.json"
CONTEXT, FEATURES = 26, 29
SHAPE: dict[str, Any] = {"kind": "spline", "steps": 3, "blocks": 2, "hidden": 128, "bins": 16}
BATCHES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
WIDTHS = (2, 4, 8, 16, 32, 64)
ROWS = 20_000
MEMORY_ROWS = (100_000, 1_000_000)
LEAST_SECONDS, REPEATS = 0.2, 5
LONG = 100_000
"""Rows from which one call lasts long enough to be measured once."""


def engine_of(features: int, threads: int) -> Engine:
    """Build a flow of :data:`SHAPE` with so many features."""
    transform = random_transform(features=features, context=CONTEXT, **SHAPE)
    return Engine(compile_transform(transform, features, CONTEXT), threads)


def measure(threads: int) -> dict[str, Any]:
    """Rates by batch and by features, bytes per sample."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    flow = engine_of(FEATURES, threads)
    batches = [{"batch": n, "rate": round(_rate(flow, FEATURES, n))} for n in BATCHES]
    widths = []
    for features in WIDTHS:
        rate = round(_rate(engine_of(features, threads), features, ROWS))
        widths.append({"features": features, "rate": rate, "values": rate * features})
    few, many = (_peak(rows, threads) for rows in MEMORY_ROWS)
    return {
        "device": device(threads),
        "flow": {**SHAPE, "features": FEATURES, "context": CONTEXT},
        "batches": batches,
        "features": widths,
        "bytes_per_sample": round((many - few) / (MEMORY_ROWS[1] - MEMORY_ROWS[0])),
        "bytes_in_and_out": 4 * (2 * FEATURES + CONTEXT),
    }


def _rate(flow: Engine, features: int, rows: int) -> float:
    z, context = torch.randn(rows, features), torch.randn(rows, CONTEXT)
    flow.inverse(z[:1_000], context[:1_000])
    repeats = REPEATS if rows < LONG else 1
    return statistics.median(_one_rate(flow, z, context) for _ in range(repeats))


def _one_rate(flow: Engine, z: torch.Tensor, context: torch.Tensor) -> float:
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < LEAST_SECONDS:
        flow.inverse(z, context)
        calls += 1
    return calls * len(z) / (time.perf_counter() - start)


def _peak(rows: int, threads: int) -> int:
    """Bytes that a fresh process needs to draw so many rows at once."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--peak", str(rows)]
    done = subprocess.run(
        [*command, "--threads", str(threads)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def _print_peak(rows: int, threads: int) -> None:
    engine_of(FEATURES, threads).inverse(torch.randn(rows, FEATURES), torch.randn(rows, CONTEXT))
    # not getrusage: its maximum is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    print(1024 * int(peak))


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peak", type=int, help="only print the bytes that so many rows need")
    options = parser.parse_args()
    if options.peak is not None:
        _print_peak(options.peak, options.threads)
        return 0
    result = measure(options.threads)
    for row in result["batches"]:
        print(f"batch {row['batch']:>9,}  {row['rate']:>11,.0f} samples/s")
    for row in result["features"]:
        line = f"{row['features']:>3} features  {row['rate']:>11,.0f} samples/s"
        print(f"{line}  {row['values']:>12,.0f} values/s")
    print(f"{result['bytes_per_sample']} bytes per sample", end=", ")
    print(f"of which {result['bytes_in_and_out']} are noise, context, result")
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
