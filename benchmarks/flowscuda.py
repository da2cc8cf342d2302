"""Rate of the flow engine on a CUDA device beside nflows on the same device.

Two rows per flow: products in float32, and in TF32 with what that changes of the distances between
samples and a reference. Without a device nothing is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.rows import PEER_BATCHES, REPEATS, Clock, Row, best_batch, seconds
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.testing import random_transform

__all__ = ["NAMES", "measure"]

WORK = {
    "rqs-coupling-cuda": "rqs-coupling",
    "maf-affine-cuda": "maf-affine",
    "maf-rqs-cuda": "maf-rqs",
}
"""Rows of the table to the work of :mod:`benchmarks.flows` that they do."""
NAMES = [*WORK] if torch.cuda.is_available() else []
ROWS = 65_536
"""Rows of a call of the engine: tens of milliseconds."""


def measure(name: str, work: dict[str, Any], clock: Clock, place: str = "cuda") -> list[Row]:
    """Compare one flow: a row in float32, one in TF32.

    Arguments:
        name: Key of :data:`WORK`.
        work: What :func:`flows.engine.testing.random_transform` takes.
        clock: Seconds that count.
        place: Device of both.
    """
    transform = random_transform(**work)
    engine = Engine(compile_transform(transform, work["features"], work["context"]))
    x, context = _normal(work["features"], 1), _normal(work["context"], 2).to(place)
    noise = engine.forward(x.to(place), context)[0]
    other = engine.forward(_normal(work["features"], 3).to(place), context)[0]
    reference = engine.inverse(other, context)
    peer_flow = transform.to(place)

    def peer(n: int) -> Tensor:
        with torch.inference_mode():
            return _done(peer_flow.inverse(noise[:n], context[:n])[0])

    def ours(n: int) -> Tensor:
        return _done(engine.inverse(noise[:n], context[:n]))

    exact = ours(ROWS)
    best = best_batch(peer, clock)
    rows = []
    for precision in ("float32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        found = ours(ROWS)
        turns = [
            (seconds(lambda: peer(best), clock) / best, seconds(lambda: ours(ROWS), clock) / ROWS)
            for _ in range(REPEATS)
        ]
        peer_time, own_time = (statistics.median(times) for times in zip(*turns))
        first = PEER_BATCHES[0]
        rows.append(
            Row(
                name=name if precision == "float32" else f"{name}, {precision}",
                peer=f"nflows 0.14, {precision}",
                peer_rate=1 / peer_time,
                rate=1 / own_time,
                ratio=peer_time / own_time,
                max_abs_diff=float((ours(first) - peer(first)).abs().max()),
                device=_device(place, engine),
                distance_change=_change(found, exact, reference),
            )
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    return rows


def _change(found: Tensor, exact: Tensor, reference: Tensor) -> float:
    """Largest change over features of the 1-Wasserstein distance to a reference, in its σ."""
    return float((_distances(found, reference) - _distances(exact, reference)).abs().max())


def _distances(first: Tensor, second: Tensor) -> Tensor:
    ordered: list[Tensor] = [torch.sort(t.double(), 0).values for t in (first, second)]
    return (ordered[0] - ordered[1]).abs().mean(0) / second.double().std(0)


def _done(result: Tensor) -> Tensor:
    if result.is_cuda:
        torch.cuda.synchronize(result.device)
    return result


def _device(place: str, engine: Engine) -> str:
    ways = [way for device, way in engine.stats.ways.items() if device.startswith(place)]
    named: Callable[[], str] = torch.cuda.get_device_name
    return f"{named() if place == 'cuda' else place}, {', '.join(ways)}"


def _normal(columns: int, seed: int) -> Tensor:
    return torch.randn(ROWS, columns, generator=torch.Generator().manual_seed(seed))
