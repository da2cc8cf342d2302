"""What benchmarks of the engine beside a library share: rows, clocks, the best batch."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PEER_BATCHES", "REPEATS", "Clock", "Row", "best_batch", "device", "seconds"]

PEER_BATCHES = (1_000, 2_000, 5_000, 10_000)
REPEATS = 7
TRIALS, TRIAL_SECONDS = 5, 1.0
"""Runs by which a batch is judged, and seconds after which there are no more; chosen."""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        peer_rate: Samples per second of the peer, median of the runs.
        rate: Of the engine.
        max_abs_diff: Largest difference of both over the peer's batch.
        device: Processor and threads.
        outside_matmul: Share of the engine's time that the bare matrix products of the same shapes
            do not take; where these are most of the work.
        distance_change: What the precision of a row changes of the 1-Wasserstein distance between
            samples and a reference, in σ, at the worst feature; of CUDA alone.
    """

    name: str
    peer: str
    peer_rate: float
    rate: float
    ratio: float
    max_abs_diff: float
    device: str
    outside_matmul: float | None = None
    distance_change: float | None = None


def best_batch(
    function: Callable[[int], Any],
    clock: Clock = time.perf_counter,
    batches: tuple[int, ...] = PEER_BATCHES,
) -> int:
    """Batch at which a function of the number of rows is fastest per row, once it is warm."""
    function(batches[0])
    return min(batches, key=lambda n: _typical(lambda: function(n), clock) / n)


def _typical(function: Callable[[], Any], clock: Clock) -> float:
    runs: list[float] = []
    while len(runs) < TRIALS and sum(runs) < TRIAL_SECONDS:
        runs.append(seconds(function, clock))
    return statistics.median(runs)


def seconds(function: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    """What one call takes."""
    start = clock()
    function()
    return clock() - start


def device(threads: int) -> str:
    """Processor and threads."""
    name = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        models = [s for s in lines.read_text().splitlines() if s.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {threads} threads"
