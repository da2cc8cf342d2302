"""Batches of truth and of detector output, reproducible from a seed on any number of processes."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from samples import genjets, pileup, truth
from samples.generator import collide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from samples.pileup import Pool

__all__ = ["BATCH_EVENTS", "batch_truth", "truth_batches"]

BATCH_EVENTS = 250
"""Events per batch: the unit of seeding, so never a matter of how many processes run."""
_GENERATOR, _OVERLAY = 1, 2


def stream(seed: int, process: str, purpose: int, batch: int) -> np.random.SeedSequence:
    """Independent seeds for one purpose of one batch."""
    return np.random.SeedSequence([seed, zlib.crc32(process.encode()), purpose, batch])


@lru_cache(maxsize=2)
def pool_of(seed: int, events: int) -> Pool:
    """The pile-up pool that belongs to a seed, kept for the life of the operating-system process."""
    return pileup.make_pool(seed, events)


def batch_truth(process: str, seed: int, batch: int, events: int, pool: Pool) -> ak.Array:
    """Truth records of one batch: what happened, before any detector.

    Fields: event, run, luminosityBlock, genWeight, pthat, vertex_z (cm), GenVtx, Generator, GenMET,
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
    neutrinos = inputs.rows[inputs.neutrino]
    of = np.searchsorted(record.offsets, neutrinos, side="right") - 1
    px, py = (np.bincount(of, c[neutrinos], events) for c in (record.px, record.py))
    return ak.zip(
        {
            "event": event,
            "run": np.ones(events, np.uint32),
            "luminosityBlock": ((event - 1) // 1000 + 1).astype(np.uint32),
            "genWeight": info["weight"].astype(np.float32),
            "pthat": info["pthat"].astype(np.float32),
            "vertex_z": crossing.z.astype(np.float32),
            "GenVtx": ak.zip({"x": crossing.x, "y": crossing.y, "z": crossing.z, "t0": crossing.t}),
            "Generator": ak.zip(dict(info)),
            "GenMET": ak.zip({"pt": np.hypot(px, py), "phi": np.arctan2(py, px)}),
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


def truth_batches(
    process: str, events: int, seed: int, *, pool_events: int = pileup.POOL_EVENTS
) -> Iterator[ak.Array]:
    """Yield truth records of ``events`` events of ``process`` in batches, in order of event number."""
    pool = pool_of(seed, pool_events)
    for batch, start in enumerate(range(0, events, BATCH_EVENTS)):
        yield batch_truth(process, seed, batch, min(BATCH_EVENTS, events - start), pool)
