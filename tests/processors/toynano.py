"""A small made-up NanoAOD file with what the processors read, written without ROOT."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from processors.content import Content
from processors.jagged import Flat, event_index, local_index
from processors.objects.columns import Branch, round_mantissa
from processors.objects.registry import TABLES
from processors.writer import event_writer

LAST_COPY = 1 << 13
WEIGHTS = np.float32([14_500.25, 12_000.5, -3_100.25])
"""Unequal and far from one; multiples of 1/4, so that sums are exact whatever their order."""


def toy_content(events: int, seed: int = 0, *, reco: bool = True, pileup: bool = True) -> Content:
    """Random events: neutral in physics, complete in branches and indices."""
    rng = np.random.default_rng(seed)
    number = np.arange(events)
    content: Content = {
        "run": np.ones(events, np.uint32),
        "luminosityBlock": (1 + number // 50).astype(np.uint32),
        "event": (10 * number + 3).astype(np.uint64),
        "genWeight": rng.choice(WEIGHTS, events),
        "GenMET_pt": rng.exponential(30.0, events).astype(np.float32),
        "GenMET_phi": rng.uniform(-np.pi, np.pi, events).astype(np.float32),
        "GenPart": _particles(rng, events),
        "GenJet": _jets(rng, events),
    }
    if pileup:
        content |= {
            "Pileup_gpudensity": rng.uniform(0.1, 1.0, events).astype(np.float32),
            "Pileup_nPU": rng.poisson(30, events).astype(np.int32),
            "Pileup_nTrueInt": rng.normal(30, 5, events).astype(np.float32),
            "Pileup_pudensity": rng.uniform(0.1, 1.0, events).astype(np.float32),
            "Pileup_sumEOOT": rng.poisson(90, events).astype(np.int32),
            "Pileup_sumLOOT": rng.poisson(300, events).astype(np.int32),
        }
    if reco:
        content["Muon"] = _reco(rng, "muon", content["GenPart"])
        content["Jet"] = _reco(rng, "jet", content["GenJet"])
    return content


def write_toy(path: Path, content: Content, weights: np.ndarray | None = None) -> Path:
    """Write the events, with a ``Runs`` tree, as the project writes its own output.

    Arguments:
        weights: Generator weights, where ``content`` has none.
    """
    weights = content["genWeight"] if weights is None else weights
    with event_writer(path, "root", {}) as writer:
        writer.extend(content)
        runs: Content = {
            "run": np.ones(1, np.uint32),
            "genEventSumw": np.array([np.sum(weights, dtype=np.float64)]),
        }
        writer.add_tree("Runs", runs)
    return path


def _kinematics(rng: np.random.Generator, n: int, scale: float) -> dict[str, np.ndarray]:
    return {
        "pt": round_mantissa(10.0 + rng.exponential(scale, n), 10),
        "eta": round_mantissa(rng.normal(0.0, 1.5, n), 10),
        "phi": round_mantissa(rng.uniform(-np.pi, np.pi, n), 10),
        "mass": round_mantissa(rng.exponential(8.0, n), 10),
    }


def _particles(rng: np.random.Generator, events: int) -> Flat:
    counts = rng.poisson(12, events) * (rng.random(events) > 0.03)
    n = int(counts.sum())
    place = local_index(counts)
    mother = np.where(place > 0, rng.integers(0, np.maximum(place, 1)), -1)
    columns = _kinematics(rng, n, 20.0)
    columns["pdgId"] = rng.choice([13, -13, 11, 21, 5, 24, 521, -421, 15], n).astype(np.int32)
    columns["statusFlags"] = (rng.integers(0, LAST_COPY, n) | LAST_COPY).astype(np.int32)
    columns["genPartIdxMother"] = mother.astype(np.int32)
    return Flat(counts.astype(np.int64), columns)


def _jets(rng: np.random.Generator, events: int) -> Flat:
    counts = rng.poisson(5, events)
    n = int(counts.sum())
    columns = _kinematics(rng, n, 40.0)
    columns["partonFlavour"] = rng.choice([0, 1, -2, 3, 4, -5, 21], n).astype(np.int16)
    columns["hadronFlavour"] = rng.choice([0, 4, 5], n).astype(np.uint8)
    return Flat(counts.astype(np.int64), columns)


def _reco(rng: np.random.Generator, name: str, source: object) -> Flat:
    """Reconstructed objects of random columns, one for three in four source objects."""
    table = TABLES[name]
    assert isinstance(source, Flat)
    source = Flat(source.counts, {**source.columns, "index": local_index(source.counts)})
    if name == "muon":
        source = source.select(np.abs(source["pdgId"]) == 13)
    kept = source.select(rng.random(len(source)) < 0.75)
    columns = {b.name: _column(rng, b, len(kept)) for b in table.branches}
    columns |= {k: kept[k] for k in ("eta", "phi")}
    columns["pt"] = np.maximum(kept["pt"], table.threshold + 1.0).astype(np.float32)
    unmatched = rng.random(len(kept)) < 0.2
    columns[table.match] = np.where(unmatched, -1, kept["index"]).astype(np.int32)
    order = np.lexsort((-columns["pt"], event_index(kept.counts)))
    return Flat(kept.counts, {k: v[order] for k, v in columns.items()})


def _column(rng: np.random.Generator, branch: Branch, n: int) -> np.ndarray:
    if branch.dtype == "float32":
        return round_mantissa(rng.uniform(0.01, 0.24, n), branch.mantissa_bits)
    if branch.name == "charge":
        return rng.choice([-1, 1], n).astype(branch.dtype)
    return rng.integers(0, 2, n).astype(branch.dtype)
