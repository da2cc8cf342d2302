"""What accounting for every chunk costs: time to store a result, memory of the client.

``python -m benchmarks.bookkeeping`` prints ``state_ms_per_chunk`` (save, then load, a result with
200 histograms), ``overhead_ms_per_chunk`` and ``client_growth_mb`` (peak memory of the client with
10,000 chunks less that with 100; a processor with 20 histograms, one event per chunk, two local
processes), each run in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import uproot
from coffea.nanoevents import BaseSchema
from coffea.processor import ProcessorABC
from coffea.processor.executor import WorkItem

__all__ = ["Tiny", "main"]

HISTOGRAMS, REPEATS = 200, 9
CHUNKS = (100, 10_000)


def spectra(count: int, seed: int = 0) -> dict[str, hist.Hist]:
    """Histograms of the usual size: 60 bins for full and flash simulation, weighted."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        one = hist.Hist.new.Reg(60, 0, 100, name="pt").StrCat(["full", "flash"], name="kind")
        made[f"h{number}"] = one.Weight().fill(
            pt=rng.exponential(30, 2_000), kind="flash", weight=rng.normal(1, 1, 2_000)
        )
    return made


class Tiny(ProcessorABC):
    """Costs nothing but its histograms."""

    schema = BaseSchema

    def process(self, events: Any) -> dict[str, Any]:
        """Count events, fill twenty histograms."""
        hists = {}
        for number in range(20):
            one = hist.Hist.new.Reg(60, 0, 100, name="pt").Weight()
            hists[f"h{number}"] = one.fill(pt=ak.to_numpy(events.x), weight=0.1)
        counters = {"events.read": len(events), "events.written": 0}
        return {"input": {"hists": hists, "counters": counters, "outputs": []}}

    def postprocess(self, accumulator: Any) -> None:
        """Nothing to add."""


def state_times() -> dict[str, float]:
    """Milliseconds of processor and wall time to save and to load a result."""
    from executors.ledger import ChunkRecord
    from executors.results.state import RunIdentity, StateStore

    item = WorkItem("mc", "f.root", "Events", 0, 20, uuid.UUID(int=5).bytes)
    record = ChunkRecord("mc", "f.root", str(uuid.UUID(int=5)), "Events", 0, 20, "done")
    content = {"mc": {"hists": spectra(HISTOGRAMS), "counters": {"n": 1}, "outputs": []}}
    found: dict[str, list[float]] = {"save": [], "save_wall": [], "load": [], "inspect": []}
    with tempfile.TemporaryDirectory() as place:
        store = StateStore(Path(place), RunIdentity({"seed": "1"}))
        for _ in range(REPEATS):
            wall, cpu = time.perf_counter(), time.process_time()
            store.save(item, record, content)
            found["save"].append(time.process_time() - cpu)
            found["save_wall"].append(time.perf_counter() - wall)
            for name in ("inspect", "load"):
                cpu = time.process_time()
                getattr(store, name)(item)
                found[name].append(time.process_time() - cpu)
        size = store.path(item).stat().st_size
    times = {f"{name}_ms": 1e3 * statistics.median(values) for name, values in found.items()}
    return times | {"state_kb": size / 1e3}


def run(chunks: int, executor: str) -> dict[str, float]:
    """One run in this process; peak memory and wall time."""
    from executors.execution import Storage, execute
    from executors.inputs.fileset import from_inputs
    from executors.plan import plan_fileset
    from executors.report.journal import Journal
    from executors.results.state import RunIdentity, StateStore
    from executors.settings import ExecutorSettings

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "in.root"
        with uproot.recreate(file) as sink:
            sink.mktree("Events", {"x": np.dtype("f4")}).extend({"x": np.ones(chunks, "f4")})
        plan = plan_fileset(from_inputs([file]), chunk_size=1)
        workers = None if executor == "iterative" else 2
        with Journal(Path(place), plan) as journal:
            storage = Storage(StateStore(Path(place), RunIdentity({"seed": "1"})), journal=journal)
            result = execute(
                plan,
                Tiny(),
                ExecutorSettings(executor, workers=workers),
                storage=storage,
                ready=journal.begin,
            )
    done = result.ledger.tally().chunks_done
    if done != chunks:
        raise RuntimeError(result.ledger.failed[0].reason)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": result.seconds}


def main(argv: list[str] | None = None) -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, help="one run in this process")
    parser.add_argument("--executor", default="futures")
    options = parser.parse_args(argv)
    if options.chunks:
        print(json.dumps(run(options.chunks, options.executor)))
        return 0
    figures: dict[str, Any] = {"state": state_times()}
    runs = []
    for chunks in CHUNKS:
        command = [sys.executable, "-m", "benchmarks.bookkeeping", "--chunks", str(chunks)]
        done = subprocess.run(
            [*command, "--executor", options.executor], check=True, capture_output=True, text=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    few, many = runs
    figures["runs"] = dict(zip(map(str, CHUNKS), runs, strict=True))
    figures["client_growth_mb"] = many["peak_mb"] - few["peak_mb"]
    extra = CHUNKS[1] - CHUNKS[0]
    figures["overhead_ms_per_chunk"] = 1e3 * (many["seconds"] - few["seconds"]) / extra
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
