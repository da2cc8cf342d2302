"""Cost of flash simulation beside the networks, in processor time and memory, one core."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["measure"]

ONE_THREAD = dict.fromkeys(
    ("FLASHBREW_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
WARM_UP = 500
"""Events of a first chunk: imports, compiled kernels, opened models."""


def measure(sample: Path, bundles: list[Path], events: int) -> dict[str, Any]:
    """Process one chunk of exactly ``events``, another of a tenth, each in a fresh process.

    Returns: ``overhead_us_per_event`` (processor time without the networks; noise and column
        transforms are in it), ``network_us_per_event``, ``outside_models_us_per_event`` (without
        the calls of the models altogether), ``uproot_copy_us_per_event`` (what :func:`copied`
        takes for the output), ``peak_rss_mb``, ``mb_per_10k_events``.
    """
    large, small = (_child(sample, bundles, n) for n in (events, max(events // 10, 1)))
    growth = (large["peak_rss_mb"] - small["peak_rss_mb"]) / (0.9 * events / 10_000)
    return {**large, "mb_per_10k_events": growth}


def _child(sample: Path, bundles: list[Path], events: int) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.overhead", str(sample)]
    command += [str(events), *map(str, bundles)]
    done = subprocess.run(
        command, env=os.environ | ONE_THREAD, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


class _Clock:
    """Seconds spent in the calls it watches."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds = now, 0.0

    def watch(self, owner: type, name: str) -> None:
        """Time every call of a method from here on."""
        original = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            start = self.now()
            try:
                return original(*arguments)
            finally:
                self.seconds += self.now() - start

        setattr(owner, name, timed)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def copied(path: Path, step: int = 25_000) -> float:
    """Read the events of a file with uproot, write them again: seconds of processor time.

    Same content, blocks and compression as the flash simulation writes, and nothing in between:
    what the library takes whatever is done with the events.
    """
    import awkward as ak
    import uproot

    with uproot.open(path) as file, tempfile.TemporaryDirectory() as folder:
        tree = file["Events"]
        names = tree.keys()
        counted = [n[1:] for n in names if any(k.startswith(f"{n[1:]}_") for k in names)]
        start = time.process_time()
        with uproot.recreate(Path(folder) / "copy.root", compression=uproot.ZSTD(1)) as target:
            for block in tree.iterate(step_size=step, library="ak"):
                columns, left = {}, dict(zip(block.fields, ak.unzip(block)))
                for name in counted:
                    left.pop(f"n{name}")
                    own = [n for n in left if n.startswith(f"{name}_")]
                    columns[name] = ak.zip({n[len(name) + 1 :]: left.pop(n) for n in own})
                columns |= left
                if "Events" not in target:
                    types = {n: a.type.content for n, a in columns.items()}
                    target.mktree("Events", types)
                target["Events"].extend(columns)
        return time.process_time() - start


def _run(sample: Path, events: int, bundles: list[Path]) -> dict[str, Any]:
    from coffea.nanoevents import NanoEventsFactory

    from flows.categorical import CategoricalSampler
    from flows.efficiency import Efficiency
    from flows.engine.cpu_flow import CpuFlow
    from flows.simulator import ObjectSimulator
    from processors.flashsim.processor import FlashSim

    network, simulate = _Clock(time.thread_time), _Clock(time.process_time)
    for owner, name in ((Efficiency, "forward"), (CategoricalSampler, "__call__")):
        network.watch(owner, name)
    network.watch(CpuFlow, "inverse")
    simulate.watch(ObjectSimulator, "simulate")
    with tempfile.TemporaryDirectory() as folder:
        processor = FlashSim.from_options(
            {"output": Path(folder), "bundles": bundles, "device": "cpu", "format": "root"}
        )

        def chunk(stop: int) -> dict[str, Any]:
            place = {"dataset": "bench", "filename": str(sample), "treename": "Events"}
            place |= {"entrystart": 0, "entrystop": stop, "fileuuid": "bench"}
            factory = NanoEventsFactory.from_root(
                {str(sample): "Events"},
                schemaclass=processor.schema,
                entry_start=0,
                entry_stop=stop,
                metadata=place,
            )
            return processor.process(factory.events())["bench"]

        chunk(min(WARM_UP, events))
        network.seconds = simulate.seconds = 0.0
        start = time.process_time()
        result = chunk(events)
        total = time.process_time() - start
        size = sum(Path(path).stat().st_size for path in result["outputs"])
        peak = _peak_mb()
        copy = sum(copied(Path(path)) for path in result["outputs"])
    counters = result["counters"]
    read = counters["events.read"]
    return {
        "events": read,
        "overhead_us_per_event": 1e6 * (total - network.seconds) / read,
        "network_us_per_event": 1e6 * network.seconds / read,
        "outside_models_us_per_event": 1e6 * (total - simulate.seconds) / read,
        "uproot_copy_us_per_event": 1e6 * copy / read,
        "peak_rss_mb": peak,
        "output_bytes_per_event": size / read,
        "objects": {name: counters[f"objects.{name}.out"] for name in ("Muon", "Jet")},
    }


if __name__ == "__main__":
    place, number, *models = sys.argv[1:]
    print(json.dumps(_run(Path(place), int(number), [Path(model) for model in models])))
