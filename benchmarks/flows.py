"""Rate of the flow engine beside the library that trained the flow.

Peer and engine run in one process, at the same weights, with the same number of threads, warm,
with denormals flushed for both, in turns. The peer runs at its best batch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import zuko
from torch import Tensor

from benchmarks import flowscuda, timing1d
from benchmarks.rows import (
    PEER_BATCHES,
    REPEATS,
    Clock,
    Row,
    best_batch,
    device,
    seconds,
)
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Coupling, Plan
from flows.engine.testing import random_transform
from flows.engine.testing_zuko import bend

__all__ = ["measure"]

RESULT = Path(__file__).parent / "results" / "flows.json"
ENGINE_ROWS, COUPLING_ROWS = 20_000, 4_000
"""Rows of a call of the engine: one call lasts long enough to be timed, and not minutes."""
NFLOWS, ZUKO = "nflows 0.14", f"zuko {zuko.__version__}"
NSF: dict[str, Any] = {
    "features": 16,
    "context": 5,
    "transforms": 5,
    "hidden_features": [256, 256],
    "bins": 10,
}
"""The corrections that HiggsDNA ships."""
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
    "nsf-autoregressive": NSF,
    "nsf-coupling": NSF | {"passes": 2},
    "rqs-coupling": {
        "kind": "coupling",
        "features": 17,
        "context": 14,
        "steps": 17,
        "blocks": 10,
        "hidden": 298,
        "batch_norm": True,
        "bins": 128,
        "bound": 1.0,
    },
}
"""francesco-vaselli/FlashSim's masked affine flow; a masked spline flow of the size of a jet's;
encoding and decoding with other conditions, as corrections do; FlashSim's prototype of jets."""


NAMES = [*WORK, timing1d.NAME, *flowscuda.NAMES]


@dataclass(frozen=True)
class _Pair:
    """Both ways to do the same work on ``n`` rows; a coupling's bare matrix products."""

    library: str
    peer: Callable[[int], Tensor]
    ours: Callable[[int], Tensor]
    engine: Engine
    products: Callable[[int], Tensor] | None = None


def measure(name: str, threads: int, clock: Clock = time.perf_counter) -> Row:
    """Compare one flow.

    Arguments:
        name: Key of :data:`WORK`.
        threads: Of both.
        clock: Seconds that count.
    """
    pair = (
        _zuko(WORK[name], threads) if "transforms" in WORK[name] else _nflows(WORK[name], threads)
    )
    first = PEER_BATCHES[0]
    difference = float((pair.ours(first) - pair.peer(first)).abs().max())
    functions = [(best_batch(pair.peer, clock), pair.peer)]
    functions.append((ENGINE_ROWS if pair.products is None else COUPLING_ROWS, pair.ours))
    if pair.products is not None:
        functions.append((best_batch(pair.products, clock), pair.products))
    turns = [[seconds(partial(f, n), clock) / n for n, f in functions] for _ in range(REPEATS)]
    peer, ours, *products = (statistics.median(times) for times in zip(*turns))
    outside = 1 - products[0] / ours if products else None
    return Row(
        name,
        pair.library,
        1 / peer,
        1 / ours,
        peer / ours,
        difference,
        device(threads),
        outside,
    )


def _nflows(work: dict[str, Any], threads: int) -> _Pair:
    """Inverse of noise that ordinary data has, so that nothing overflows on the way back."""
    transform = random_transform(**work)
    plan = compile_transform(transform, work["features"], work["context"])
    engine = Engine(plan, threads)
    x, context = _normal(work["features"]), _normal(work["context"])
    z = engine.forward(x, context)[0]

    def peer(n: int) -> Tensor:
        with torch.inference_mode():
            return transform.inverse(z[:n], context[:n])[0]

    def ours(n: int) -> Tensor:
        return engine.inverse(z[:n], context[:n])

    coupling = work["kind"] == "coupling"
    return _Pair(NFLOWS, peer, ours, engine, _products(plan) if coupling else None)


def _zuko(work: dict[str, Any], threads: int) -> _Pair:
    flow = bend(zuko.flows.NSF(**work), work["features"], work["context"])
    engine = Engine(compile_zuko(flow.state_dict(), **work), threads)
    x, before, after = _normal(work["features"]), _normal(work["context"]), _normal(work["context"])
    before[:, -1], after[:, -1] = 0, 1

    def peer(n: int) -> Tensor:
        with torch.inference_mode():
            return flow(after[:n]).transform.inv(flow(before[:n]).transform(x[:n]))

    def ours(n: int) -> Tensor:
        return engine.inverse(engine.forward(x[:n], before[:n])[0], after[:n])

    return _Pair(ZUKO, peer, ours, engine)


def _products(plan: Plan) -> Callable[[int], Tensor]:
    """All matrix products of a plan's couplings, in memory that is there, without their biases."""
    nets = [step.net for step in plan.steps if isinstance(step, Coupling)]
    layers = []
    for net in nets:
        layers += [net.first, net.final]
        for block in net.blocks:
            layers += [layer for layer in (block.inner, block.outer, block.gate) if layer]
    weights = [torch.from_numpy(layer.weight).float() for layer in layers]
    inputs = {width: _normal(width) for width in {weight.shape[1] for weight in weights}}
    results = {height: _normal(height) for height in {len(weight) for weight in weights}}

    def products(n: int) -> Tensor:
        for weight in weights:
            last = torch.mm(inputs[weight.shape[1]][:n], weight.T, out=results[len(weight)][:n])
        return last

    return products


def _normal(columns: int) -> Tensor:
    rows = max(ENGINE_ROWS, *PEER_BATCHES)
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(columns))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _changed(distance: float | None) -> str:
    return "" if distance is None else f"  distances change by up to {distance:.1e} σ"


def _measured(name: str, threads: int, clock: Clock) -> list[Row]:
    if name == timing1d.NAME:
        return timing1d.measure(threads, clock)
    if name == flowscuda.PHOTON_TIMES:
        return [flowscuda.measure_photon_times(clock)]
    if name in flowscuda.WORK:
        return flowscuda.measure(name, WORK[flowscuda.WORK[name]], clock)
    return [measure(name, threads, clock)]


def main() -> int:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--processor-time", action="store_true", help="count processor time: on a busy machine"
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"{unknown} cannot be measured here; names with cuda need a CUDA device")
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    clock = time.process_time if options.processor_time else time.perf_counter
    rows = []
    heads = f"{'peer/s':>9} {'engine/s':>11} {'ratio':>7} {'max |diff|':>11} {'outside':>8}"
    print(f"{'name':<26} {heads}")
    for name in options.names:
        for row in _measured(name, options.threads, clock):
            print(
                f"{row.name:<26} {row.peer_rate:>9.0f} {row.rate:>11.0f} {row.ratio:>7.1f} "
                f"{row.max_abs_diff:>11.1e} {_percent(row.outside_matmul):>8}"
                f"{_changed(row.distance_change)}",
                flush=True,
            )
            rows.append(asdict(row))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
