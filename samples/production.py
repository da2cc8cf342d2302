"""Batches of truth and of detector output, reproducible from a seed on any number of processes."""

from __future__ import annotations

import multiprocessing
import zlib
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from samples import genjets, nanoaod, pileup, truth
from samples.detector import simulate
from samples.generator import PROCESSES, collide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from samples.generator import EventRecord
    from samples.pileup import Pool

__all__ = ["BATCH_EVENTS", "Request", "batch_truth", "nano_batches", "produce", "truth_batches"]

BATCH_EVENTS = 250
"""Events per batch: the unit of seeding, so never a matter of how many processes run."""
_GENERATOR, _OVERLAY, _DETECTOR = 1, 2, 3
_IN_FLIGHT = 3
"""Batches asked for ahead of time, per process."""


@dataclass(frozen=True)
class Request:
    """What to produce.

    Raises: ValueError for an unknown process, a negative seed, or fewer than one event.
    """

    process: str
    events: int
    seed: int
    detector_seed: int | None = None
    """Seed of the detector alone; the same generator events are seen again under another one."""
    pool_events: int = pileup.POOL_EVENTS
    pileup_seed: int | None = None
    """Seed of the pile-up pool alone: samples of one campaign share a library of collisions."""

    def __post_init__(self) -> None:
        if self.process not in PROCESSES:
            message = f"process {self.process!r} is unknown; choose one of {', '.join(PROCESSES)}"
            raise ValueError(message)
        least = {"events": 1, "seed": 0, "detector_seed": 0, "pool_events": 1, "pileup_seed": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                message = f"{name} is {value}; it must be at least {smallest}"
                raise ValueError(message)

    @property
    def sizes(self) -> list[int]:
        """Events of every batch."""
        full, rest = divmod(self.events, BATCH_EVENTS)
        return [BATCH_EVENTS] * full + [rest] * (rest > 0)

    @property
    def identity(self) -> str:
        """What the file is, in one line."""
        detector = self.seed if self.detector_seed is None else self.detector_seed
        text = f"{self.process} {self.events} {self.seed} {detector} {self.pool_events}"
        return text if self.pileup_seed is None else f"{text} {self.pileup_seed}"

    @property
    def pool_seed(self) -> int:
        """Seed of the pile-up pool."""
        return self.seed if self.pileup_seed is None else self.pileup_seed


def stream(seed: int, process: str, purpose: int, batch: int) -> np.random.SeedSequence:
    """Independent seeds for one purpose of one batch."""
    return np.random.SeedSequence([seed, zlib.crc32(process.encode()), purpose, batch])


@lru_cache(maxsize=2)
def pool_of(seed: int, events: int) -> Pool:
    """The pile-up pool that belongs to a seed, kept as long as this process lives."""
    return pileup.make_pool(seed, events)


def batch_truth(process: str, seed: int, batch: int, events: int, pool: Pool) -> ak.Array:
    """Truth records of one batch: what happened, before any detector.

    Fields: event, run, luminosityBlock, genWeight, pthat, GenVtx (cm, ns), Generator, GenMET,
    Pileup, rho_true (GeV per unit area), GenPart, GenJet, GenJetAK8, particles, PileupJet.
    """
    record = collide(process, events, stream(seed, process, _GENERATOR, batch))
    line = truth.lineage(record)
    inputs = genjets.jet_inputs(record, line)
    jets, jet_of_input = genjets.cluster(record, line, inputs, genjets.AK4, details=True)
    fat, _ = genjets.cluster(record, line, inputs, genjets.AK8, details=False)
    rng = np.random.default_rng(stream(seed, process, _OVERLAY, batch))
    crossing = pileup.vertices(events, rng)
    pileup_jets, rho = pileup.draw(pool, ak.to_numpy(crossing.summary.nPU), rng)
    event = np.arange(1, events + 1, dtype=np.uint64) + np.uint64(batch * BATCH_EVENTS)
    info = record.info
    return ak.zip(
        {
            "event": event,
            "run": np.ones(events, np.uint32),
            "luminosityBlock": ((event - 1) // 1000 + 1).astype(np.uint32),
            "genWeight": info["weight"].astype(np.float32),
            "pthat": info["pthat"].astype(np.float32),
            "GenVtx": ak.zip({"x": crossing.x, "y": crossing.y, "z": crossing.z, "t0": crossing.t}),
            "Generator": ak.zip(dict(info)),
            "GenMET": _missing_momentum(record, inputs),
            "Pileup": crossing.summary,
            "rho_true": rho,
            "GenPart": truth.gen_particles(record, line),
            "GenJet": jets,
            "GenJetAK8": fat,
            "particles": genjets.visible_particles(record, line, inputs, jet_of_input),
            "PileupJet": pileup_jets,
        },
        depth_limit=1,
    )


def _missing_momentum(record: EventRecord, inputs: genjets.Inputs) -> ak.Array:
    """Transverse sum of the neutrinos of each event."""
    rows = inputs.rows[inputs.neutrino]
    event = np.searchsorted(record.offsets, rows, side="right") - 1
    px, py = (np.bincount(event, c[rows], record.events) for c in (record.px, record.py))
    return ak.zip({"pt": np.hypot(px, py), "phi": np.arctan2(py, px)})


def truth_batches(
    process: str, events: int, seed: int, *, pool_events: int = pileup.POOL_EVENTS
) -> Iterator[ak.Array]:
    """Yield truth records of ``events`` events of ``process`` in order of event number."""
    pool = pool_of(seed, pool_events)
    for batch, start in enumerate(range(0, events, BATCH_EVENTS)):
        yield batch_truth(process, seed, batch, min(BATCH_EVENTS, events - start), pool)


def nano_batch(request: Request, batch: int, pool: Pool) -> ak.Array:
    """One batch of a request as a file shows it."""
    events = request.sizes[batch]
    record = batch_truth(request.process, request.seed, batch, events, pool)
    seed = request.seed if request.detector_seed is None else request.detector_seed
    rng = np.random.default_rng(stream(seed, request.process, _DETECTOR, batch))
    return nanoaod.nano_events(record, simulate(record, rng))


def nano_batches(request: Request, workers: int = 1) -> Iterator[ak.Array]:
    """Yield the batches of a request in order, made by ``workers`` processes."""
    if workers == 1:
        pool = pool_of(request.pool_seed, request.pool_events)
        for batch in range(len(request.sizes)):
            yield nano_batch(request, batch, pool)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        try:
            yield from _from_workers(request, executor, workers)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _from_workers(request: Request, executor: Executor, workers: int) -> Iterator[ak.Array]:
    parts = pileup.pool_parts(request.pool_events)
    seeds = [request.pool_seed] * len(parts)
    pool = pileup.join(list(executor.map(pileup.make_part, seeds, range(len(parts)), parts)))
    waiting: deque[Future[ak.Array]] = deque()
    for batch in range(len(request.sizes)):
        if len(waiting) >= workers * _IN_FLIGHT:
            yield waiting.popleft().result()
        waiting.append(executor.submit(nano_batch, request, batch, pool))
    while waiting:
        yield waiting.popleft().result()


def produce(
    request: Request, path: Path, *, workers: int = 1, progress: Callable[[int, int], None]
) -> None:
    """Write the events of ``request`` to ``path``; the bytes do not depend on ``workers``.

    Raises: OSError if the folder of ``path`` does not exist or cannot be written.
    """
    done = 0
    with nanoaod.open_writer(path, request.events, request.identity) as writer:
        for events in nano_batches(request, workers):
            writer.add(events)
            done += len(events)
            progress(done, request.events)
