"""Sampling rate of the flow engine beside the library that trained the flow.

Peer and engine run in one process, at the same weights, with the same number of threads, warm,
with denormals flushed for both, in turns. The peer runs at its best batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow

from flows.engine import Engine, compile_flow
from flows.engine.testing import random_transform

__all__ = ["Row", "measure"]

RESULT = Path(__file__).parent / "results" / "flows.json"
PEER_BATCHES = (1_000, 2_000, 5_000, 10_000)
ENGINE_ROWS = 20_000
REPEATS = 7
WORK: dict[str, dict[str, Any]] = {
    "maf-affine": {
        "kind": "affine",
        "features": 39,
        "share": 0.3,
        "seed": 1,
        "context": 20,
        "steps": 20,
        "blocks": 8,
        "hidden": 128,
        "residual": False,
        "batch_norm": True,
    },
    "maf-rqs": {
        "kind": "spline",
        "features": 20,
        "context": 10,
        "steps": 6,
        "blocks": 2,
        "hidden": 128,
        "bins": 16,
        "bound": 4.0,
    },
}
"""francesco-vaselli/FlashSim's masked affine flow; a masked spline flow of the size of a jet's."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        peer_rate: Samples per second of the peer, median of the runs.
        rate: Of the engine.
        max_abs_diff: Largest difference of both over the peer's batch.
        device: Processor and threads.
    """

    name: str
    peer: str
    peer_rate: float
    rate: float
    ratio: float
    max_abs_diff: float
    device: str


def measure(name: str, threads: int, clock: Callable[[], float] = time.perf_counter) -> Row:
    """Compare one flow.

    Arguments:
        name: Key of :data:`WORK`.
        threads: Of both.
        clock: Seconds that count.
    """
    work = WORK[name]
    flow = Flow(random_transform(**work), StandardNormal([work["features"]])).eval()
    engine = compile_flow(flow, threads=threads)
    z, context = _rows(flow, max(ENGINE_ROWS, *PEER_BATCHES), work)

    def peer(n: int) -> torch.Tensor:
        with torch.inference_mode():
            return flow._transform.inverse(z[:n], context[:n])[0]

    def ours(n: int) -> torch.Tensor:
        return engine.inverse(z[:n], context[:n])

    first = PEER_BATCHES[0]
    difference = float((ours(first) - peer(first)).abs().max())
    best = max(PEER_BATCHES, key=lambda n: n / _seconds(peer, n, clock))
    turns = [
        (_seconds(peer, best, clock), _seconds(ours, ENGINE_ROWS, clock)) for _ in range(REPEATS)
    ]
    peer_rate = best / statistics.median(t for t, _ in turns)
    rate = ENGINE_ROWS / statistics.median(t for _, t in turns)
    return Row(name, "nflows 0.14", peer_rate, rate, rate / peer_rate, difference, _device(engine))


def _rows(flow: Any, n: int, work: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of ordinary data, so that nothing overflows on the way back."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, work["features"], generator=generator)
    context = torch.randn(n, work["context"], generator=generator)
    with torch.inference_mode():
        return flow._transform(x, context)[0], context


def _seconds(function: Callable[[int], torch.Tensor], n: int, clock: Callable[[], float]) -> float:
    start = clock()
    function(n)
    return clock() - start


def _device(engine: Engine) -> str:
    name = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        models = [s for s in lines.read_text().splitlines() if s.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {engine.threads} threads"


def main() -> int:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(WORK), help=f"of {', '.join(WORK)}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--processor-time", action="store_true", help="count processor time: on a busy machine"
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    clock = time.process_time if options.processor_time else time.perf_counter
    rows = []
    print(f"{'name':<12} {'peer/s':>9} {'engine/s':>10} {'ratio':>7} {'max |diff|':>11}")
    for name in options.names:
        row = measure(name, options.threads, clock)
        print(
            f"{row.name:<12} {row.peer_rate:>9.0f} {row.rate:>10.0f} {row.ratio:>7.1f} "
            f"{row.max_abs_diff:>11.1e}",
            flush=True,
        )
        rows.append(asdict(row))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
