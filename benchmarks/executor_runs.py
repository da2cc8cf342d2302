"""Single runs that `benchmarks.executors` measures, each in a process of its own.

``python -m benchmarks.executor_runs NAME ...`` prints the figures of one run as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import DaskExecutor, ProcessorABC, Runner

from executors.execution import RunResult, Storage, execute
from executors.inputs.fileset import FileEntry, from_inputs
from executors.plan import Plan, plan_fileset
from executors.report.journal import Journal
from executors.results.state import RunIdentity, StateStore
from executors.settings import ExecutorSettings

__all__ = ["Muons", "Trivial", "coffea_seconds", "own_seconds", "tree_plan"]

WORKERS = 2


class Trivial(ProcessorABC):
    """Counts events."""

    schema = BaseSchema

    def process(self, events: Any) -> dict[str, Any]:
        """Return the least that both executors understand."""
        counters = {"events.read": len(events), "events.written": 0}
        name = events.metadata["dataset"]
        return {name: {"hists": {}, "counters": counters, "outputs": []}}

    def postprocess(self, accumulator: Any) -> None:
        """Nothing to add."""


class Muons(Trivial):
    """Reads one branch of NanoAOD."""

    schema = NanoAODSchema

    def process(self, events: Any) -> dict[str, Any]:
        """Count the muons."""
        result = super().process(events)
        (content,) = result.values()
        content["counters"]["muons"] = int(ak.sum(events.Muon.pt > 3))
        return result


class Noting(Trivial):
    """Takes its time; notes each chunk when it begins and when it is done."""

    def __init__(self, log: str, wait: float) -> None:
        self.log, self.wait = log, wait

    def process(self, events: Any) -> dict[str, Any]:
        """Write two lines around the wait."""
        self._note("began", events)
        time.sleep(self.wait)
        result = super().process(events)
        self._note("ended", events)
        return result

    def _note(self, what: str, events: Any) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{what} {events.metadata['entrystart']}\n")


def tree_plan(folder: Path, chunks: int) -> Plan:
    """Plan of one event per chunk over a tree of three branches."""
    file = folder / f"tree{chunks}.root"
    if not file.exists():
        with uproot.recreate(file) as sink:
            tree = sink.mktree("Events", dict.fromkeys("xyz", np.dtype("f4")))
            tree.extend({name: np.ones(chunks, "f4") for name in "xyz"})
    return plan_fileset(from_inputs([file]), chunk_size=1)


def nano_plan(file: Path, chunks: int, chunk_size: int) -> Plan:
    """Plan over a real file, as often as it takes; what the processor reads is preloaded."""
    with uproot.open(file) as opened:
        each = -(-opened["Events"].num_entries // chunk_size)
    entries = [
        FileEntry(f"copy{number}", str(file), preload=frozenset({"nMuon", "Muon_pt"}))
        for number in range(max(1, chunks // each))
    ]
    return plan_fileset(entries, chunk_size=chunk_size)


def own_seconds(plan: Plan, processor: ProcessorABC, settings: ExecutorSettings) -> float:
    """Wall seconds of a run with everything that it keeps: results, journal, ledger."""
    begun = [0.0]
    with tempfile.TemporaryDirectory() as place, Journal(Path(place), plan) as journal:

        def ready() -> None:
            journal.begin()
            begun[0] = time.perf_counter()

        storage = Storage(StateStore(Path(place), RunIdentity({})), journal=journal)
        result = execute(plan, processor, settings, storage=storage, ready=ready)
        seconds = time.perf_counter() - begun[0]
    _check(result, plan)
    return seconds


def coffea_seconds(plan: Plan, processor: ProcessorABC, client: Any) -> float:
    """Wall seconds of coffea's own executor over the same chunks, nothing kept."""
    executor = DaskExecutor(client=client, status=False)
    runner = Runner(executor, schema=processor.schema)
    begun = time.perf_counter()
    done = runner.run(list(plan.items), processor)
    seconds = time.perf_counter() - begun
    if len(done["processed"]) != len(plan.items):
        msg = f"coffea processed {len(done['processed'])} of {len(plan.items)} chunks"
        raise RuntimeError(msg)
    return seconds


def beside_coffea(plan: Plan, processor: ProcessorABC, rounds: int) -> dict[str, Any]:
    """Both executors in turn on one cluster: ours, coffea's, coffea's, ours, ..."""
    from executors.dask.cluster import open_client

    local = ExecutorSettings("dask", workers=WORKERS, threads=1)
    own: list[float] = []
    coffea: list[float] = []
    with open_client(local) as client:
        here = ExecutorSettings("dask", scheduler=client.scheduler.address, threads=1)
        warm = plan_fileset([_entry(plan)], chunk_size=1, test=True)
        own_seconds(warm, processor, here)
        coffea_seconds(warm, processor, client)
        for number in range(rounds):
            turns: list[Callable[[], None]] = [
                lambda: own.append(own_seconds(plan, processor, here)),
                lambda: coffea.append(coffea_seconds(plan, processor, client)),
            ]
            for turn in turns if number % 2 == 0 else turns[::-1]:
                turn()
    chunks = len(plan.items)
    return {
        "chunks": chunks,
        "own_ms_per_chunk": [round(1e3 * one / chunks, 3) for one in own],
        "coffea_ms_per_chunk": [round(1e3 * one / chunks, 3) for one in coffea],
        "ratio": sum(own) / sum(coffea),
    }


def memory(chunks: int) -> dict[str, float]:
    """Peak memory of a client whose scheduler is in its own process, with 20 histograms."""
    from benchmarks.bookkeeping import Tiny

    with tempfile.TemporaryDirectory() as place:
        plan = tree_plan(Path(place), chunks)
        settings = ExecutorSettings("dask", workers=WORKERS, threads=1)
        seconds = own_seconds(plan, Tiny(), settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": seconds}


def flash(workers: int, chunks: int, size: int) -> dict[str, Any]:
    """Real flash simulation on Dask workers of one thread; models counted where they are."""
    import cloudpickle

    from executors.dask.cluster import open_client

    plan, warm = _flash_plan(chunks, size), _flash_plan(2 * workers, size)
    with (
        tempfile.TemporaryDirectory() as place,
        open_client(ExecutorSettings("dask", workers=workers, threads=1)) as client,
    ):
        processor = _flashsim(place)
        here = ExecutorSettings("dask", scheduler=client.scheduler.address, threads=1)
        client.run(_count_loads)
        own_seconds(warm, processor, here)
        seconds = own_seconds(plan, processor, here)
        loads = client.run(_loads)
    return {
        "seconds": seconds,
        "events_per_second": plan.events / seconds,
        "worker_processes": len(loads),
        "model_loads": sum(sum(of.values()) for of in loads.values())
        / len({digest for of in loads.values() for digest in of}),
        "loads_by_worker": list(loads.values()),
        "processor_pickle_bytes": len(cloudpickle.dumps(processor)),
    }


def alone(chunks: int, size: int, gate: Path) -> dict[str, float]:
    """The same chunks in this process, from the moment when ``gate`` is there."""
    with tempfile.TemporaryDirectory() as place:
        processor, settings = _flashsim(place), ExecutorSettings("iterative", threads=1)
        plan = _flash_plan(chunks, size)
        own_seconds(_flash_plan(2, size), processor, settings)
        gate.with_name(f"{gate.name}.{os.getpid()}").touch()
        while not gate.exists():
            time.sleep(0.01)
        return {"seconds": own_seconds(plan, processor, settings)}


def resumable(folder: Path, chunks: int, wait: float) -> dict[str, Any]:
    """A run that may be killed, or that goes on where one was."""
    from executors.resume import resume

    plan = tree_plan(folder, chunks)
    store = StateStore(folder, RunIdentity({}))
    found = resume(plan.items, store)
    settings = ExecutorSettings("dask", workers=WORKERS, threads=1)
    processor = Noting(str(folder / "log"), wait)
    result = execute(plan, processor, settings, storage=Storage(store, found.records))
    _check(result, plan)
    return {"reused": len(found.records)}


def _check(result: RunResult, plan: Plan) -> None:
    done = result.ledger.tally().chunks_done
    if done != len(plan.items):
        reason = result.ledger.failed[0].reason if result.ledger.failed else result.error
        msg = f"{done} of {len(plan.items)} chunks done: {reason}"
        raise RuntimeError(msg)


def _entry(plan: Plan) -> FileEntry:
    item = plan.items[0]
    return FileEntry(item.dataset, item.filename, preload=item.preload)


def _flash_plan(chunks: int, size: int) -> Plan:
    """Chunks of ``size`` events of the shipped sample, read again under other dataset names."""
    from processors.flashsim.processor import FlashSim

    (sample,) = FlashSim.default_inputs()
    with uproot.open(sample) as file:
        each = file["Events"].num_entries // size
    entries = [
        FileEntry(f"copy{number}", str(sample), steps=tuple(_steps(min(each, left), size)))
        for number, left in enumerate(range(chunks, 0, -each))
    ]
    return plan_fileset(entries, chunk_size=size)


def _steps(chunks: int, size: int) -> list[tuple[int, int]]:
    return [(number * size, (number + 1) * size) for number in range(chunks)]


def _flashsim(folder: str) -> ProcessorABC:
    from processors.flashsim.processor import FlashSim

    made: ProcessorABC = FlashSim.from_options(
        {
            "output": Path(folder),
            "bundles": FlashSim.default_bundles(),
            "device": "cpu",
            "format": "root",
        }
    )
    return made


_counted: dict[str, int] = {}


def _count_loads() -> None:
    """Count from here on how often a bundle is made into a model in this process."""
    from flows import resident

    original = resident._build

    def build(bundle: Any, *others: Any) -> Any:
        _counted[bundle.digest] = _counted.get(bundle.digest, 0) + 1
        return original(bundle, *others)

    resident._build = build


def _loads() -> dict[str, int]:
    return dict(_counted)


def main() -> int:
    """Measure one run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executor_runs", description=__doc__)
    parser.add_argument("name", choices=("tree", "nano", "memory", "flash", "alone", "resumable"))
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.name == "tree":
        with tempfile.TemporaryDirectory() as place:
            plan = tree_plan(Path(place), options.chunks)
            found = beside_coffea(plan, Trivial(), options.rounds)
    elif options.name == "nano":
        plan = nano_plan(options.place, options.chunks, options.size)
        found = beside_coffea(plan, Muons(), options.rounds)
    elif options.name == "memory":
        found = memory(options.chunks)
    elif options.name == "flash":
        found = flash(options.workers, options.chunks, options.size)
    elif options.name == "alone":
        found = alone(options.chunks, options.size, options.place)
    else:
        found = resumable(options.place, options.chunks, options.wait)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    # workers know the classes by the name of the module, not as __main__
    from benchmarks import executor_runs

    sys.exit(executor_runs.main())
