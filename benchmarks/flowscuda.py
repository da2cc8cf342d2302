"""Rate of the flow engine on a CUDA device beside nflows on the same device.

Two rows per flow: products in float32, and in TF32 with what that changes of the distances between
samples and a reference. Photon times, many per context and noise included, have a row in float32
beside normflows. Without a device nothing is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from benchmarks import timing1d
from benchmarks.rows import PEER_BATCHES, REPEATS, Clock, Row, best_batch, seconds
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_normflows import compile_normflows
from flows.engine.testing import random_transform

__all__ = ["NAMES", "PHOTON_TIMES", "measure", "measure_photon_times"]

WORK = {
    "rqs-coupling-cuda": "rqs-coupling",
    "maf-affine-cuda": "maf-affine",
    "maf-rqs-cuda": "maf-rqs",
}
"""Rows of the table to the work of :mod:`benchmarks.flows` that they do."""
PHOTON_TIMES = f"{timing1d.NAME}-cuda"
NAMES = [*WORK, PHOTON_TIMES] if torch.cuda.is_available() else []
ROWS = 65_536
"""Rows of a call of the engine: tens of milliseconds."""
DEVICE_BATCHES = (10_000, 50_000, 200_000)
"""Photons of a call of the peer: RowanKell/work_eic takes 20,000 to 50,000 on a device."""


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


def measure_photon_times(
    clock: Clock,
    place: str = "cuda",
    photons: int = timing1d.PHOTONS,
    batches: tuple[int, ...] = DEVICE_BATCHES,
) -> Row:
    """Compare photon times, 100 per context in float32; every call waits for the device.

    Arguments:
        clock: Seconds that count.
        place: Device of both.
        photons: Of a call of the engine.
        batches: Photons of a call of the peer, of which the best counts.
    """
    per = timing1d.PER_CONTEXT[0]
    peer_model = timing1d.model().to(place)
    plan = compile_normflows({name: t.cpu() for name, t in peer_model.state_dict().items()})
    engine, contexts = Engine(plan), -(-photons // per)
    given = timing1d.contexts(max(batches), place)
    draw = timing1d.drawing(engine, contexts, per, place)

    def peer(n: int) -> Tensor:
        with torch.inference_mode():
            return _done(peer_model.sample(n, context=given[:n])[0])

    def ours() -> Tensor:
        return _done(draw())

    ours()
    best = best_batch(peer, clock, batches)
    turns = [
        (seconds(lambda: peer(best), clock) / best, seconds(ours, clock) / (contexts * per))
        for _ in range(REPEATS)
    ]
    peer_time, own_time = (statistics.median(times) for times in zip(*turns))
    return Row(
        name=PHOTON_TIMES,
        peer=f"normflows {version('normflows')}, float32",
        peer_rate=1 / peer_time,
        rate=1 / own_time,
        ratio=peer_time / own_time,
        max_abs_diff=timing1d.difference(peer_model, engine, place),
        device=_named(place, "compiled" if place == "cpu" else "torch"),
    )


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
    return _named(place, ", ".join(ways))


def _named(place: str, way: str) -> str:
    """Device, and what computes there."""
    name: Callable[[], str] = torch.cuda.get_device_name
    return f"{name() if place == 'cuda' else place}, {way}"


def _normal(columns: int, seed: int) -> Tensor:
    return torch.randn(ROWS, columns, generator=torch.Generator().manual_seed(seed))
