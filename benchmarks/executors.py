"""Figures of the executors: overhead, memory, scaling, model loads, what a killed run wastes.

``python -m benchmarks.executors`` measures, prints, writes ``benchmarks/results/executors.json``.
Every figure comes from a process of its own; those that are compared are taken in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "executors.json"
NANO = Path("nano/nano_tt_v12_200.root")
FEW = 100
KILLED_CHUNKS, KILLED_AT, KILLED_WAIT = 60, 20, 0.2
"""Chunks of the run that is killed, done when that happens, seconds of each."""
DEADLINE = 300.0
AT_MOST = {
    "overhead_ms_per_chunk": 8.0,
    "ratio_to_coffea": 1.3,
    "ratio_to_coffea_nano": 1.1,
    "client_growth_mb": 50.0,
    "processor_pickle_bytes": 20_000,
}
SHARE = 0.93
"""Of the ceiling that the speed-up by two workers has to reach."""
ONE_THREAD = dict.fromkeys(
    ("FLASHBREW_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def main() -> int:
    """Measure and report; the exit status is 0 whatever the figures say."""
    options = _parse()
    started = time.monotonic()
    result: dict[str, Any] = {"machine": _machine()}
    for part in options.parts:
        found = PARTS[part](options)
        result |= found
        for name, value in found.items():
            _print(name, value)
    result["seconds"] = round(time.monotonic() - started, 1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.output}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000, help="of the small tree")
    parser.add_argument("--rounds", type=int, default=2, help="of ours beside coffea's")
    parser.add_argument("--nano-chunks", type=int, default=120, help="of the real file")
    parser.add_argument("--flash-chunks", type=int, default=40, help="of the flash simulation")
    parser.add_argument("--flash-size", type=int, default=500, help="events of each of those")
    parser.add_argument("--scaling-rounds", type=int, default=3, help="of the flash simulation")
    parser.add_argument("--data", type=Path, help="real files; default: $FLASHBREW_DATA")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    return parser.parse_args()


def _tree(options: argparse.Namespace) -> dict[str, Any]:
    """Overhead per chunk on a tree of three branches, beside coffea's own executor."""
    found = _child("tree", "--chunks", options.chunks, "--rounds", options.rounds)
    return {
        "overhead_ms_per_chunk": _mean(found["own_ms_per_chunk"]),
        "coffea_ms_per_chunk": _mean(found["coffea_ms_per_chunk"]),
        "ratio_to_coffea": found["ratio"],
        "tree": found,
    }


def _nano(options: argparse.Namespace) -> dict[str, Any]:
    """The same on a real file, whose opening takes longer than all the rest."""
    folder = options.data or os.environ.get("FLASHBREW_DATA")
    if folder is None or not (Path(folder) / NANO).is_file():
        reason = f"no {NANO} in {folder}; set FLASHBREW_DATA to a folder that has it"
        return {"ratio_to_coffea_nano": None, "nano": f"skipped: {reason}"}
    size = ("--chunks", options.nano_chunks, "--size", 20)
    found = _child("nano", "--place", Path(folder) / NANO, *size, "--rounds", options.rounds)
    return {"ratio_to_coffea_nano": found["ratio"], "nano": {"file": str(NANO), **found}}


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    """Growth of the client, in whose process the scheduler is."""
    few, many = (_child("memory", "--chunks", chunks) for chunks in (FEW, options.chunks))
    runs = {str(FEW): few, str(options.chunks): many}
    return {"client_growth_mb": many["peak_mb"] - few["peak_mb"], "memory": runs}


def _scaling(options: argparse.Namespace) -> dict[str, Any]:
    """Flash simulation by one and by two workers, and what two processes can do at most.

    All four are taken in turn, so that what disturbs the machine for a while disturbs each. Two
    processes do at most twice the work of one: a ceiling above that is a machine that changed.
    """
    size = ("--chunks", options.flash_chunks, "--size", options.flash_size)
    half = ("--chunks", options.flash_chunks // 2, "--size", options.flash_size)
    taken: dict[str, list[float]] = {"one": [], "two": [], "single": [], "pair": []}
    for _ in range(options.scaling_rounds):
        one, two = (_child("flash", *size, "--workers", workers) for workers in (1, 2))
        times = one["seconds"], two["seconds"], _together(1, half), _together(2, half)
        for name, seconds in zip(taken, times):
            taken[name].append(seconds)
    single, pair = statistics.median(taken["single"]), statistics.median(taken["pair"])
    ceiling = min(2.0, 2 * single / pair)
    speedup = statistics.median(taken["one"]) / statistics.median(taken["two"])
    return {
        "ceiling_2_processes": ceiling,
        "speedup_2_workers": speedup,
        "speedup_over_ceiling": speedup / ceiling,
        "model_loads": two["model_loads"],
        "worker_processes": two["worker_processes"],
        "processor_pickle_bytes": two["processor_pickle_bytes"],
        "flash": {"seconds": taken, "1": one, "2": two},
    }


def _kill(options: argparse.Namespace) -> dict[str, Any]:
    """Kill a run with all its workers, resume it: chunks computed twice beside those in flight."""
    del options
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        arguments = ("resumable", "--place", place, "--chunks", KILLED_CHUNKS)
        command = _command(*arguments, "--wait", KILLED_WAIT)
        environment = os.environ | ONE_THREAD
        with subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
        ) as process:
            _until(lambda: len(_noted(log, "ended")) >= KILLED_AT, process)
            os.killpg(process.pid, signal.SIGKILL)
        began, ended = _noted(log, "began"), _noted(log, "ended")
        log.unlink()
        reused = _child(*arguments)["reused"]
        again = _noted(log, "ended")
    in_flight = len(began) - reused
    return {
        "killed_in_flight": in_flight,
        "killed_wasted": len(set(began) & set(again)) - in_flight,
        "kill": {"chunks": KILLED_CHUNKS, "began": len(began), "ended": len(ended)}
        | {"reused": reused, "computed_by_the_second_run": len(again)},
    }


def _together(processes: int, size: Sequence[Any]) -> float:
    """Seconds of flash simulation in so many processes at the same time, each with all chunks."""
    with tempfile.TemporaryDirectory() as place:
        gate = Path(place) / "gate"
        running = [
            subprocess.Popen(
                _command("alone", *size, "--place", gate),
                env=os.environ | ONE_THREAD,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        _until(lambda: len(list(Path(place).glob("gate.*"))) == processes, *running)
        gate.touch()
        said = [process.communicate()[0] for process in running]
    return max(json.loads(text.splitlines()[-1])["seconds"] for text in said)


def _noted(log: Path, what: str) -> list[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(what)]


def _until(true: Any, *processes: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        if time.monotonic() > deadline or any(one.poll() is not None for one in processes):
            msg = "a process that was to be measured ended, or did nothing"
            raise RuntimeError(msg)
        time.sleep(0.02)


def _child(*arguments: Any) -> dict[str, Any]:
    done = subprocess.run(
        _command(*arguments),
        env=os.environ | ONE_THREAD,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _command(*arguments: Any) -> list[str]:
    module = "benchmarks.executor_runs"
    return [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _print(name: str, value: Any) -> None:
    if isinstance(value, dict):
        return
    limit = f" (at most {AT_MOST[name]:g})" if name in AT_MOST else ""
    if name == "speedup_over_ceiling":
        limit = f" (at least {SHARE})"
    print(f"{name}: {value:.3f}{limit}" if isinstance(value, float) else f"{name}: {value}{limit}")


PARTS = {
    "tree": _tree,
    "nano": _nano,
    "memory": _memory,
    "scaling": _scaling,
    "kill": _kill,
}


if __name__ == "__main__":
    sys.exit(main())
