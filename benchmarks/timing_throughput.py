"""Photons per second through the processor of photon times, from file to file.

As in production: chunks through the executor of one process, models resident, events read, drawn,
read out, written. Two processes of one compute thread each take half of the chunks each and are
released together; one process of two threads takes all. The first run of a process is not counted.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from samples.timing.bar import Bar
from samples.timing.muons import Gun
from samples.timing.production import Request, produce

__all__ = ["GRAZING", "NAME", "Work", "generate", "measure", "memory"]

NAME = "timing-1d end to end"
SEED = 9_101
"""Of the sample and of the noise; training samples have others."""
GUN = Gun(z=(-700.0, 735.0), theta=(60.0, 120.0), momentum=(2.0, 10.0), number=4)
LAYERS = 6
"""24 hits per event, 100 photons per hit and sensor on average, a few hits per bar."""
GRAZING = replace(GUN, theta=(4.0, 12.0), number=16)
"""In one layer: 740 photons per hit and sensor."""
CHUNKS = 4
WARM_EVENTS = 20
STAGES = ("read", "select", "infer", "shape", "write", "validate")
THREADS = ("FLASHBREW_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
WAYS = {"two_processes": (2, 1), "two_threads": (1, 2)}
"""Processes, compute threads of each."""


@dataclass(frozen=True)
class Work:
    """What is run.

    Attributes:
        sample: File of events.
        events: In it.
        bundle: Model.
        histograms: Whether photons are compared.
        processor_time: Count processor time, not wall time.
        chunks: Of the sample; each process takes whole chunks.
    """

    sample: Path
    events: int
    bundle: Path
    histograms: bool
    processor_time: bool = False
    chunks: int = CHUNKS


def generate(folder: Path, events: int, gun: Gun = GUN, layers: int = LAYERS) -> Path:
    """A sample without photons, made unless an earlier benchmark left it."""
    beam = "grazing" if gun is GRAZING else "steep"
    path = folder / f"bars_{events}_{gun.number}x{layers}_{beam}_{SEED}.root"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        request = Request(events, SEED, gun, Bar(layers=layers), photons=False)
        produce(request, path, progress=lambda done, total: None)
    return path


def measure(work: Work, rounds: int) -> dict[str, Any]:
    """Run both ways in turn.

    Returns: Of each of :data:`WAYS` ``photons_per_second`` (median of the rounds, all processes),
        ``rounds``, ``cpu_ns_per_photon``, ``stages`` (share of each stage's seconds),
        ``peak_rss_mb`` of the largest process; beside them ``photons`` and ``photons_per_sensor``
        (of a hit) of a round.
    """
    found: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in WAYS}
    with _pool(*WAYS["two_processes"]) as two, _pool(*WAYS["two_threads"]) as one:
        for number in range(rounds + 1):
            for (name, (processes, _)), pool in zip(WAYS.items(), (two, one), strict=True):
                done = _round(pool, work, processes)
                if number:
                    found[name].append(done)
    (process,) = found["two_threads"][0]
    photons = process["counters"]["objects.Photon.out"]
    return {
        "photons": photons,
        "photons_per_sensor": photons / process["counters"]["contexts.in"],
        **{name: _summary(done, photons) for name, done in found.items()},
    }


def memory(work: Work) -> dict[str, Any]:
    """Peak memory of a process that takes the sample as one chunk, which is one block.

    Returns: ``photons``, ``photons_per_sensor``, ``peak_rss_mb``; ``started_rss_mb``, that of a
        process that took :data:`WARM_EVENTS` events.
    """
    found = []
    for events in (WARM_EVENTS, work.events):
        with _pool(1, 1) as pool:
            found += _round(pool, replace(work, events=events, chunks=1), 1)
    counters = found[1]["counters"]
    return {
        "photons": counters["objects.Photon.out"],
        "photons_per_sensor": counters["objects.Photon.out"] / counters["contexts.in"],
        "peak_rss_mb": found[1]["peak_rss_mb"],
        "started_rss_mb": found[0]["peak_rss_mb"],
    }


def _summary(rounds: list[list[dict[str, Any]]], photons: int) -> dict[str, Any]:
    rates = [photons / max(process["seconds"] for process in done) for done in rounds]
    every = [process for done in rounds for process in done]
    stages = {name: sum(p["counters"][f"seconds.{name}"] for p in every) for name in STAGES}
    cpu = sum(process["cpu"] for process in every) / len(rounds)
    return {
        "photons_per_second": statistics.median(rates),
        "rounds": rates,
        "cpu_ns_per_photon": 1e9 * cpu / photons,
        "stages": {name: value / sum(stages.values()) for name, value in stages.items()},
        "peak_rss_mb": max(process["peak_rss_mb"] for process in every),
    }


@contextmanager
def _pool(processes: int, threads: int) -> Iterator[Pool]:
    """Fresh processes with so many compute threads each, that begin every task together."""
    kept = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    context = get_context("spawn")
    try:
        with context.Pool(processes, _begin, (context.Barrier(processes),)) as pool:
            yield pool
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _round(pool: Pool, work: Work, processes: int) -> list[dict[str, Any]]:
    return pool.map(partial(_share, work, processes), range(processes), chunksize=1)


_together: list[Any] = []


def _begin(barrier: Any) -> None:
    _together.append(barrier)


def _share(work: Work, processes: int, number: int) -> dict[str, Any]:
    """Run every ``processes``-th chunk from ``number`` on, all processes at the same time."""
    from executors.execution import execute
    from executors.inputs.fileset import FileEntry
    from executors.plan import plan_fileset
    from executors.settings import ExecutorSettings
    from processors.timing.processor import Timing

    size = -(-work.events // work.chunks)
    starts = range(number * size, work.events, processes * size)
    steps = tuple((start, min(start + size, work.events)) for start in starts)
    with tempfile.TemporaryDirectory() as folder:
        processor = Timing.from_options(
            {
                "output": Path(folder),
                "bundles": [work.bundle],
                "bundle_digests": [],
                "config": {"histograms": work.histograms},
                "device": "cpu",
                "seed": SEED,
                "format": "root",
                "oversample": 1,
            }
        )
        run = partial(execute, processor=processor, settings=ExecutorSettings("iterative"))
        entry = partial(FileEntry, "bench", str(work.sample), Timing.tree)
        run(plan_fileset([entry(steps=((0, WARM_EVENTS),))]))
        plan = plan_fileset([entry(steps=steps)], chunk_size=size)
        _together[0].wait()
        begun, cpu = time.perf_counter(), time.process_time()
        result = run(plan)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    if result.error or result.ledger.failed:
        msg = f"the processor failed: {result.error or result.ledger.failed[0].reason}"
        raise RuntimeError(msg)
    return {
        "seconds": cpu if work.processor_time else seconds,
        "cpu": cpu,
        "counters": Counter(result.accumulator["bench"]["counters"]),
        "peak_rss_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """Peak memory of this process; ``getrusage`` begins with that of the process that made it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024
