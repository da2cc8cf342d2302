"""Photon times per second from a flow of one feature, beside normflows, noise included.

The flow has the shape of RowanKell/work_eic's: one step of 10 blocks of 128 units, three
conditions. The peer sees one row of context per photon, as its users call it; the engine one row
per hit. Both run in one process, at the same weights, with the same threads, warm, denormals
flushed, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import normflows
import numpy as np
import torch

from flows.engine import Engine
from flows.engine.compile_normflows import compile_normflows
from flows.noise import Identity

__all__ = ["NAME", "measure", "model"]

NAME = "timing-1d"
RESULT = Path(__file__).parent / "results" / "timing1d.json"
BLOCKS, HIDDEN, CONDITIONS = 10, 128, 3
PER_CONTEXT = (100, 1, 10, 300)
"""Photons per hit; the first is the figure, the others show what sharing is worth."""
PEER_BATCHES = (1_000, 2_000, 5_000, 10_000)
PHOTONS = 1_000_000
MOST_CONTEXTS = 20_000
REPEATS = 7
CHECKED = 2_000

Clock = Callable[[], float]


def measure(
    threads: int, clock: Clock = time.perf_counter, per_context: tuple[int, ...] = PER_CONTEXT
) -> list[dict[str, Any]]:
    """Compare at several numbers of photons per hit; one row each, the figure's first.

    Arguments:
        threads: Of both.
        clock: Seconds that count.
        per_context: Photons per hit.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    peer_model = model()
    engine = Engine(compile_normflows(peer_model.state_dict()), threads)

    def peer(n: int) -> None:
        with torch.inference_mode():
            peer_model.sample(n, context=_contexts(n))

    best = max(PEER_BATCHES, key=lambda n: n / _seconds(lambda: peer(n), clock))
    difference = _difference(peer_model, engine)
    rows = []
    for per in per_context:
        contexts = min(MOST_CONTEXTS, -(-PHOTONS // per))
        draw = _drawing(engine, contexts, per)
        draw()
        turns = [
            (_seconds(lambda: peer(best), clock), _seconds(draw, clock)) for _ in range(REPEATS)
        ]
        peer_rate = best / statistics.median(t for t, _ in turns)
        rate = contexts * per / statistics.median(t for _, t in turns)
        rows.append(
            {
                "name": NAME if per == per_context[0] else f"{NAME}, {per} per context",
                "peer": f"normflows {_version()}",
                "peer_rate": peer_rate,
                "rate": rate,
                "ratio": rate / peer_rate,
                "max_abs_diff": difference,
                "device": f"{_processor()}, {threads} threads",
            }
        )
    return rows


def model() -> Any:
    """Build the peer with random weights that bend their input."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        spline = normflows.flows.AutoregressiveRationalQuadraticSpline(
            1, BLOCKS, HIDDEN, num_context_channels=CONDITIONS, init_identity=False
        )
        for block in spline.mprqat.autoregressive_net.blocks:
            block.linear_layers[-1].reset_parameters()
        flows = [spline, normflows.flows.LULinearPermute(1)]
        base = normflows.distributions.DiagGaussian(1, trainable=False)
        return normflows.ConditionalNormalizingFlow(base, flows).eval()


def _contexts(n: int) -> torch.Tensor:
    return torch.randn(n, CONDITIONS, generator=torch.Generator().manual_seed(1))


def _drawing(engine: Engine, contexts: int, per: int) -> Callable[[], Any]:
    row, zero = np.arange(contexts), np.zeros(contexts, dtype=np.int64)
    identity = Identity(1, "bar", "Photon", zero, zero, row, zero, zero)
    given, counts = _contexts(contexts), torch.full((contexts,), per)
    return lambda: engine.sample_repeated(given, counts, identity)


def _difference(peer_model: Any, engine: Engine) -> float:
    """Largest difference of both at equal noise."""
    given = _contexts(CHECKED)
    noise = torch.randn(CHECKED, 1, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = peer_model(noise, given)[:, 0]
    once = torch.ones(CHECKED, dtype=torch.int64)
    found = engine.repeated.inverse(noise[:, 0].contiguous(), given, once)
    return float((found - expected).abs().max())


def _seconds(function: Callable[[], Any], clock: Clock) -> float:
    start = clock()
    function()
    return clock() - start


def _version() -> str:
    return version("normflows")


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    text = lines.read_text().splitlines() if lines.exists() else []
    return next((s.partition(":")[2].strip() for s in text if s.startswith("model name")), "cpu")


def main() -> int:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--processor-time", action="store_true", help="count processor time: on a busy machine"
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = measure(
        options.threads, time.process_time if options.processor_time else time.perf_counter
    )
    print(f"{'name':<28} {'peer/s':>9} {'engine/s':>12} {'ratio':>8} {'max |diff|':>11}")
    for row in rows:
        print(
            f"{row['name']:<28} {row['peer_rate']:>9.0f} {row['rate']:>12.0f} "
            f"{row['ratio']:>8.0f} {row['max_abs_diff']:>11.1e}"
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
