"""Photon times per second from a flow of one feature, beside normflows, noise included.

The flow has the shape of RowanKell/work_eic's: one step of 10 blocks of 128 units, three
conditions. The peer sees one row of context per photon, as its users call it; the engine one row
per hit. Both run in one process, at the same weights, with the same threads, warm, denormals
flushed, freed memory kept, in turns of as many contexts. With one photon per hit both must compute
the networks for every photon, so the bare matrix products of the same shapes bound both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import normflows
import numpy as np
import torch

from benchmarks.rows import PEER_BATCHES, REPEATS, Clock, Row, best_batch, device, seconds
from flows.engine import Engine
from flows.engine.compile_normflows import compile_normflows
from flows.engine.plan import Plan, Residual, Spline
from flows.memory import keep_freed
from flows.noise import Identity

__all__ = [
    "NAME",
    "PER_CONTEXT",
    "PHOTONS",
    "contexts",
    "difference",
    "drawing",
    "measure",
    "model",
]

NAME = "timing-1d"
BLOCKS, HIDDEN, CONDITIONS = 10, 128, 3
PER_CONTEXT = (100, 1, 10, 300)
"""Photons per hit; the first is the figure, the others show what sharing is worth."""
PHOTONS = 1_000_000
MOST_CONTEXTS = 20_000
CHECKED = 2_000


def measure(
    threads: int, clock: Clock = time.perf_counter, per_context: tuple[int, ...] = PER_CONTEXT
) -> list[Row]:
    """Compare at several numbers of photons per hit; one row each, the figure's first.

    Arguments:
        threads: Of both.
        clock: Seconds that count.
        per_context: Photons per hit.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed()
    peer_model = model()
    plan = compile_normflows(peer_model.state_dict())
    engine = Engine(plan, threads)

    def peer(n: int) -> None:
        with torch.inference_mode():
            peer_model.sample(n, context=contexts(n))

    best = best_batch(peer, clock)
    products = _products(plan)
    height = best_batch(products, clock)
    largest = difference(peer_model, engine)
    rows = []
    for per in per_context:
        number = min(MOST_CONTEXTS, -(-PHOTONS // per))
        draw = drawing(engine, number, per)
        draw()
        works = [(peer, best), (products, height)]
        turns = [
            [seconds(draw, clock), *(_spread(work, n, number, clock) for work, n in works)]
            for _ in range(REPEATS)
        ]
        ours, theirs, bare = (statistics.median(times) for times in zip(*turns))
        peer_rate, rate = number / theirs, number * per / ours
        rows.append(
            Row(
                name=NAME if per == per_context[0] else f"{NAME}, {per} per context",
                peer=f"normflows {version('normflows')}",
                peer_rate=peer_rate,
                rate=rate,
                ratio=rate / peer_rate,
                max_abs_diff=largest,
                device=device(threads),
                outside_matmul=1 - bare / ours if per == 1 else None,
            )
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


def contexts(n: int, place: str = "cpu") -> torch.Tensor:
    """Conditions of so many hits ``(n, 3)`` on a device."""
    return torch.randn(n, CONDITIONS, generator=torch.Generator().manual_seed(1)).to(place)


def drawing(engine: Engine, number: int, per: int, place: str = "cpu") -> Callable[[], Any]:
    """Draw so many photons of each of so many contexts, noise included."""
    row, zero = np.arange(number), np.zeros(number, dtype=np.int64)
    identity = Identity(1, "bar", "Photon", zero, zero, row, zero, zero)
    given, counts = contexts(number, place), torch.full((number,), per)
    return lambda: engine.sample_repeated(given, counts, identity)


def _spread(work: Callable[[int], Any], batch: int, rows: int, clock: Clock) -> float:
    """Seconds that so many rows take in batches."""
    calls = max(1, round(rows / batch))
    return seconds(lambda: [work(batch) for _ in range(calls)], clock) * rows / (calls * batch)


def _products(plan: Plan) -> Callable[[int], Any]:
    """All matrix products of a plan's networks, in memory that is there, without their biases."""
    weights: list[torch.Tensor] = []
    for step in plan.steps:
        if isinstance(step, Spline):
            blocks = [block for block in step.made.blocks if isinstance(block, Residual)]
            layers = [part for b in blocks for part in (b.context, b.inner.weight, b.outer.weight)]
            weights += [torch.from_numpy(w).float() for w in (*layers, step.made.final.weight)]
    sizes = {size for weight in weights for size in weight.shape}
    spaces = {size: torch.zeros(2, max(PEER_BATCHES), size) for size in sizes}

    def products(n: int) -> None:
        for weight in weights:
            torch.mm(spaces[weight.shape[1]][0, :n], weight.T, out=spaces[len(weight)][1, :n])

    return products


def difference(peer_model: Any, engine: Engine, place: str = "cpu") -> float:
    """Largest difference of both at equal noise."""
    given = contexts(CHECKED, place)
    noise = torch.randn(CHECKED, 1, generator=torch.Generator().manual_seed(2)).to(place)
    with torch.inference_mode():
        expected = peer_model(noise, given)[:, 0]
    once = torch.ones(CHECKED, dtype=torch.int64)
    found = engine.repeated.inverse(noise[:, 0].contiguous(), given, once)
    return float((found - expected).abs().max())
